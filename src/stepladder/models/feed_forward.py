"""Feed-forward modules: dense SwiGLU and a dropless mixture of SwiGLU experts.

Every feed-forward module maps the residual stream x (B, T, D) to x + f(norm(x)), and the fields of `Routing`
or None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from stepladder.models.experts import Routing, balance_loss, mixture_of_experts
from stepladder.models.functional import EPSILON, swiglu


class SwiGLU(nn.Module):
    """Gated feed-forward of hidden width `d_ff`, no biases."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(d_model))
        self.gate_up = nn.Parameter(torch.empty(2 * d_ff, d_model))
        self.down = nn.Parameter(torch.empty(d_model, d_ff))

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, None]:
        """x and what the layer adds to it; there is no routing."""
        return swiglu(x_BTD, self.gain, self.gate_up, self.down, EPSILON), None


class MixtureOfExperts(nn.Module):
    """Top-k routed experts and, besides, shared experts as one SwiGLU of their summed width."""

    if TYPE_CHECKING:
        bias: Tensor | None

    def __init__(
        self,
        d_model: int,
        d_expert: int,
        n_experts: int,
        top_k: int,
        n_shared_experts: int,
        balance_loss_weight: float,
        z_loss_weight: float = 0.0,
        bias_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.top_k = top_k
        self.balance_loss_weight = balance_loss_weight
        self.z_loss_weight = z_loss_weight
        self.bias_rate = bias_rate
        self.gain = nn.Parameter(torch.ones(d_model))
        self.router = nn.Parameter(torch.empty(n_experts, d_model))
        self.gate_up = nn.Parameter(torch.empty(n_experts, 2 * d_expert, d_model))
        self.down = nn.Parameter(torch.empty(n_experts, d_model, d_expert))
        self.register_buffer("bias", torch.zeros(n_experts) if bias_rate else None)
        self.shared = nn.ParameterDict()
        if n_shared_experts:
            self.shared["gate_up"] = nn.Parameter(torch.empty(2 * n_shared_experts * d_expert, d_model))
            self.shared["down"] = nn.Parameter(torch.empty(d_model, n_shared_experts * d_expert))

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """x and what the experts add to it; the fields of `Routing`."""
        weights = (self.gain, self.router, self.gate_up, self.down)
        y_BTD, routing = mixture_of_experts(x_BTD, *weights, self.top_k, EPSILON, self.bias)
        if self.shared:
            x_BTD = swiglu(x_BTD, self.gain, self.shared["gate_up"], self.shared["down"], EPSILON)
        return x_BTD + y_BTD, routing

    def losses(self, routing: Routing, load_E: Tensor) -> tuple[Tensor, Tensor]:
        """Balance loss of a part of a batch, 1 when uniform, and what the router adds to the training loss.

        Args:
            load_E: share of routed copies per expert, of the whole batch.
        """
        balance = balance_loss(routing.probability_E, load_E)
        penalty = balance * self.balance_loss_weight
        if self.z_loss_weight:
            penalty = penalty + routing.z_loss * self.z_loss_weight
        return balance, penalty

    @torch.no_grad()
    def balance(self, load_E: Tensor) -> None:
        """Make experts with less than their share of a step's whole batch likelier to be chosen, and others
        less.

        By a fixed amount, whatever the distance (Wang et al. 2024, arXiv 2408.15664, algorithm 1).
        """
        if self.bias is not None:
            self.bias.add_(torch.sign(1 / len(load_E) - load_E), alpha=self.bias_rate)
