"""Dropless top-k mixture of SwiGLU experts: tokens sorted by expert, one grouped matrix product each.

Gates are the softmax probabilities of the chosen experts, computed in fp32; with top_k > 1 they are
scaled to sum to 1 (Mixtral, arXiv 2401.04088). Nothing is dropped and nothing is padded. A bias per expert
may take part in the choice, never in the gates (Wang et al. 2024, arXiv 2408.15664).

Shapes: N tokens, D model width, E experts, F hidden width of one expert, k experts per token,
M = N x k routed copies of tokens, sorted by expert.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from stepladder.models import experts_by_hand
from stepladder.models.context import Context, CopiesContext
from stepladder.models.functional import gated, rms_norm, runs_by_hand


class Routing(NamedTuple):
    """What a MoE layer's router did with a batch or a part of it. Tensors on the device: nothing waits."""

    probability_E: Tensor
    """Mean probability of each expert; sums to 1."""
    z_loss: Tensor
    """Mean squared log-sum-exp of the router's logits (Zoph et al. 2022, arXiv 2202.08906, equation 5)."""
    load_E: Tensor
    """Share of routed copies per expert; sums to 1. Detached."""
    entropy: Tensor
    """Mean entropy in nats of the router's probabilities; log E when undecided. Detached."""


def balance_loss(probability_E: Tensor, load_E: Tensor) -> Tensor:
    """E * sum_e load_e * mean probability_e (Fedus et al. 2021, arXiv 2101.03961, equation 4).

    1 when both are uniform, E when every token goes to one expert. It is linear in the probabilities: with
    the load of the whole batch, the mean over its parts is that of the whole, and so is that of gradients.
    """
    return load_E.shape[0] * torch.dot(load_E, probability_E)


def mixture_of_experts(
    x_BTD: Tensor,
    gain_D: Tensor,
    router_ED: Tensor,
    gate_up_E2FD: Tensor,
    down_EDF: Tensor,
    top_k: int,
    epsilon: float,
    bias_E: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Route each token of norm(x) through its top-k experts.

    Args:
        bias_E: added to the probabilities where experts are chosen; None for no bias.

    Returns:
        What the experts add to x (B, T, D), and the fields of `Routing`: not the named tuple itself, which
        compiled code of torch 2.11 cannot give back.
    """
    if runs_by_hand(x_BTD):
        y_BTD, *routing = experts_by_hand.MixtureOfExperts.apply(
            x_BTD, gain_D, router_ED, gate_up_E2FD, down_EDF, top_k, epsilon, bias_E
        )
        return y_BTD, tuple(routing)
    h_ND = rms_norm(x_BTD, gain_D, epsilon).flatten(0, 1)
    logits_NE = F.linear(h_ND, router_ED).float()
    p_NE = logits_NE.softmax(-1)
    expert_Nk = (p_NE if bias_E is None else p_NE + bias_E).topk(top_k, dim=-1).indices
    gate_Nk = p_NE.gather(1, expert_Nk)
    if top_k > 1:
        gate_Nk = gate_Nk / gate_Nk.sum(-1, keepdim=True)
    order_M, ends_E, load_E = sort_by_expert(expert_Nk, router_ED.shape[0])
    inverse_M = order_M.argsort()
    x_MD = Dispatch.apply(h_ND, order_M, inverse_M, top_k)
    if torch.is_autocast_enabled(x_BTD.device.type):
        dtype = torch.get_autocast_dtype(x_BTD.device.type)
        x_MD, gate_up_E2FD, down_EDF = (t.to(dtype) for t in (x_MD, gate_up_E2FD, down_EDF))
    y_MD = grouped_linear(gated(grouped_linear(x_MD, gate_up_E2FD, ends_E)), down_EDF, ends_E)
    y_NkD = Permute.apply(y_MD, inverse_M, order_M).view(*expert_Nk.shape, -1)
    y_ND = (y_NkD * gate_Nk.unsqueeze(-1).to(y_NkD.dtype)).sum(1)
    entropy = torch.special.entr(p_NE.detach()).sum(-1).mean()
    z_loss = logits_NE.logsumexp(-1).square().mean()
    return y_ND.view(x_BTD.shape), (p_NE.mean(0), z_loss, load_E, entropy)


class Permute(Function):
    """Rows of x in the given order. Backward gathers by the inverse, where the gradient of indexing would add
    rows one by one: slower, and on a GPU in an order left to its scheduler."""

    if TYPE_CHECKING:
        apply: Callable[[Tensor, Tensor, Tensor], Tensor]

    @staticmethod
    def forward(ctx: Context, x_MD: Tensor, order_M: Tensor, inverse_M: Tensor) -> Tensor:
        ctx.save_for_backward(inverse_M)
        return x_MD[order_M]

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, d_MD: Tensor) -> tuple[Tensor, None, None]:
        (inverse_M,) = ctx.saved_tensors
        return d_MD[inverse_M], None, None


class Dispatch(Function):
    """`Permute` of k copies of each row, which are never made; backward sums those of a row in a fixed
    order."""

    if TYPE_CHECKING:
        apply: Callable[[Tensor, Tensor, Tensor, int], Tensor]

    @staticmethod
    def forward(ctx: CopiesContext, h_ND: Tensor, order_M: Tensor, inverse_M: Tensor, top_k: int) -> Tensor:
        ctx.save_for_backward(inverse_M)
        ctx.top_k = top_k
        return h_ND[order_M // top_k]

    @staticmethod
    @once_differentiable
    def backward(ctx: CopiesContext, d_MD: Tensor) -> tuple[Tensor, None, None, None]:
        (inverse_M,) = ctx.saved_tensors
        return d_MD[inverse_M].view(-1, ctx.top_k, d_MD.shape[1]).sum(1), None, None, None


def sort_by_expert(expert_Nk: Tensor, n_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Permutation (M,) that sorts the copies by expert, ends (E,) of the groups, and load (E,)."""
    order_M = expert_Nk.flatten().argsort(stable=True)
    count_E = F.one_hot(expert_Nk.flatten(), n_experts).sum(0)
    return order_M, count_E.cumsum(0).to(torch.int32), count_E.float() / order_M.numel()


def grouped_linear(x_MK: Tensor, weight_ENK: Tensor, ends_E: Tensor) -> Tensor:
    """x @ weight[e].T for each group of rows; pads odd widths on GPU, whose kernel wants 16-byte rows."""
    if x_MK.device.type == "cpu":
        return F.grouped_mm(x_MK, weight_ENK.transpose(1, 2), offs=ends_E)
    width, aligned = weight_ENK.shape[1], 16 // x_MK.element_size()
    pad_N, pad_K = -width % aligned, -x_MK.shape[1] % aligned
    if pad_N or pad_K:
        x_MK, weight_ENK = F.pad(x_MK, (0, pad_K)), F.pad(weight_ENK, (0, pad_K, 0, pad_N))
    return F.grouped_mm(x_MK, weight_ENK.transpose(1, 2), offs=ends_E)[:, :width]
