"""learning_rates.json: what a ladder's sweep found, and the rates that follow. `stepladder.tuning` writes it;
the specs of tuned runs, the report and the terminal read it.

Rates are peak learning rates, losses nats per token, and intervals have the document's `confidence`.
"""

from __future__ import annotations

from typing import Literal

from stepladder.documents.document import Document, Part

Interval = tuple[float, float]


class LossNoise(Part):
    """What a run's loss deviates from its bowl."""

    sd_loss: float
    """Standard deviation of one run, nats/token."""
    dof: int
    """Degrees of freedom that it was estimated with."""
    source: str
    """Where it comes from, in words."""


class BowlPoint(Part):
    """What one rate of a bowl led to."""

    factor: float
    """On the ruled rate."""
    learning_rate: float
    """The peak rate itself."""
    losses: tuple[float, ...]
    """One per seed, nats/token."""


class BestRate(Part):
    """The lowest point of a bowl."""

    factor: float
    """On the bowl's `base_rate`."""
    learning_rate: float
    """The peak rate itself."""
    interval: Interval | None
    """Of `learning_rate`, by Fieller's theorem; None where the noise is unknown."""
    se_log_rate: float | None
    """Standard error of ln(rate); None where the noise is unknown."""
    loss: float
    """At the lowest point, nats/token."""
    loss_se: float | None
    """Standard error of `loss`; None where the noise is unknown."""
    curvature: float
    """Nats/token per squared e-fold of the rate."""


class SweptBowl(Part):
    """Loss against learning rate of one variant, rung and batch."""

    variant: str
    """architecture-recipe."""
    rung: str
    """Label of the rung."""
    batch_factor: float
    """On the ruled batch."""
    batch_sequences: int
    """Sequences per step."""
    quantity: float
    """Value of the measure of scale, see `Tuning.quantity`."""
    base_rate: float
    """Rate at factor 1."""
    points: tuple[BowlPoint, ...]
    """Every rate that was tried, ascending."""
    window: Interval
    """Smallest and largest factor that the parabola is fitted to."""
    coefficients: tuple[float, float, float]
    """Of 1, x and x² in the parabola; x = ln factor."""
    n: int
    """Runs that the parabola is fitted to."""
    optimum: BestRate | None
    """Where the parabola is lowest; None where it is not inside the sweep."""
    reason: str | None
    """Why there is no optimum, and what to add; None where there is one."""


class RateExponent(Part):
    """How the best rate of one variant goes with scale."""

    rungs: tuple[str, ...]
    """That have an optimum."""
    exponent: float | None
    """Of the rate itself as a power of the quantity, the rule's exponent included; None at one size."""
    interval: Interval | None
    """Of `exponent`."""
    exponent_of_factor: float
    """Of the factor on the rule's rate."""


class RateLaw(Part):
    """How the best rate goes with scale."""

    method: Literal["own", "shared", "rule"]
    """Exponents: one per variant, one for all, or the rule's."""
    in_words: str
    """The method, as the report says it."""
    variants: dict[str, RateExponent]
    """By variant."""
    scatter: float | None
    """Chi-square per degree of freedom of the optima about the law; None without one."""
    widened: bool
    """Whether the scatter is more than the bowls' errors explain, and the intervals hold it."""


class OffOptimum(Part):
    """How far the rate that a rung trains at lies from its best, and what that costs."""

    optimum: float
    """The best rate."""
    interval: Interval | None
    """Of `optimum`."""
    cost: float
    """Estimated loss above the best, nats/token."""
    n: int
    """Runs of the bowls behind the estimate."""
    noise: float | None
    """Standard deviation of one run, nats/token."""
    by: Literal["bowl", "law"]
    """Whether the best is that of the rung's own bowl, or of the law."""
    outside: bool | None
    """Whether the rate lies outside the interval; None without one."""
    flagged: bool | None
    """Whether it is outside and costs more than the noise of one run; None where that cannot be told."""


class RungRate(Part):
    """The rate of one variant, rung and budget."""

    variant: str
    """architecture-recipe."""
    rung: str
    """Label of the rung."""
    budget: str
    """Multiple of 20 tokens per parameter (1x), or steps."""
    quantity: float
    """Value of the measure of scale, see `Tuning.quantity`."""
    rule_rate: float
    """By the ladder's rule, whatever the rung overrides."""
    ruled_rate: float
    """What it trains at without the sweep."""
    applied: bool
    """Whether it trains at the prediction."""
    factor: float | None
    """Predicted, on `rule_rate`; None without a law."""
    learning_rate: float | None
    """Predicted."""
    interval: Interval | None
    """Of `learning_rate`."""
    beyond: float | None
    """Times larger or smaller than the swept sizes; 1 inside them, None where nothing has an optimum."""
    used: float | None
    """What it trains at."""
    off: OffOptimum | None
    """None at budgets that were not swept."""


class BestBatch(Part):
    """Where the lowest losses of a variant and rung are lowest over the batch."""

    variant: str
    """architecture-recipe."""
    rung: str
    """Label of the rung."""
    factor: float | None
    """On the ruled batch; None where it is not inside the sweep."""
    reason: str | None
    """Why not, and what to add."""


class BatchChoice(Part):
    """One factor on the ruled batch for the whole ladder."""

    each: tuple[BestBatch, ...]
    """Of every variant and rung that was swept."""
    fitted: float | None
    """Geometric mean of them; None where one has none."""
    spread: float | None
    """Standard deviation of the single ones, as a factor; None for one."""
    applied: float | None
    """The tried factor nearest to `fitted`."""


class Tuning(Document):
    """What a ladder's sweep found: learning_rates.json."""

    REMEDY = "run snakemake, which analyses the sweep again"

    made_from: str
    """Digest of the sweep and of the ladder's sizes; rates of another one are not taken."""
    quantity: Literal["n", "d", "c", "d_model"]
    """The measure of scale: N, D, C or the model's width, see `stepladder.schema.scale.Size`."""
    budget: str
    """That was swept."""
    confidence: float
    """Coverage of the intervals."""
    noise: dict[str, LossNoise | None]
    """By rung; None where nothing tells it."""
    bowls: tuple[SweptBowl, ...]
    """One for every variant, rung and batch that was swept."""
    law: RateLaw | None
    """None without an optimum."""
    rates: tuple[RungRate, ...]
    """Of every variant, rung and budget of the ladder."""
    warnings: tuple[str, ...]
    """Bowls without an optimum."""
    batch: BatchChoice | None = None
    """None unless the sweep is to apply a batch."""
    problems: tuple[str, ...]
    """What forbids to train at the rates; empty in a file that the workflow wrote."""
