"""comparison.json: every candidate against its references on every cost axis, and the verdicts.

Made by `compare.compare`, read by the report.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from stepladder.decision.efficiency import AxisGain, PlacedGain, PooledGain
from stepladder.decision.prediction_record import RecordCheck
from stepladder.decision.rule_record import RuleCheck
from stepladder.decision.run_options import NextRuns
from stepladder.documents.document import Document, Part
from stepladder.record.gates import GateRecord
from stepladder.schema.analysis import Axis, VerdictRule
from stepladder.schema.metric import MetricName

Outcome = Literal["promote", "hold", "reject", "equivalent", "not equivalent", "unknown"]
"""What to do with a candidate; the last three where the rule asks for equivalence."""


class VariantNoise(Part):
    """Seed noise of one variant, pooled within rungs."""

    sd_loss: float | None
    """Standard deviation of a run's loss, in the metric's unit; null without a repeated seed."""
    dof: int
    """Degrees of freedom."""
    runs: int
    """Runs of the variant."""


class RankAgreement(Part):
    """Whether the variants rank at one rung as they do at the largest."""

    rung: str
    """Label of the rung."""
    largest: str
    """Label of the largest rung."""
    tau: float | None
    """Kendall's tau of the two orders by loss; null where all losses of a rung are the same."""
    n_variants: int
    """Variants that ran at both."""


class SeedTest(Part):
    """t-test of log loss at the largest rungs that both variants ran."""

    pairs: int
    """Pairs of runs with the same seed there."""
    rungs: int
    """Rungs, or pairs of rung and budget, that were looked at."""
    dof: float
    """Degrees of freedom of the noise, a line over all rungs (Satterthwaite); 0 where it is not known."""
    mean_log_difference: float | None
    """Of candidate less reference; below 0 the candidate is better. Null without a rung in common."""
    sd_log_difference: float | None = None
    """Standard deviation of the difference of one pair."""
    effect_size: float | None = None
    """Improvement of log loss in standard deviations."""
    p_better: float | None = None
    """One-sided: small where the candidate is better beyond doubt."""
    detectable_log_difference: float | None = None
    """Difference that so many pairs show with 80 % power."""
    reason: str | None = None
    """Why there is no test, or null."""


class PairsNeeded(Part):
    """Pairs of runs that would show the wanted gain at one rung."""

    label: str
    """The rung, with the budget where the ladder has several."""
    log_difference: float
    """Difference of log loss that the wanted gain makes there."""
    pairs: int
    """Pairs that it needs there."""
    had: int
    """Seeds of the reference there."""
    accelerator_hours: float | None
    """What all pairs cost; null where the table has no seconds."""


class SeedsNeeded(Part):
    """How many pairs of runs would show the gain that is wanted."""

    gain: float
    """The wanted gain."""
    power: float
    """Chance to see it."""
    alpha: float
    """Level of the test."""
    pairs: int
    """Pairs that the largest rung needs."""
    log_difference: float
    """Difference of log loss that the wanted gain makes at the largest rung."""
    rungs: tuple[PairsNeeded, ...]
    """The same for every rung alone."""


class Criterion(Part):
    """One condition of the verdict's rule."""

    name: str
    """What is asked, in words."""
    value: bool | int | float | None
    """What was found; null where it is not known, or infinite."""
    threshold: bool | int | float
    """What it must reach, or true where it must hold."""
    passed: bool
    """Whether it is met."""


class RungDifference(Part):
    """The losses of two variants at one rung, at equal steps."""

    label: str
    """The rung, with the budget where the ladder has several."""
    n: int
    """Seeds of the candidate."""
    n_reference: int
    """Seeds of the reference."""
    difference: float
    """Mean log loss of the candidate less the reference's: a share of the loss."""
    interval: tuple[float, float]
    """Of the difference, with confidence 1 - 2 alpha."""
    sure: tuple[float, float]
    """The same with alpha shared out over the rungs."""
    dof: float
    """Degrees of freedom of the noise (Satterthwaite)."""
    speed: float | None
    """Accelerator time of the reference over the candidate's: above 1 the candidate is faster. Null where the
    table has no times."""
    speed_interval: tuple[float, float] | None
    """Of `speed`, with confidence 1 - 2 alpha; null where no run is repeated."""


class Equivalence(Part):
    """Whether two variants have the same loss."""

    margin: float
    """Difference that does not matter, as a share of the loss."""
    alpha: float
    """Level of each of the two one-sided tests."""
    rungs: tuple[RungDifference, ...]
    """Every rung that both ran, smallest first."""
    reason: str | None
    """Why nothing can be said, or null."""


class Decision(Part):
    """The rule applied to one comparison."""

    verdict: Outcome
    """What to do with the candidate."""
    because: str
    """What decided."""
    criteria: tuple[Criterion, ...]
    """Every condition, in the order of the rule."""


class PairComparison(Decision):
    """One candidate against one reference."""

    candidate: str
    """Variant that is judged."""
    reference: str
    """Variant that it is judged against."""
    gate: str | None = None
    """Label of the rung after which it was decided, before its larger rungs; null where all of them ran."""
    gains: dict[Axis, AxisGain]
    """By cost axis."""
    equivalence: Equivalence | None = None
    """Where the rule asks for it."""
    seed_test: SeedTest
    """Over the seeds that both have."""
    seeds_needed: SeedsNeeded | None
    """Null without a fit or a noise estimate."""
    next_runs: NextRuns | None
    """For as many accelerator-hours as the ladder took; null where nothing can be planned."""


class Interaction(Part):
    """Whether a recipe saves as much on another architecture as on the baseline's: the ratio of its gains."""

    recipe: str
    """The recipe that saves."""
    architecture: str
    """The other architecture."""
    variants: tuple[str, str, str, str]
    """Recipe and baseline's recipe there, then the same on the baseline's architecture."""
    axis: Axis
    """Cost axis of the gains."""
    reason: str | None
    """Why there is no ratio, or null."""
    pooled: PooledGain | None = None
    """Geometric mean of the ratio over the places that both gains have; at 1 the savings multiply."""
    at_largest: PlacedGain | None = None
    """The ratio at the largest place that both gains have."""


class Comparison(Document):
    """All comparisons of a ladder."""

    VERSION: ClassVar[int] = 3
    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "run snakemake again, or `stepladder compare RUNS --out FILE`"

    schema_version: int = VERSION
    """version of these fields"""

    fits: dict[Axis, str]
    """`content_sha256` of the fits that it rests on."""
    metric: MetricName = "target_loss"
    """What it is about."""
    baseline: str
    """Variant that every other is compared with."""
    confidence: float
    """Coverage of all intervals."""
    rule: VerdictRule
    """As the ladder file has it."""
    rule_check: RuleCheck | None = None
    """Whether it was written down before the first result; null where nobody asked."""
    gates: tuple[GateRecord, ...] = ()
    """What was decided between rungs."""
    n_runs: int
    """Runs that it rests on."""
    noise: dict[str, VariantNoise]
    """Seed noise by variant."""
    ranks: tuple[RankAgreement, ...]
    """One for every rung but the largest, smallest first."""
    comparisons: tuple[PairComparison, ...]
    """Every candidate against each of its references."""
    interactions: tuple[Interaction, ...]
    """Of every recipe with each other architecture, by axis."""
    prediction_record: RecordCheck | None = None
    """What was predicted before the largest rungs ran; null where nothing was."""
    warnings: tuple[str, ...]
    """What to know before believing it."""
