"""`optimizer:` the optimizer, its schedule, and the rules that its numbers follow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stepladder.schema import ranges
from stepladder.schema.adam import Beta2, Epsilon, Timescale, Warmup, WeightDecay
from stepladder.schema.complete import COMPLETE, EITHER, OLMO
from stepladder.schema.rules import BatchRule, RateRule
from stepladder.schema.settings import Name, Settings


class LearningRate(Settings):
    """Peak learning rate: one rule for all, or one of its own for some variants."""

    default: RateRule
    by_variant: dict[Name, RateRule] = Field(default_factory=dict)
    """Variant name to rule, where a sweep showed that the optimum differs."""


class Parametrization(Settings):
    """How initial weights and updates go with size, so that the best rate of a base model serves all."""

    kind: Literal["mup", "completep"]
    """mup: over width (Yang et al. 2022, arXiv 2203.03466); completep: over width and depth (Dey et al. 2025,
    arXiv 2505.01618, alpha = 1)."""
    base_width: Annotated[int, ranges.WIDTH]
    """d_model of the model whose learning rate, epsilon and weight decay these are."""
    base_depth: Annotated[int, ranges.DEPTH] = 1
    """Its layers; for completep."""

    @model_validator(mode="after")
    def _base_model(self) -> Parametrization:
        if self.base_width % 2:
            raise ValueError(f"base_width {self.base_width}: heads have an even width: make it even")
        if self.kind == "mup" and "base_depth" in self.model_fields_set:
            raise ValueError("mup leaves depth alone: remove base_depth, or set kind to completep")
        return self


class OptimizerSettings(Settings):
    """The optimizer and its schedule.

    beta2, epsilon and weight decay are numbers, or rules as those of `stepladder.schema.adam`.
    """

    hyperparameters: Literal["olmo", "nanochat", "delphi", "step_law"] | None = None
    """A complete recipe: learning rate, batch, beta2, epsilon, weight decay, warmup and decay, as far as the
    source sets them, together. What is written beside it replaces that part."""
    name: Literal["adamw", "muon"] = "adamw"
    """muon: Muon (Jordan 2024; torch.optim.Muon) for the matrices of the layers, its updates scaled to the
    size of AdamW's, so that learning rates carry over; AdamW for embedding, head, router and norms."""
    learning_rate: LearningRate
    batch: BatchRule
    beta1: Annotated[float, ranges.BETA] = 0.9
    beta2: Beta2 = 0.95
    epsilon: Epsilon = 1e-8
    weight_decay: WeightDecay = 0.1
    clip_norm: Annotated[float, ranges.CLIP_NORM] = 1.0
    """Global gradient norm above which gradients are scaled down."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of all steps, rising linearly from 0."""
    warmup_steps: Annotated[int, ranges.WARMUP_STEPS] | None = None
    """Warmup in steps; replaces `warmup_fraction`."""
    warmup: Warmup | None = None
    """Warmup in tokens, or in tokens per parameter; replaces `warmup_fraction`."""
    decay_fraction: float = Field(default=0.2, ge=0, le=1)
    """Share of all steps, at the end (Hägele et al. 2024, arXiv 2405.18392: 10 to 20 %)."""
    decay_shape: Literal["linear", "one_minus_sqrt"] = "one_minus_sqrt"
    parametrization: Parametrization | None = None
    """Rates, initial weights, epsilon and decay of each parameter as factors on those of a base model: with
    it `learning_rate` is that model's, and is meant to be constant. None: one rate for all parameters."""
    trunk: bool = False
    """Train what the budgets of a (variant, rung, seed) have in common once, and branch each off where it
    begins to decay (Hägele et al. 2024). The warmup is then that of the smallest budget for all."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Learning rate at the last step, as a share of the peak."""
    final_rate: Annotated[float, ranges.LEARNING_RATE] | None = None
    """Learning rate at the last step itself; replaces `final`."""
    precision: Literal["auto", "fp32", "bf16", "fp8"] = "auto"
    """Dtype of matrix multiplications. auto: bf16 on accelerators; on CPU fp32 below d_model 128,
    where casts cost more than bf16 saves, and bf16 from there on. fp8: dense layers in FP8, dynamic scales
    per tensor (Hopper and later); the rest in bf16."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        name = given.get("hyperparameters") if isinstance(given, dict) else None
        if not isinstance(name, str):
            return given
        # A name that is none is refused below, and nothing else should be said to be missing then.
        return COMPLETE.get(name, OLMO).beside(given)

    @model_validator(mode="after")
    def _parametrized_adam(self) -> OptimizerSettings:
        if self.parametrization and self.name == "muon":
            raise ValueError("parametrization is for adamw: set name to adamw, or remove it")
        return self

    @model_validator(mode="after")
    def _schedule_fits(self) -> OptimizerSettings:
        if self.warmup and self.warmup_steps is not None:
            raise ValueError("warmup and warmup_steps both say how long the warmup is: remove one of them")
        if self.final_rate is not None and self.final:
            raise ValueError("final and final_rate both say the last learning rate: remove one of them")
        by_share = self.warmup_steps is None and self.warmup is None
        if by_share and self.warmup_fraction + self.decay_fraction > 1:
            raise ValueError(
                f"warmup_fraction {self.warmup_fraction} + decay_fraction {self.decay_fraction} exceed 1: "
                "shorten one of them"
            )
        return self

    @property
    def decay_follows_rate(self) -> bool:
        """Whether another learning rate is another weight decay."""
        return isinstance(self.weight_decay, Timescale)

    @property
    def replaced(self) -> tuple[str, ...]:
        """Parts of the complete recipe in whose place the ladder has its own; none without a recipe."""
        return () if self.hyperparameters is None else tuple(self._differing(self.hyperparameters))

    @property
    def halves(self) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
        """Recipes of which a ladder without `hyperparameters` has a part: name, parts that it has, and parts
        that were tuned with them and differ here."""
        for name in () if self.hyperparameters else COMPLETE:
            whole, missing = _whole(name), tuple(self._differing(name))
            taken = tuple(
                part
                for part, own, other in (
                    ("learning_rate", self.learning_rate.default, whole.learning_rate.default),
                    ("batch", self.batch, whole.batch),
                    ("beta2", self.beta2, whole.beta2),
                )
                if own == other and not isinstance(own, float)
            )
            if taken and (rest := tuple(part for part in missing if part not in taken)):
                yield name, taken, rest

    def _differing(self, recipe: str) -> Iterator[str]:
        """Parts that a recipe sets and that are others here; of fields of which one is used, the first."""
        whole, told = _whole(recipe), set()
        for field in COMPLETE[recipe].settings:
            group = next((names for names in EITHER if field in names), (field,))
            if group[0] not in told and any(getattr(self, f) != getattr(whole, f) for f in group):
                told.add(group[0])
                yield group[0]


@cache
def _whole(recipe: str) -> OptimizerSettings:
    """A complete recipe with nothing beside it."""
    return OptimizerSettings.model_validate({"hyperparameters": recipe})
