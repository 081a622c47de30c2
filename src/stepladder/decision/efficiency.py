"""Efficiency gains as comparison.json holds them: per rung, pooled, their trend, and beyond the ladder."""

from __future__ import annotations

from typing import Self

import numpy as np

from stepladder.decision.axis_fit import Floor
from stepladder.documents.document import Part
from stepladder.laws.forms import Array
from stepladder.laws.invert import exp
from stepladder.laws.numbers import Interval, finite, percentile_interval
from stepladder.schema.analysis import Axis


class Gain(Part):
    """How many times the candidate's cost the reference needs for the same loss: above 1 the candidate
    saves."""

    gain: float | None
    """Null where it is infinite: no cost suffices."""
    interval: Interval | None
    """Null without a noise estimate; an end that is null is infinite."""
    undefined_share: float | None
    """Share of the bootstrap draws in which the gain is infinite or undefined; null without draws."""

    @classmethod
    def of_logs(cls, log_point: float, log_draws: Array | None, confidence: float, **more: object) -> Self:
        """A gain whose logarithm, and whose logarithm in every draw (B,), are given; `more` are the other
        fields of a subclass."""
        return cls(
            gain=finite(float(exp(log_point))),
            interval=interval_of_logs(log_draws, confidence),
            undefined_share=None if log_draws is None else float((~np.isfinite(log_draws)).mean()),
            **more,
        )


def interval_of_logs(log_draws: Array | None, confidence: float) -> Interval | None:
    """Percentile interval of numbers whose logs are given. Percentiles are the same in logs: the exponential
    is taken of the ends."""
    ends = percentile_interval(log_draws, confidence)
    if ends is None:
        return None
    low, high = (None if end is None else finite(float(exp(end))) for end in ends)
    return low, high


class PooledGain(Gain):
    """The geometric mean over rungs."""

    n_rungs: int
    """Rungs, or pairs of rung and budget, that it is the mean of."""


class RungGain(Gain):
    """The gain at one of the candidate's cells, by its measured loss."""

    rung: str
    """Label of the rung."""
    label: str
    """The rung, with the budget where the ladder has several."""
    cost: float
    """The candidate's, in the axis' unit."""
    law_gain: float | None
    """The gain by the candidate's law in place of its loss."""
    law_interval: Interval | None
    """Of `law_gain`; null without a noise estimate."""
    n: int
    """Seeds of the candidate."""
    n_reference: int
    """Seeds of the reference there."""
    held_out: bool
    """Whether the rung was predicted before it was used."""
    extrapolated: bool
    """Whether the candidate's loss lies outside those of the reference, so that its law is extrapolated."""


class LargestGain(RungGain):
    """The gain at the candidate's largest cell."""

    n_rungs: int
    """Cells of the candidate."""


class TargetGain(Gain):
    """The gain, law over law, where the candidate spends the compute that the decision is about."""

    cost: float
    """What the candidate spends at the target, in the axis' unit."""
    flops: float
    """The target."""
    beyond: float
    """How many times the candidate's largest FLOPs that is."""


class PlacedGain(Gain):
    """A gain at a named place of the ladder."""

    label: str
    """The rung, with the budget where the ladder has several."""


class Trend(Part):
    """How the logarithm of the gain goes with the logarithm of cost, by least squares over the rungs."""

    slope_per_decade: float | None
    """Change of ln EG for ten times the cost; null where it is infinite or undefined."""
    slope_per_e_fold: float | None
    """Change of ln EG for e times the cost."""
    interval: Interval | None
    """Where `slope_per_decade` lies; null without a noise estimate."""
    undefined_share: float | None
    """Share of the draws without a slope."""
    n_rungs: int
    """Rungs, or pairs of rung and budget, that the line goes through."""


class Crossover(Part):
    """The cheapest cost at which two laws cross."""

    searched: tuple[float, float]
    """The costs between which crossings were looked for, in the axis' unit."""
    cost: float | None
    """Null where the laws do not cross."""
    better_above: str | None
    """The variant that is better above it."""
    crossings: int
    """How often they cross where it was searched."""
    interval: Interval | None
    """Where they cross over all draws; an end is null where the draws there do not cross."""
    share: float | None
    """Share of the draws that cross; null without draws."""


class FloorGain(Part):
    """The gain at the largest rung under one assumption about the floor."""

    floor: Floor
    """What is assumed of E."""
    gain: float | None
    """Null where it is infinite, or where there is a `reason`."""
    alpha: float | None
    """The reference's exponent."""
    reason: str | None
    """Why there are no laws under it, or null."""


class AxisGain(Part):
    """The gains of one candidate over one reference on one cost axis."""

    axis: Axis
    """The cost axis."""
    reason: str | None
    """Why there are none, or null."""
    converged: bool | None = None
    """Whether the laws' fit did."""
    rungs: tuple[RungGain, ...] = ()
    """The gain at every cell of the candidate, smallest first."""
    pooled: PooledGain | None = None
    """Over all rungs."""
    trend: Trend | None = None
    """Null with fewer than two cells."""
    at_largest: LargestGain | None = None
    """At the candidate's largest cell."""
    at_target: TargetGain | None = None
    """Null where the ladder names no target."""
    crossover: Crossover | None = None
    """Where the laws of both cross."""
    sensitivity: tuple[FloorGain, ...] = ()
    """The gain under every assumption about the floor, in the order of the fit's `sensitivity`."""
