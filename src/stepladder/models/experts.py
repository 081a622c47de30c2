"""Dropless top-k mixture of SwiGLU experts: tokens sorted by expert, one grouped matrix product each.

Gates are the softmax probabilities of the chosen experts, computed in fp32; with top_k > 1 they are
scaled to sum to 1 (Mixtral, arXiv 2401.04088). Nothing is dropped and nothing is padded.

Shapes: N tokens, D model width, E experts, F hidden width of one expert, k experts per token,
M = N x k routed copies of tokens, sorted by expert.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Routing(NamedTuple):
    """What a MoE layer's router did with one batch; tensors on the device, so that nothing waits."""

    balance_loss: Tensor
    """Load-balance loss, weighted: to be added to the training loss. 1 x weight when uniform."""
    load_E: Tensor
    """Share of routed copies per expert; sums to 1. Detached."""
    entropy: Tensor
    """Mean entropy in nats of the router's probabilities; log E when undecided. Detached."""


def balance_loss(probability_NE: Tensor, load_E: Tensor) -> Tensor:
    """E * sum_e load_e * mean probability_e (Fedus et al. 2021, arXiv 2101.03961, equation 4).

    1 when both are uniform, E when every token goes to one expert.
    """
    return load_E.shape[0] * torch.dot(load_E, probability_NE.mean(0))


def mixture_of_experts(
    x_ND: Tensor, router_weight_ED: Tensor, gate_up_E2FD: Tensor, down_EDF: Tensor, top_k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Route each token through its top-k experts.

    Returns:
        y (N, D); the router's probabilities (N, E) in fp32, differentiable; load (E,), see `Routing`.
    """
    probability_NE = F.linear(x_ND, router_weight_ED).float().softmax(-1)
    gate_Nk, expert_Nk = probability_NE.topk(top_k, dim=-1)
    if top_k > 1:
        gate_Nk = gate_Nk / gate_Nk.sum(-1, keepdim=True)
    order_M, ends_E, load_E = sort_by_expert(expert_Nk, router_weight_ED.shape[0])
    # Copies are made by expand and moved by a permutation: backward sums the copies of a token in a
    # fixed order, where index_add would leave the order to the GPU's scheduler.
    copies_MD = x_ND.unsqueeze(1).expand(-1, top_k, -1).reshape(-1, x_ND.shape[1])
    if torch.is_autocast_enabled(x_ND.device.type):
        dtype = torch.get_autocast_dtype(x_ND.device.type)
        copies_MD, gate_up_E2FD, down_EDF = (t.to(dtype) for t in (copies_MD, gate_up_E2FD, down_EDF))
    x_MD = copies_MD[order_M]
    gate_MF, up_MF = grouped_linear(x_MD, gate_up_E2FD, ends_E).chunk(2, dim=-1)
    y_MD = grouped_linear(F.silu(gate_MF) * up_MF, down_EDF, ends_E)
    y_NkD = y_MD[order_M.argsort()].view(*expert_Nk.shape, -1)
    return (y_NkD * gate_Nk.unsqueeze(-1).to(y_NkD.dtype)).sum(1), probability_NE, load_E


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
