"""Efficiency gain: the cost at which the reference would reach the candidate's loss, over the candidate's.

EG = C_ref(L_cand) / C_cand, with C_ref the inverse of the reference's law (MAI-Thinking-1 report, 2026).
Above 1 the candidate saves. Where the candidate's loss is at or below the reference's floor E no cost
suffices: the gain is infinite, written as null, and the share of such replicates is given.

Shapes: B replicates, K rungs of the candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.cells import Cells
from stepladder.decision.efficiency import (
    AxisGain,
    FloorGain,
    LargestGain,
    PooledGain,
    RungGain,
    Trend,
    interval_of_logs,
)
from stepladder.decision.extrapolate import at_target, crossover
from stepladder.laws.forms import Array
from stepladder.laws.invert import exp, invert, log_invert, predict
from stepladder.laws.numbers import finite, percentile_interval
from stepladder.schema.analysis import AnalysisConfig


@dataclass(frozen=True)
class LogGains:
    """ln EG of one candidate over one reference on one axis, at each of the candidate's cells."""

    cells: pd.DataFrame
    """The candidate's cells, smallest first."""
    cost: Array
    """(K,) cost of each of them, in the axis' unit."""
    point: Array
    """(K,) from the candidate's measured losses."""
    draws: Array | None
    """(B, K), in every replicate; None without a noise estimate."""
    law_point: Array
    """(K,) from the candidate's law instead of its losses."""
    law_draws: Array | None
    """(B, K), in every replicate."""


def log_gains(
    cells: Cells, replicates: Array | None, fit: AxisFit, candidate: str, reference: str
) -> LogGains:
    """Gains at the candidate's cells; `replicates` (B, M) are those that `fit` was bootstrapped on."""
    mine = cells.of(candidate)
    cost = mine[fit.axis].to_numpy(dtype=float)
    ours, theirs = fit.law(candidate), fit.law(reference)
    draws = law_draws = None
    ours_drawn, theirs_drawn = fit.drawn(candidate), fit.drawn(reference)
    if replicates is not None and ours_drawn and theirs_drawn:
        with np.errstate(over="ignore"):  # an absurd replicate's loss may be infinite: it costs nothing
            draws = log_invert(theirs_drawn.column, np.exp(replicates[:, mine.index])) - np.log(cost)
        law_draws = log_invert(theirs_drawn.column, predict(ours_drawn.column, cost)) - np.log(cost)
    return LogGains(
        cells=mine,
        cost=cost,
        point=log_invert(theirs, mine["loss"].to_numpy()) - np.log(cost),
        draws=draws,
        law_point=log_invert(theirs, predict(ours, cost)) - np.log(cost),
        law_draws=law_draws,
    )


def gain(
    cells: Cells,
    replicates: Array | None,
    fit: AxisFit,
    candidate: str,
    reference: str,
    config: AnalysisConfig,
) -> AxisGain:
    """Gains of `candidate` over `reference` per rung, pooled, and their trend, on the fit's axis."""
    if reason := fit.why_not(reference):
        return AxisGain(axis=fit.axis, reason=reason)
    logs = log_gains(cells, replicates, fit, candidate, reference)
    theirs = cells.of(reference)
    held = fit.held_out.rungs if fit.held_out else ()
    rungs = [
        RungGain.of_logs(
            logs.point[i],
            _column(logs.draws, i),
            config.confidence,
            rung=row["rung"],
            label=row["label"],
            cost=row[fit.axis],
            law_gain=finite(float(exp(logs.law_point[i]))),
            law_interval=interval_of_logs(_column(logs.law_draws, i), config.confidence),
            n=row["n"],
            n_reference=int(theirs.loc[theirs["step"] == row["step"], "n"].sum()),
            held_out=row["rung"] in held,
            extrapolated=bool(not theirs["loss"].min() <= row["loss"] <= theirs["loss"].max()),
        )
        for i, row in enumerate(logs.cells.to_dict("records"))
    ]
    with np.errstate(invalid="ignore"):  # infinite both ways: NaN
        means = None if logs.draws is None else logs.draws.mean(axis=1)
    costs = np.concatenate([logs.cost, theirs[fit.axis]])
    return AxisGain(
        axis=fit.axis,
        reason=None,
        converged=fit.converged,
        rungs=rungs,
        pooled=PooledGain.of_logs(logs.point.mean(), means, config.confidence, n_rungs=len(rungs)),
        trend=_trend(logs, config),
        at_largest=LargestGain(**dict(rungs[-1]), n_rungs=len(rungs)),
        at_target=at_target(cells, fit, candidate, reference, config),
        crossover=crossover(fit, candidate, reference, costs, config.confidence),
        sensitivity=_sensitivity(fit, logs.cells, reference),
    )


def _column(draws: Array | None, i: int) -> Array | None:
    return None if draws is None else draws[:, i]


def _trend(logs: LogGains, config: AnalysisConfig) -> Trend | None:
    """Slope of ln EG per factor of ten (and of e) in cost, by least squares over the rungs."""
    if len(logs.cost) < 2:
        return None
    x = np.log10(logs.cost) - np.log10(logs.cost).mean()

    def slope(gains: Array) -> Array:
        with np.errstate(invalid="ignore"):  # infinite gains at both ends have no slope: NaN
            return np.asarray((gains * x).sum(axis=-1) / (x**2).sum())

    value = finite(float(slope(logs.point)))
    slopes = None if logs.draws is None else slope(logs.draws)
    return Trend(
        slope_per_decade=value,
        slope_per_e_fold=None if value is None else float(value / np.log(10)),
        interval=percentile_interval(slopes, config.confidence),
        undefined_share=None if slopes is None else float((~np.isfinite(slopes)).mean()),
        n_rungs=len(logs.cost),
    )


def _sensitivity(fit: AxisFit, mine: pd.DataFrame, reference: str) -> list[FloorGain]:
    """Gain at the largest rung, and the reference's exponent, under every assumption about the floor."""
    last = mine.iloc[-1]
    rows = []
    for choice in fit.sensitivity:
        value = alpha = None
        if choice.reason is None:
            value = finite(float(invert(choice.law(reference), last["loss"]) / last[fit.axis]))
            alpha = choice.laws[reference].alpha
        rows.append(FloorGain(floor=choice.floor, gain=value, alpha=alpha, reason=choice.reason))
    return rows
