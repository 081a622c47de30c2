"""Cross-entropy of a linear head whose logits are never held all at once, nor s times for a bag of s.

Positions go through in chunks. Each chunk's logits give its part of the loss and, at once, of the
gradients of the head's input and weight; then they are forgotten. What is kept for the backward pass
has the size of the input and the weight, not of positions times vocabulary.

The target may be a bag of S tokens with mass 1/S on each: mean_j CE(z, y_j) = logsumexp(z) - mean_j z[y_j],
one log-sum-exp and S looked-up logits. S = 1 is the ordinary loss. Targets may have other masses m_j:
sum_j m_j CE(z, y_j) = sum_j m_j (logsumexp(z) - z[y_j]).

Shapes: N positions, D model width, V vocabulary, S bag.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from stepladder.models.context import ProductContext

CHUNK = {"cpu": 2**18, "cuda": 2**27}
"""Logits per chunk: on a CPU they stay in its cache; on a GPU the products are large enough to fill it."""

LEAST_ROWS = 256
"""Positions per chunk at any vocabulary: every chunk reads the whole weight and adds to its whole
gradient."""


def linear_cross_entropy(
    x_ND: Tensor, weight_VD: Tensor, targets_NS: Tensor, mass_NS: Tensor | None = None
) -> Tensor:
    """Mean over positions and bag members of the cross-entropy in nats of logits x weight.T.

    With `mass_NS`, the sum over bag members by their masses in place of their mean.

    Under autocast the products run in its dtype; softmax and loss are fp32 in any case, and so is the sum of
    the weight's gradient over chunks. Double backward is not supported.

    Raises:
        ValueError: inputs and targets are of unequal numbers of positions.
    """
    if len(x_ND) != len(targets_NS):
        raise ValueError(f"{len(x_ND)} positions have targets for {len(targets_NS)}")
    kind = x_ND.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x_ND.dtype
    with torch.autocast(kind, enabled=False):
        return LinearCrossEntropy.apply(x_ND, weight_VD, targets_NS, dtype, mass_NS)


class LinearCrossEntropy(Function):
    """See `linear_cross_entropy`; the gradient is formed in the forward pass."""

    if TYPE_CHECKING:
        apply: Callable[[Tensor, Tensor, Tensor, torch.dtype, Tensor | None], Tensor]

    @staticmethod
    def forward(
        ctx: ProductContext,
        x_ND: Tensor,
        weight_VD: Tensor,
        targets_NS: Tensor,
        dtype: torch.dtype,
        mass_NS: Tensor | None = None,
    ) -> Tensor:
        x, weight = x_ND.to(dtype), weight_VD.to(dtype)
        rows = max(LEAST_ROWS, CHUNK.get(x.device.type, 2**27) // len(weight))
        accumulator = torch.promote_types(dtype, torch.float32)
        nats = torch.zeros((), dtype=accumulator, device=x.device)
        wanted = any(ctx.needs_input_grad)
        d_x = torch.empty_like(x) if wanted else None
        d_weight = torch.zeros(weight.shape, dtype=accumulator, device=x.device) if wanted else None
        softmax_gradient = _softmax_gradient(x.device.type)
        for start in range(0, len(x), rows):
            chunk = slice(start, start + rows)
            mass = None if mass_NS is None else mass_NS[chunk]
            nats_c, d_logits = softmax_gradient(torch.mm(x[chunk], weight.t()), targets_NS[chunk], mass)
            nats += nats_c
            if wanted:
                torch.mm(d_logits, weight, out=d_x[chunk])  # type: ignore[index]  # there if wanted
                _add_product(d_weight, d_logits.t(), x[chunk])  # type: ignore[arg-type]  # there if wanted
        if wanted:
            ctx.save_for_backward(d_x, d_weight)
            ctx.dtypes = (x_ND.dtype, weight_VD.dtype)
        return nats / len(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: ProductContext, d_loss: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_x, d_weight = ctx.saved_tensors
        scale = d_loss / len(d_x)
        to_x, to_weight = ctx.dtypes
        return (d_x * scale).to(to_x), (d_weight * scale).to(to_weight), None, None, None


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a b, summed in the total's dtype."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    elif a.is_cuda:
        torch.addmm(total, a, b, out_dtype=total.dtype, out=total)
    else:
        total.add_(torch.mm(a, b))


def softmax_gradient(
    logits_NV: Tensor, targets_NS: Tensor, mass_NS: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Summed loss in nats, and its gradient (N, V) in the logits' dtype: softmax - share of the bag.

    The entries of targets are computed before rounding, because there the difference of two near-equal
    numbers may remain.
    """
    dtype, S = logits_NV.dtype, targets_NS.shape[1]
    logits_NV = logits_NV.to(torch.promote_types(dtype, torch.float32))
    p_NV = torch.softmax(logits_NV, -1)
    # logsumexp from the largest logit and its probability, which cannot underflow
    logsumexp_N = logits_NV.amax(-1) - p_NV.amax(-1).log()
    if mass_NS is not None:
        return _with_mass(logits_NV, p_NV, logsumexp_N, targets_NS, mass_NS, dtype)
    nats = (logsumexp_N - logits_NV.gather(1, targets_NS).mean(1)).sum()
    times_NS = (targets_NS.unsqueeze(2) == targets_NS.unsqueeze(1)).sum(2) if S > 1 else 1
    hit_NS = p_NV.gather(1, targets_NS) - times_NS / S
    d_NV = p_NV if dtype == p_NV.dtype else p_NV.to(dtype)
    return nats, d_NV.scatter_(1, targets_NS, hit_NS.to(dtype))


def _with_mass(
    logits_NV: Tensor,
    p_NV: Tensor,
    logsumexp_N: Tensor,
    targets_NS: Tensor,
    mass_NS: Tensor,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The same where targets have masses: softmax times their sum, less the mass of each target."""
    mass_NS = mass_NS.to(p_NV.dtype)
    total_N1 = mass_NS.sum(1, keepdim=True)
    nats = (mass_NS * (logsumexp_N.unsqueeze(1) - logits_NV.gather(1, targets_NS))).sum()
    same_NSS = targets_NS.unsqueeze(2) == targets_NS.unsqueeze(1)
    hit_NS = total_N1 * p_NV.gather(1, targets_NS) - (same_NSS * mass_NS.unsqueeze(1)).sum(2)
    return nats, (total_N1 * p_NV).to(dtype).scatter_(1, targets_NS, hit_NS.to(dtype))


@cache
def _softmax_gradient(device_type: str) -> Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]:
    """On a GPU the passes over the logits are fused by the compiler; eager ones would read them six times."""
    return torch.compile(softmax_gradient) if device_type == "cuda" else softmax_gradient
