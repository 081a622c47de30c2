"""fits/<axis>.json: the laws of all variants on one cost axis, how sure they are, and what they predicted.

Made by `fit.fit`, read by the comparison, the report and `stepladder predict`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from stepladder.decision.cells import Cells
from stepladder.decision.misfit import Misfit
from stepladder.documents.document import Document, Part
from stepladder.laws.invert import ComputeLaw
from stepladder.laws.numbers import Interval
from stepladder.schema.analysis import AnalysisConfig, Axis, MisfitPrior, StatedNoise
from stepladder.schema.metric import Metric, MetricName, metric

Floor = Literal["shared", "free"] | float
"""Floor E of the variants: one for all, one each, or the value, in the metric's unit, it is pinned at."""

T = TypeVar("T")


class PerParameter(Part, Generic[T]):
    """Something of each parameter of L(C) = E + A (C / unit)^-alpha."""

    E: T
    """What is said of the floor, in the metric's unit."""
    A: T
    """What is said of the loss above the floor at the cost `unit`, in the metric's unit."""
    alpha: T
    """What is said of the exponent, which has no unit."""

    def items(self) -> Iterator[tuple[str, T]]:
        """Names and values, in the order of the formula."""
        yield from (("E", self.E), ("A", self.A), ("alpha", self.alpha))


class FittedCell(Part):
    """One variant at one rung and budget, beside its law."""

    rung: str
    """Label of the rung."""
    budget: str
    """Multiple of 20 tokens per parameter (1x), or steps."""
    label: str
    """The rung, with the budget where the ladder has several."""
    cost: float
    """Median over its runs, in the axis' unit."""
    n: int
    """Seeds."""
    loss: float
    """Mean over its seeds, in logs, in the metric's unit."""
    predicted: float
    """The law's loss at that cost, in the metric's unit."""
    residual: float
    """Log of loss over predicted."""
    excess: float
    """By how much its log loss is too high, where its residual shows it: taken out before the law was
    fitted. 0 for a sound cell."""


class Curve(Part):
    """A law from below its ladder's cheapest cell to beyond the dearest."""

    cost: tuple[float, ...]
    """In the axis' unit, ascending."""
    loss: tuple[float, ...]
    """In the metric's unit."""
    low: tuple[float, ...] | None = None
    """Ends of the pointwise interval; null without a noise estimate."""
    high: tuple[float, ...] | None = None
    """The upper ends."""


class VariantLaw(Part):
    """The law of one variant."""

    reason: str | None
    """Why the law cannot be inverted, or null."""
    parameters: PerParameter[float]
    """Estimates."""
    standard_errors: PerParameter[float] | None
    """Half of the central 68.27 % of the draws; null without a noise estimate."""
    intervals: PerParameter[Interval] | None
    """At the confidence of the fit; null without a noise estimate."""
    cells: tuple[FittedCell, ...]
    """Smallest first."""
    curve: Curve
    """The law as it is drawn."""


class CellPrediction(Part):
    """The loss that other rungs predict for a cell."""

    variant: str
    """Whose law predicts."""
    rung: str
    """Label of the rung."""
    budget: str
    """Multiple of 20 tokens per parameter (1x), or steps."""
    label: str
    """The rung, with the budget where the ladder has several."""
    cost: float
    """What a run there spends, in the axis' unit."""
    n: int
    """Seeds whose mean is predicted."""
    predicted: float
    """In the metric's unit."""
    interval: Interval | None
    """The seed noise of the cell's runs included; null without a noise estimate."""


class HeldOutPrediction(CellPrediction):
    """A prediction beside what came."""

    observed: float
    """In the metric's unit."""
    relative_error: float
    """Observed over predicted, less 1."""
    cost_ratio: float | None
    """Cost at which the predicting law would reach the observed loss, over the cell's: what the error means
    as a gain. Null where it never would."""
    inside: bool | None
    """Whether the interval holds the observed loss; null without one."""


class HeldOut(Part):
    """Rungs that were left out of a fit and predicted by it."""

    rungs: tuple[str, ...]
    """Labels of the rungs."""
    reason: str | None
    """Why the other rungs do not predict them, or null."""
    predictions: tuple[HeldOutPrediction, ...]
    """One for every cell of those rungs."""


class FloorChoice(Part):
    """The laws under one assumption about the floor."""

    floor: Floor
    """The assumption."""
    reason: str | None
    """Why there are no laws under it, or null."""
    objective: float | None
    """Huber loss on log residuals, summed over cells."""
    laws: dict[str, PerParameter[float]]
    """Parameters by variant."""
    unit_cost: float | None = Field(default=None, gt=0)
    """Cost at which L = E + A."""

    def law(self, variant: str) -> ComputeLaw:
        """The law of a variant, where there is no `reason` against it."""
        return _law(self.laws[variant], self.unit_cost)


class Draws(Part):
    """Bootstrap replicates of every law: what the comparison takes its intervals from."""

    unit_cost: float = Field(gt=0)
    """Cost at which L = E + A."""
    laws: dict[str, PerParameter[tuple[float, ...]]]
    """Parameters by variant, one value per replicate."""

    @model_validator(mode="after")
    def _are_equally_many(self) -> Self:
        counts = {len(values) for law in self.laws.values() for _, values in law.items()}
        if len(counts) > 1:
            raise ValueError(
                f"parameters have {', '.join(map(str, sorted(counts)))} replicates: equally many"
            )
        return self


class NoiseFound(Part):
    """Seed noise, as a line through the rungs."""

    dof: float
    """Degrees of freedom behind it at the largest rung (Satterthwaite); 0 where it is not known."""
    sd_log_loss: dict[str, float | None] | None
    """Standard deviation of one run's log loss at the largest rung, by variant."""
    sd_per_decade: float | None = None
    """Factor by which it changes for ten times the cost, by a line that a prior holds near 1."""
    stated: StatedNoise | None = None
    """What the ladder states of it, null where it states nothing."""
    reason: str | None
    """Why it is not known, or null."""


class MadeFrom(Part):
    """What a fit was made from: who compares or plans with it refuses one that was made otherwise."""

    runs: int
    """Rows of the table."""
    rows_sha256: str
    """Digest of what of these rows determines laws: see `Cells.rows_sha256`."""
    draws: int
    """Bootstrap draws that were asked for."""
    seed: int
    """Seed of the bootstrap."""
    confidence: float
    """Coverage of all intervals."""
    huber_delta: float
    """Residual of log loss from which cells count linearly."""
    floor: Floor
    """What is assumed of E."""
    misfit: MisfitPrior
    """How far cells might lie off a smooth law."""
    noise: StatedNoise | None
    """Seed noise that is stated."""
    holdout_rungs: int
    """Largest rungs that were left out and predicted."""
    metric: MetricName = "target_loss"
    """What the laws are of."""

    @classmethod
    def of(cls, cells: Cells, config: AnalysisConfig) -> MadeFrom:
        """What a fit of these cells by this analysis section is made from."""
        return cls(
            runs=len(cells.made_of),
            rows_sha256=cells.rows_sha256,
            draws=config.bootstrap_draws,
            seed=config.seed,
            confidence=config.confidence,
            huber_delta=config.huber_delta,
            floor=config.floor,
            misfit=config.misfit,
            noise=config.noise,
            holdout_rungs=config.holdout_rungs,
            metric=config.metric,
        )

    def differences(self, other: MadeFrom) -> str:
        """In which fields another is different, with both values: `seed 0, here 1`; empty if in none."""
        here = dict(other)
        parts = [f"{name} {value}, here {here[name]}" for name, value in self if value != here[name]]
        return "; ".join(parts)


class AxisFit(Document):
    """The laws of all variants of a ladder on one cost axis."""

    VERSION: ClassVar[int] = 3
    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "run snakemake again, or `stepladder fit RUNS --out FILE`"

    schema_version: int = VERSION
    """version of these fields"""
    axis: Axis
    """The cost axis."""
    floor: Floor
    """What is assumed of E."""
    huber_delta: float
    """Residual of log loss from which cells count linearly."""
    confidence: float
    """Coverage of all intervals."""
    n_runs: int
    """Runs that were fitted."""
    made_from: MadeFrom
    """The table and the draws that it was made with."""
    n_cells: int
    """Cells that those runs make."""
    noise: NoiseFound
    """Seed noise of the runs."""
    reason: str | None
    """Why there is no fit, or null. Then there are no laws, and all that is said of the fit is null."""
    misfit: Misfit | None = None
    """How far cells lie off any smooth law."""
    unit_cost: float | None = Field(default=None, gt=0)
    """Cost at which L = E + A, in the axis' unit."""
    objective: float | None = None
    """Huber loss on log residuals, summed over cells."""
    converged: bool | None = None
    """Whether the search for the laws did."""
    starts: int | None = None
    """Starts that were polished."""
    starts_agreeing: int | None = None
    """Starts that ended at the best objective."""
    bootstrap_draws: int | None = None
    """Draws that were made; 0 without a noise estimate."""
    bootstrap_converged: float | None = None
    """Share of the draws whose fit converged; null without draws."""
    laws: dict[str, VariantLaw] = Field(default_factory=dict)
    """The laws by variant."""
    held_out: HeldOut | None = None
    """The largest rungs, predicted from the smaller ones; null if the ladder holds out none."""
    leave_one_out: tuple[HeldOut, ...] = ()
    """Every rung in turn, predicted from all others."""
    sensitivity: tuple[FloorChoice, ...] = ()
    """The laws under other assumptions about the floor."""
    draws: Draws | None = None
    """Null without a noise estimate."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        told = self.made_from
        repeated = {
            "n_runs": (self.n_runs, told.runs),
            "huber_delta": (self.huber_delta, told.huber_delta),
            "confidence": (self.confidence, told.confidence),
            "floor": (self.floor, told.floor),
        }
        for name, (here, there) in repeated.items():
            if here != there:
                raise ValueError(f"{name} is {here}, and {there} in made_from")
        if self.draws and self.draws.laws.keys() != self.laws.keys():
            raise ValueError("draws are of other variants than laws")
        return self

    @property
    def metric(self) -> Metric:
        """What the laws are of."""
        return metric(self.made_from.metric)

    def law(self, variant: str) -> ComputeLaw:
        """The law of a variant, where there is a fit."""
        return _law(self.laws[variant].parameters, self.unit_cost)

    @property
    def sd_off_law(self) -> float:
        """Standard deviation of log loss by which a further cell may lie off its law, seed noise apart."""
        prior = self.made_from.misfit
        everywhere = self.misfit.sd_log_loss if self.misfit else 0.0
        return math.hypot(everywhere, math.sqrt(prior.share) * prior.by)

    def drawn(self, variant: str) -> ComputeLaw | None:
        """The law of a variant in every replicate (B,); None without a noise estimate."""
        if self.draws is None:
            return None
        E, A, alpha = (np.array(values) for _, values in self.draws.laws[variant].items())
        return ComputeLaw(E, A, alpha, self.draws.unit_cost)

    def check_made_from(self, cells: Cells, config: AnalysisConfig) -> None:
        """Whether it is the fit of these runs by this analysis section.

        Raises:
            ValueError: it was made from other runs, or with other settings; the message names them.
        """
        if found := self.made_from.differences(MadeFrom.of(cells, config)):
            raise ValueError(
                f"the fit on {self.axis} was made from other runs or settings ({found}): make it again"
            )

    def why_not(self, *variants: str) -> str | None:
        """Why the laws of these variants cannot be inverted: there are none, or one does not fall."""
        reasons = (self.laws[name].reason for name in variants if not self.reason)
        return self.reason or next(filter(None, reasons), None)


def _law(parameters: PerParameter[float], unit: float | None) -> ComputeLaw:
    if unit is None:
        raise ValueError("there is no fit, so there is no law")
    return ComputeLaw(parameters.E, parameters.A, parameters.alpha, unit)
