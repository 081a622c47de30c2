"""The mixture of experts with its backward pass by hand, for CPUs; see `by_hand.py` for why.

Besides fewer operations: the router's softmax runs over columns (a row of 8 experts is too short to
vectorise), and gate and up projections are separate products, whose results are contiguous.

Shapes: N tokens, D model width, E experts, F hidden width of one expert, k experts per token,
M = N x k routed copies of tokens, sorted by expert.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from stepladder.models.by_hand import normalise, normalise_backward
from stepladder.models.context import ExpertsContext


class MixtureOfExperts(Function):
    """f(norm(x)), mean probabilities, z-loss, load and entropy; see `experts.mixture_of_experts`."""

    if TYPE_CHECKING:
        apply: Callable[
            [Tensor, Tensor, Tensor, Tensor, Tensor, int, float, Tensor | None],
            tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
        ]

    @staticmethod
    def forward(
        ctx: ExpertsContext,
        x_BTD: Tensor,
        gain_D: Tensor,
        router_ED: Tensor,
        gate_up: Tensor,
        down: Tensor,
        top_k: int,
        epsilon: float,
        bias_E: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.shape = x_BTD.shape
        unit, factor = normalise(x_BTD.reshape(-1, x_BTD.shape[-1]), epsilon)
        h_ND = unit * gain_D
        E, N = router_ED.shape[0], len(h_ND)
        logits_EN = torch.mm(router_ED, h_ND.t())
        log_p_EN = logits_EN.log_softmax(0)
        logsumexp_N = logits_EN[0] - log_p_EN[0]
        p_EN = log_p_EN.exp()
        p_NE = p_EN.t().contiguous()
        if bias_E is None:
            gate_Nk, expert_Nk = p_NE.topk(top_k)
        else:
            expert_Nk = (p_NE + bias_E).topk(top_k).indices
            gate_Nk = p_NE.gather(1, expert_Nk)
        total_N1 = gate_Nk.sum(1, keepdim=True) if top_k > 1 else None
        if top_k > 1:
            gate_Nk = gate_Nk / total_N1  # type: ignore[operator]  # there if top_k > 1
        order_M = expert_Nk.flatten().argsort(stable=True)
        token_M = order_M // top_k
        count_E = torch.bincount(expert_Nk.flatten(), minlength=E)
        ends_E = count_E.cumsum(0, dtype=torch.int32)

        x_MD = h_ND.index_select(0, token_M)
        gate_weight, up_weight = gate_up.chunk(2, dim=1)
        gate, up = (_grouped(x_MD, weight.transpose(1, 2), ends_E) for weight in (gate_weight, up_weight))
        silu = F.silu(gate)
        hidden = silu * up
        y_MD = _grouped(hidden, down.transpose(1, 2), ends_E)
        share_M1 = gate_Nk.flatten().index_select(0, order_M).unsqueeze(1)
        y_ND = torch.zeros_like(h_ND).index_add_(0, token_M, y_MD * share_M1)

        load_E = count_E.to(p_EN.dtype).div_(N * top_k)
        entropy = torch.dot(p_EN.view(-1), log_p_EN.view(-1)).div_(-N)
        z_loss = torch.dot(logsumexp_N, logsumexp_N).div_(N)
        router = (h_ND, unit, factor, p_EN, gate_Nk, total_N1, expert_Nk, order_M, token_M, ends_E)  # type: tuple[Tensor | None, ...]
        router = (*router, logsumexp_N)
        ctx.save_for_backward(*router, x_MD, gate, up, silu, hidden, y_MD, share_M1)
        ctx.weights = (gain_D, router_ED, gate_up, down)
        ctx.mark_non_differentiable(load_E, entropy)
        return y_ND.view(x_BTD.shape), p_EN.mean(1), z_loss, load_E, entropy

    @staticmethod
    @once_differentiable
    def backward(
        ctx: ExpertsContext,
        d_y: Tensor | None,
        d_probability_E: Tensor | None,
        d_z_loss: Tensor | None,
        _load: None,
        _entropy: None,
    ) -> tuple[Tensor | None, ...]:
        h_ND, unit, factor, p_EN, gate_Nk, total_N1, expert_Nk, order_M, token_M, *rest = ctx.saved_tensors
        ends_E, logsumexp_N, x_MD, gate, up, silu, hidden, y_MD, share_M1 = rest
        gain_D, router_ED, gate_up, down = ctx.weights
        if d_y is None:  # only the router's losses were differentiated
            d_y = h_ND.new_zeros(ctx.shape)
        d_y_MD = d_y.reshape(h_ND.shape).index_select(0, token_M)
        d_share_M = (d_y_MD * y_MD).sum(1)
        d_y_MD.mul_(share_M1)

        d_down = _grouped(d_y_MD.t(), hidden, ends_E)
        d_hidden = _grouped(d_y_MD, down, ends_E)
        d_up = silu * d_hidden
        d_gate = torch.ops.aten.silu_backward(d_hidden.mul_(up), gate)
        d_gate_up = torch.cat([_grouped(d_half.t(), x_MD, ends_E) for d_half in (d_gate, d_up)], dim=1)
        gate_weight, up_weight = gate_up.chunk(2, dim=1)
        d_x_MD = _grouped(d_gate, gate_weight, ends_E).add_(_grouped(d_up, up_weight, ends_E))
        d_h_ND = torch.zeros_like(h_ND).index_add_(0, token_M, d_x_MD)

        d_gate_Nk = torch.empty_like(d_share_M).scatter_(0, order_M, d_share_M).view(gate_Nk.shape)
        if total_N1 is not None:
            d_gate_Nk = (d_gate_Nk - (d_gate_Nk * gate_Nk).sum(1, keepdim=True)).div_(total_N1)
        if d_probability_E is None:
            d_probability_E = h_ND.new_zeros(len(p_EN))
        d_p_NE = (d_probability_E / len(h_ND)).repeat(len(h_ND), 1).scatter_add_(1, expert_Nk, d_gate_Nk)
        d_logits_EN = torch._softmax_backward_data(d_p_NE.t().contiguous(), p_EN, 0, p_EN.dtype)
        if d_z_loss is not None:
            d_logits_EN.addcmul_(p_EN, logsumexp_N * (2 * d_z_loss / len(h_ND)))
        d_router_ED = torch.mm(d_logits_EN, h_ND)
        d_h_ND.addmm_(d_logits_EN.t(), router_ED)
        d_gain_D = (d_h_ND * unit).sum(0)
        d_x = normalise_backward(d_h_ND.mul_(gain_D), unit, factor)
        return d_x.view(ctx.shape), d_gain_D, d_router_ED, d_gate_up, d_down, None, None, None


def _grouped(a: Tensor, b: Tensor, ends_E: Tensor) -> Tensor:
    """One product per expert, over the rows (or, of two matrices, the inner positions) up to its end."""
    return F.grouped_mm(a, b, offs=ends_E)
