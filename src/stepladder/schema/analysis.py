"""The `analysis:` section of a ladder file. Importing it is cheap: the workflow is parsed through it."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from stepladder.schema import ranges
from stepladder.schema.settings import Settings

Axis = Literal["flops", "seconds", "tokens"]
"""A cost axis, as files, options and the ladder's rule name it; `AXES` says what each is."""


class CostAxis(NamedTuple):
    """What is known of one cost axis wherever costs are measured, fitted, headed or drawn."""

    column: str
    """Column of the table of runs."""
    title: str
    """What sentences and headings call it: "EG on time"."""
    label: str
    """What a figure's axis is called; `{unit}` takes the unit that the numbers are divided by."""
    unit: str
    """Unit of the column."""


AXES: dict[Axis, CostAxis] = {
    "flops": CostAxis("flops", "FLOPs", "Training compute ({unit}, causal count)", "FLOP"),
    "seconds": CostAxis("accelerator_seconds", "time", "Accelerator time ({unit})", "s"),
    "tokens": CostAxis("tokens", "tokens", "Text read ({unit})", "tokens"),
}
"""The cost axes, in the order that tables show them."""


class VerdictRule(Settings):
    """The rule of promotion, written down before the ladder runs; the report prints every criterion."""

    minimal_gain: Annotated[float, ranges.GAIN] = 1.02
    """Smallest efficiency gain worth having, at the largest rung, on each of `axes`."""
    axes: tuple[Axis, ...] = Field(default=("flops", "seconds"), min_length=1)
    """Cost axes on which the gain must hold."""
    alpha: Annotated[float, ranges.LEVEL] = 0.05
    """Level of the paired seed test."""
    at: Literal["largest", "target"] = "largest"
    """Where the gain must hold: at the largest rung, by its measured loss, or by the laws at
    `analysis.target_flops`."""
    minimal_trend: Annotated[float, ranges.TREND] = 0.0
    """Slope of ln EG per factor of ten in cost that the trend's interval must reach: 0 holds back gains
    that shrink with scale beyond doubt."""
    minimal_rungs: Annotated[int, ranges.SHARED_RUNGS] = 4
    """Rungs that candidate and reference must share."""
    held_out_within: Annotated[float, ranges.RELATIVE_ERROR] = 0.02
    """Largest relative error of the held-out predictions of candidate and reference, where one lies outside
    its interval."""


class AnalysisConfig(Settings):
    """How runs become laws and laws a verdict."""

    baseline: str
    """Variant that every other is compared with."""
    references: tuple[str, ...] = ()
    """Further variants that every other is compared with. Each recipe is always compared with the baseline's
    recipe on its own architecture too."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of all intervals."""
    bootstrap_draws: Annotated[int, ranges.DRAWS] = 2000
    """Bootstrap replicates; every law is fitted again in each."""
    seed: Annotated[int, ranges.SEED] = 0
    """Seed of the bootstrap."""
    huber_delta: Annotated[float, ranges.HUBER_DELTA] = 0.01
    """Residual of log loss beyond which a cell counts linearly, not squared. Near the seed noise of log
    loss: 0.001 for large runs (Hoffmann et al. 2022), 0.01 for toy rungs."""
    floor: Literal["shared", "free"] | Annotated[float, ranges.LOSS] = "shared"
    """E, nats/token: one for all variants, one each, or pinned at a value."""
    misfit: Literal["estimated"] | Annotated[float, ranges.MISFIT] = "estimated"
    """How far, as a standard deviation of log loss, a cell may lie off a smooth law beside seed noise (a
    rung off its best learning rate, say): as given, or from the residuals where they are larger than seed
    noise
    explains."""
    holdout_rungs: Annotated[int, ranges.RUNGS] = 1
    """Largest rungs that are left out and predicted before they are used."""
    target_flops: Annotated[float, ranges.FLOPS] | None = None
    """Compute of the run that the decision is about, FLOPs: gains are extrapolated to it."""
    wanted_gain: Annotated[float, ranges.WANTED_GAIN] = 1.01
    """The gain of the sample-size question: how many seeds would show it?"""
    leave_one_out: bool = True
    """Predict every rung from all others, for the table of that name."""
    verdict: VerdictRule = VerdictRule()

    @model_validator(mode="after")
    def _target_is_given(self) -> AnalysisConfig:
        if self.verdict.at == "target" and self.target_flops is None:
            raise ValueError("verdict.at is 'target', so analysis.target_flops must be given")
        return self
