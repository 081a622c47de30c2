"""Mixture of experts: each token goes through its top-k of many small SwiGLU experts.

At the default expert width the active parameters equal the dense layer's: top_k routed experts
and the shared ones split its hidden width among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from stepladder.record.kinds import FeedForwardCount
from stepladder.record.spec import ModelSpec
from stepladder.schema import ranges
from stepladder.schema.settings import Settings

if TYPE_CHECKING:
    from torch import nn


class Config(Settings):
    """Settings under `architectures: moe:` of a ladder file."""

    n_experts: Annotated[int, ranges.EXPERTS] = Field(default=8, ge=2)
    """Routed experts per MoE layer."""
    top_k: Annotated[int, ranges.EXPERTS] = Field(default=2, ge=1)
    """Routed experts that one token goes through."""
    n_shared_experts: Annotated[int, ranges.EXPERTS] = Field(default=0, ge=0)
    """Experts that every token goes through besides."""
    d_expert: Annotated[int, ranges.WIDTH] | None = Field(default=None, ge=1)
    """Hidden width of one expert; default d_ff / (top_k + n_shared_experts): dense's active size."""
    every: Annotated[int, ranges.DEPTH] = Field(default=1, ge=1)
    """1: every layer is MoE; 2: each second layer (dense first), and so on."""
    balance_loss_weight: Annotated[float, ranges.LOSS_WEIGHT] = Field(default=0.01, ge=0)
    """Weight of the load-balance loss (Fedus et al. 2021, arXiv 2101.03961, section 2.2)."""
    z_loss_weight: Annotated[float, ranges.LOSS_WEIGHT] = Field(default=0.0, ge=0)
    """Weight of the router z-loss, which keeps its logits small (Zoph et al. 2022, arXiv 2202.08906:
    0.001)."""
    bias_rate: Annotated[float, ranges.BIAS_RATE] = Field(default=0.0, ge=0)
    """Change per step of a bias that steers the choice of experts towards equal loads (Wang et al. 2024,
    arXiv 2408.15664: 0.001, with a balance_loss_weight of 0 or near it). 0: no bias."""

    @model_validator(mode="after")
    def _top_k_fits(self) -> Config:
        if self.top_k > self.n_experts:
            raise ValueError(
                f"top_k {self.top_k} is more than n_experts {self.n_experts}: "
                f"use top_k between 1 and {self.n_experts}, or more experts"
            )
        return self


def resolve(config: Config, d_ff: int) -> dict[str, Any]:
    """Options of the resolved spec: the settings with the expert width filled in.

    Raises:
        ValueError: `d_ff` is not divisible among the active experts.
    """
    n_active = config.top_k + config.n_shared_experts
    if config.d_expert is None and d_ff % n_active:
        raise ValueError(
            f"d_ff {d_ff} does not divide among {n_active} active experts: set d_expert, "
            f"or make the shape rule's d_ff.multiple_of a multiple of {n_active}"
        )
    return config.model_dump() | {"d_expert": config.d_expert or d_ff // n_active}


def is_moe_layer(model: ModelSpec, layer: int) -> bool:
    """Whether layer number `layer` (from 0) holds experts."""
    return (layer + 1) % model.options["every"] == 0  # type: ignore[no-any-return]  # options hold anything


def count_feed_forward(model: ModelSpec, layer: int) -> FeedForwardCount:
    """Parameters of one layer: SwiGLU experts (three matrices each) and a linear router."""
    if not is_moe_layer(model, layer):
        dense = 3 * model.d_model * model.d_ff
        return FeedForwardCount(total=dense, active=dense)
    options = model.options
    expert = 3 * model.d_model * options["d_expert"]
    shared = options["n_shared_experts"]
    return FeedForwardCount(
        total=(options["n_experts"] + shared) * expert,
        active=(options["top_k"] + shared) * expert,
        router=model.d_model * options["n_experts"],
    )


def build_feed_forward(model: ModelSpec, layer: int) -> nn.Module:
    """The layer's torch module; torch is imported here so that ladders validate without it."""
    from stepladder.models.feed_forward import MixtureOfExperts, SwiGLU

    if not is_moe_layer(model, layer):
        return SwiGLU(model.d_model, model.d_ff)
    options = model.options
    return MixtureOfExperts(
        d_model=model.d_model,
        d_expert=options["d_expert"],
        n_experts=options["n_experts"],
        top_k=options["top_k"],
        n_shared_experts=options["n_shared_experts"],
        balance_loss_weight=options["balance_loss_weight"],
        z_loss_weight=options["z_loss_weight"],
        bias_rate=options["bias_rate"],
    )
