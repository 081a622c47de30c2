"""`optimizer:` the optimizer, its schedule, and the rules of rate and batch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stepladder.schema import ranges
from stepladder.schema.rules import BatchRule, RateRule
from stepladder.schema.settings import Name, Settings


class LearningRate(Settings):
    """Peak learning rate: one rule for all, or one of its own for some variants."""

    default: RateRule
    by_variant: dict[Name, RateRule] = Field(default_factory=dict)
    """Variant name to rule, where a sweep showed that the optimum differs."""


class OptimizerSettings(Settings):
    """The optimizer and its schedule."""

    name: Literal["adamw", "muon"] = "adamw"
    """muon: Muon (Jordan 2024; torch.optim.Muon) for the matrices of the layers, its updates scaled to the
    size of AdamW's, so that learning rates carry over; AdamW for embedding, head, router and norms."""
    learning_rate: LearningRate
    batch: BatchRule
    beta1: Annotated[float, ranges.BETA] = 0.9
    beta2: Annotated[float, ranges.BETA] = 0.95
    epsilon: Annotated[float, ranges.EPSILON] = 1e-8
    weight_decay: Annotated[float, ranges.WEIGHT_DECAY] = 0.1
    clip_norm: Annotated[float, ranges.CLIP_NORM] = 1.0
    """Global gradient norm above which gradients are scaled down."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of all steps, rising linearly from 0."""
    warmup_steps: Annotated[int, ranges.WARMUP_STEPS] | None = None
    """Warmup in steps; replaces `warmup_fraction`."""
    decay_fraction: float = Field(default=0.2, ge=0, le=1)
    """Share of all steps, at the end (Hägele et al. 2024, arXiv 2405.18392: 10 to 20 %)."""
    decay_shape: Literal["linear", "one_minus_sqrt"] = "one_minus_sqrt"
    trunk: bool = False
    """Train what the budgets of a (variant, rung, seed) have in common once, and branch each off where it
    begins to decay (Hägele et al. 2024). The warmup is then that of the smallest budget for all."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Learning rate at the last step, as a share of the peak."""
    precision: Literal["auto", "fp32", "bf16", "fp8"] = "auto"
    """Dtype of matrix multiplications. auto: bf16 on accelerators; on CPU fp32 below d_model 128,
    where casts cost more than bf16 saves, and bf16 from there on. fp8: dense layers in FP8, dynamic scales
    per tensor (Hopper and later); the rest in bf16."""

    @model_validator(mode="after")
    def _schedule_fits(self) -> OptimizerSettings:
        if self.warmup_steps is None and self.warmup_fraction + self.decay_fraction > 1:
            raise ValueError(
                f"warmup_fraction {self.warmup_fraction} + decay_fraction {self.decay_fraction} exceed 1: "
                "shorten one of them"
            )
        return self
