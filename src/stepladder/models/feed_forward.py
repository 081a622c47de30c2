"""Feed-forward modules: dense SwiGLU and a dropless mixture of SwiGLU experts.

Every feed-forward module maps normalised x (B, T, D) to `(y (B, T, D), Routing or None)`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stepladder.models.experts import Routing, balance_loss, mixture_of_experts
from stepladder.models.functional import swiglu


class SwiGLU(nn.Module):
    """Gated feed-forward of hidden width `d_ff`, no biases."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate_up = nn.Parameter(torch.empty(2 * d_ff, d_model))
        self.down = nn.Parameter(torch.empty(d_model, d_ff))

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, None]:
        """Apply the layer; there is no routing."""
        return swiglu(x_BTD, self.gate_up, self.down), None


class MixtureOfExperts(nn.Module):
    """Top-k routed experts and, besides, shared experts as one SwiGLU of their summed width."""

    def __init__(
        self,
        d_model: int,
        d_expert: int,
        n_experts: int,
        top_k: int,
        n_shared_experts: int,
        balance_loss_weight: float,
    ) -> None:
        super().__init__()
        self.top_k = top_k
        self.balance_loss_weight = balance_loss_weight
        self.router = nn.Parameter(torch.empty(n_experts, d_model))
        self.gate_up = nn.Parameter(torch.empty(n_experts, 2 * d_expert, d_model))
        self.down = nn.Parameter(torch.empty(n_experts, d_model, d_expert))
        self.shared = SwiGLU(d_model, n_shared_experts * d_expert) if n_shared_experts else None

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, Routing]:
        """Apply the experts; see `Routing` for what is reported."""
        y_ND, probability_NE, load_E = mixture_of_experts(
            x_BTD.flatten(0, 1), self.router, self.gate_up, self.down, self.top_k
        )
        y_BTD = y_ND.view(x_BTD.shape)
        if self.shared is not None:
            y_BTD = y_BTD + self.shared(x_BTD)[0]
        with torch.no_grad():
            entropy = torch.special.entr(probability_NE).sum(-1).mean()
        return y_BTD, Routing(
            balance_loss(probability_NE, load_E) * self.balance_loss_weight, load_E, entropy
        )
