"""`sweep:` a learning-rate sweep on some rungs of a ladder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stepladder.schema import ranges
from stepladder.schema.budget import Budget
from stepladder.schema.settings import Name, Seeds, Settings

Factors = tuple[Annotated[float, ranges.FACTOR], ...]


class Sweep(Settings):
    """A learning-rate (and batch) sweep on some rungs, from which the rates of the others follow."""

    rungs: tuple[Name, ...] = Field(min_length=1)
    """Labels of the rungs that are swept, all variants of each: the smallest two or three."""
    learning_rate_factors: Factors = Field(min_length=3)
    """Factors on the ruled learning rate, ascending, such that the best lies inside: [0.25, 0.5, 1, 2, 4]."""
    batch_factors: Factors = Field(default=(1.0,), min_length=1)
    """Factors on the ruled batch, ascending, 1 among them; every rate is tried with each. Other batches than
    the ruled one are reported, and applied only with `apply_batch`."""
    seeds: Seeds | None = None
    """Default: the ladder's seeds."""
    budget: Budget | None = None
    """Default: the first of the ladder's budgets."""
    apply: Literal["unswept", "all", "none"] = "unswept"
    """Which rungs train at the rates that the sweep predicts: those that are not swept; all, where swept
    rungs train once more at their predicted rate; or none, which only reports the bowls. A rung with a rate
    of its own (`set: {learning_rate: ...}`) keeps it."""
    apply_batch: bool = False
    """Whether all rungs train with the batch that the sweep finds best: one factor on the ruled batch, the
    tried one nearest to the fit. Needs `apply: all` and three batch factors."""
    max_uncertainty: Annotated[float, ranges.UNCERTAINTY] = 4.0
    """The guard on extrapolation: nothing trains at a predicted rate whose interval reaches further than
    this factor from it."""

    @model_validator(mode="after")
    def _factors_ascend(self) -> Sweep:
        for name in ("learning_rate_factors", "batch_factors"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)):
                shown = ", ".join(f"{value:g}" for value in values)
                raise ValueError(f"{name} [{shown}]: write each factor once, smallest first")
        if self.apply_batch and (self.apply != "all" or len(self.batch_factors) < 3):
            raise ValueError(
                "apply_batch needs apply: all, so that every rung has the same rule, and three batch_factors "
                "or more, so that the best lies inside"
            )
        if 1.0 not in self.batch_factors:
            shown = ", ".join(f"{value:g}" for value in self.batch_factors)
            raise ValueError(f"batch_factors [{shown}]: add 1, the batch that the ladder trains with")
        return self
