"""The `analysis:` section of a ladder file. Importing it is cheap: the workflow is parsed through it."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator

from stepladder.schema import ranges
from stepladder.schema.metric import MetricName
from stepladder.schema.settings import Name, Settings

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


def _share(value: object) -> object:
    """`0.1 %` as 0.001; anything else as it is."""
    if isinstance(value, str) and value.rstrip().endswith("%"):
        with suppress(ValueError):
            return float(value.rstrip().removesuffix("%")) / 100
    return value


class VerdictRule(Settings):
    """The rule of promotion, written down before the ladder runs; the report prints every criterion."""

    kind: Literal["gain", "equivalent"] = "gain"
    """What is asked of a candidate: a gain worth having, or, where a change should only be faster, the same
    loss at every rung."""
    margin: Annotated[float, BeforeValidator(_share), ranges.MARGIN] | None = None
    """With `kind: equivalent`: difference of loss that does not matter, as a share of it, `0.001` or
    `0.1 %`."""
    minimal_gain: Annotated[float, ranges.GAIN] = 1.02
    """Smallest efficiency gain worth having, at the largest rung, on each of `axes`."""
    axes: tuple[Axis, ...] = Field(default=("flops", "seconds"), min_length=1)
    """Cost axes on which the gain must hold."""
    alpha: Annotated[float, ranges.LEVEL] = 0.05
    """Level of the seed test at the two largest rungs."""
    at: Literal["largest", "target"] = "largest"
    """Where the gain must be sure: at the largest rung, by its measured loss, or by the laws at the target.
    Wherever it is, the gain expected at the target must be worth having."""
    minimal_rungs: Annotated[int, ranges.SHARED_RUNGS] = 3
    """Rungs that candidate and reference must share: from 3 on a law can be fitted, and its intervals say how
    little so few tell."""
    held_out_within: Annotated[float, ranges.COST_RATIO] = 1.25
    """How far the held-out predictions of candidate and reference may be off where one lies outside its
    interval: as a factor of cost, up or down, between what the observed loss should have cost and what it
    did."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "gain" and self.margin is not None:
            raise ValueError("margin goes with kind: equivalent; for a gain, minimal_gain is the threshold")
        if self.kind == "equivalent":
            if self.margin is None:
                raise ValueError(
                    "kind: equivalent needs a margin: the difference of loss that does not matter, as 0.1 %"
                )
            fields = type(self).model_fields
            for name in ("minimal_gain", "at", "minimal_rungs", "held_out_within"):
                if getattr(self, name) != fields[name].default:
                    raise ValueError(f"{name} means nothing with kind: equivalent: remove it")
        return self


class MisfitPrior(Settings):
    """How far cells may lie off a smooth law, seed noise apart, before their residuals are seen.

    A sweep of learning rates within the ladder, with its best rates inside at two rungs, lowers `by` to what
    it finds.
    """

    scale: Annotated[float, ranges.MISFIT] = Field(default=0.0005, gt=0)
    """Of all cells, up or down: scale of a half-t with 4 degrees of freedom for its standard deviation, log
    loss."""
    exactly: Annotated[float, ranges.MISFIT] | None = None
    """That standard deviation itself, where it is known: then it is not estimated."""
    share: Annotated[float, ranges.MISFIT_SHARE] = 0.15
    """Share of cells whose loss is too high because they are undertuned; 0 for none."""
    by: Annotated[float, ranges.MISFIT] = Field(default=0.005, gt=0)
    """By how much, log loss: scale of a half-normal."""


class StatedNoise(Settings):
    """Seed noise of one run in the middle of the ladder, as earlier ladders showed it."""

    sd: Annotated[float, ranges.NOISE] = Field(gt=0)
    """Standard deviation of log loss. OLMo's public reruns: 0.00016 at 1B (docs/laws.md)."""
    dof: Annotated[float, ranges.NOISE_DOF] = Field(default=8, gt=0)
    """Degrees of freedom it counts for: how many repeated seeds it rests on, fewer if they ran on other data
    or at another scale."""


class Gate(Settings):
    """A look between rungs: what is hopeless ends here, before its dear rungs run."""

    after: Name
    """Label of the rung after which to look; from the third rung on there are laws to look at."""
    futility: Annotated[float, ranges.FUTILITY] = 0.1
    """Chance that the ladder, climbed to its end, promotes a candidate, were its laws what they seem at this
    rung (conditional power), below which it is stopped; 0 stops none."""
    success: bool = False
    """Whether a candidate may be promoted here already: at the level that O'Brien and Fleming's shape allows
    for what is known so far (Lan & DeMets 1983), which the verdict at the end then lacks."""


class AnalysisConfig(Settings):
    """How runs become laws and laws a verdict."""

    baseline: str
    """Variant that every other is compared with."""
    metric: MetricName = "target_loss"
    """What laws, gains and verdicts are about: target_loss (nats per token), bits_per_byte (the same where
    tokenizers differ), or domain:<name> (bits per byte of one domain)."""
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
    """E, in the metric's unit: one for all variants, one each, or pinned at a value."""
    misfit: MisfitPrior = MisfitPrior()
    """How far a cell may lie off a smooth law, seed noise apart, before its residuals are seen."""
    noise: StatedNoise | None = None
    """Seed noise that is known from elsewhere, beside what repeated seeds show. A ladder without repeated
    seeds has intervals with it."""
    holdout_rungs: Annotated[int, ranges.RUNGS] = 1
    """Largest rungs that are left out and predicted before they are used."""
    target_flops: Annotated[float, ranges.FLOPS] | None = None
    """Compute of the run that the decision is about, FLOPs: gains are extrapolated to it. By default one rung
    above the largest."""
    wanted_gain: Annotated[float, ranges.WANTED_GAIN] = 1.01
    """The gain of the sample-size question: how many seeds would show it?"""
    leave_one_out: bool = True
    """Predict every rung from all others, for the table of that name."""
    gates: tuple[Gate, ...] = ()
    """Looks between rungs, smallest rung first. Without any, every run runs."""
    verdict: VerdictRule = VerdictRule()

    @model_validator(mode="after")
    def _gates_look_for_gains(self) -> Self:
        if self.gates and self.verdict.kind == "equivalent":
            raise ValueError("gates look for gains, and verdict.kind is equivalent: remove one of them")
        return self
