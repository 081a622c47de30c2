"""Efficiency gain: the cost at which the reference would reach the candidate's loss, over the candidate's.

EG = C_ref(L_cand) / C_cand, with C_ref the inverse of the reference's law (MAI-Thinking-1 report, 2026).
Above 1 the candidate saves. Where the candidate's loss is at or below the reference's floor E no cost
suffices: the gain is infinite, written as null, and the share of such replicates is given.

Shapes: B replicates, K rungs of the candidate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stepladder.decision.cells import Cells
from stepladder.decision.extrapolate import at_target, crossover
from stepladder.laws.forms import Array
from stepladder.laws.invert import exp, interval, invert, log_invert, predict, summarize
from stepladder.laws.numbers import finite, percentile_interval
from stepladder.schema.analysis import AnalysisConfig


@dataclass(frozen=True)
class LogGains:
    """ln EG of one candidate over one reference on one axis, at each of the candidate's cells."""

    cells: pd.DataFrame
    """The candidate's cells, smallest first."""
    cost: Array
    """(K,)."""
    point: Array
    """(K,) from the candidate's measured losses."""
    draws: Array | None
    """(B, K), or None without a noise estimate."""
    law_point: Array
    """(K,) from the candidate's law instead of its losses."""
    law_draws: Array | None
    """(B, K)."""


def log_gains(
    cells: Cells, replicates: Array | None, fit: dict[str, Any], candidate: str, reference: str
) -> LogGains:
    """Gains at the candidate's cells; `replicates` (B, M) are those that `fit` was bootstrapped on."""
    mine = cells.of(candidate)
    cost = mine[fit["axis"]].to_numpy(dtype=float)
    unit = fit["unit_cost"]
    laws = {name: fit["laws"][name]["parameters"] for name in (candidate, reference)}
    draws = law_draws = None
    if replicates is not None and fit["draws"]:
        drawn = {
            name: {key: np.array(values)[:, None] for key, values in fit["draws"]["laws"][name].items()}
            for name in (candidate, reference)
        }
        with np.errstate(over="ignore"):  # an absurd replicate's loss may be infinite: it costs nothing
            draws = log_invert(drawn[reference], unit, np.exp(replicates[:, mine.index])) - np.log(cost)
        predicted = predict(drawn[candidate], unit, cost)
        law_draws = log_invert(drawn[reference], unit, predicted) - np.log(cost)
    return LogGains(
        cells=mine,
        cost=cost,
        point=log_invert(laws[reference], unit, mine["loss"].to_numpy()) - np.log(cost),
        draws=draws,
        law_point=log_invert(laws[reference], unit, predict(laws[candidate], unit, cost)) - np.log(cost),
        law_draws=law_draws,
    )


def gain(
    cells: Cells,
    replicates: Array | None,
    fit: dict[str, Any],
    candidate: str,
    reference: str,
    config: AnalysisConfig,
) -> dict[str, Any]:
    """Gains of `candidate` over `reference` per rung, pooled, and their trend, on the fit's axis."""
    axis = fit["axis"]
    reason = fit["reason"] or fit["laws"][reference]["reason"]
    if reason:
        return {"axis": axis, "reason": reason, "rungs": [], "pooled": None, "trend": None, "at_target": None}
    logs = log_gains(cells, replicates, fit, candidate, reference)
    theirs = cells.of(reference)
    held = fit["held_out"]["rungs"] if fit["held_out"] else []
    rungs = [
        {
            "rung": row["rung"],
            "label": row["label"],
            "cost": row[axis],
            **summarize(logs.point[i], _column(logs.draws, i), config.confidence),
            "law_gain": finite(exp(logs.law_point[i])),
            "law_interval": interval(_column(logs.law_draws, i), config.confidence),
            "n": row["n"],
            "n_reference": int(theirs.loc[theirs["step"] == row["step"], "n"].sum()),
            "held_out": row["rung"] in held,
            "extrapolated": bool(not theirs["loss"].min() <= row["loss"] <= theirs["loss"].max()),
        }
        for i, row in enumerate(logs.cells.to_dict("records"))
    ]
    with np.errstate(invalid="ignore"):  # infinite both ways: NaN
        means = None if logs.draws is None else logs.draws.mean(axis=1)
    return {
        "axis": axis,
        "reason": None,
        "converged": fit["converged"],
        "rungs": rungs,
        "pooled": summarize(logs.point.mean(), means, config.confidence) | {"n_rungs": len(rungs)},
        "trend": _trend(logs, config),
        "at_largest": rungs[-1] | {"n_rungs": len(rungs)},
        "at_target": at_target(cells, fit, candidate, reference, config),
        "crossover": crossover(
            fit, candidate, reference, np.concatenate([logs.cost, theirs[axis]]), config.confidence
        ),
        "sensitivity": _sensitivity(fit, logs.cells, reference),
    }


def _column(draws: Array | None, i: int) -> Array | None:
    return None if draws is None else draws[:, i]


def _trend(logs: LogGains, config: AnalysisConfig) -> dict[str, Any] | None:
    """Slope of ln EG per factor of ten (and of e) in cost, by least squares over the rungs."""
    if len(logs.cost) < 2:
        return None
    x = np.log10(logs.cost) - np.log10(logs.cost).mean()

    def slope(gains: Array) -> Array:
        with np.errstate(invalid="ignore"):  # infinite gains at both ends have no slope: NaN
            return np.asarray((gains * x).sum(axis=-1) / (x**2).sum())

    value = finite(float(slope(logs.point)))
    slopes = None if logs.draws is None else slope(logs.draws)
    return {
        "slope_per_decade": value,
        "slope_per_e_fold": None if value is None else float(value / np.log(10)),
        "interval": percentile_interval(slopes, config.confidence),
        "undefined_share": None if slopes is None else float((~np.isfinite(slopes)).mean()),
        "n_rungs": len(logs.cost),
    }


def _sensitivity(fit: dict[str, Any], mine: pd.DataFrame, reference: str) -> list[dict[str, Any]]:
    """Gain at the largest rung, and the reference's exponent, under every assumption about the floor."""
    last = mine.iloc[-1]
    rows = []
    for row in fit["sensitivity"]:
        value = alpha = None
        if row["reason"] is None:
            law = row["laws"][reference]
            value = finite(float(invert(law, row["unit_cost"], last["loss"]) / last[fit["axis"]]))
            alpha = law["alpha"]
        rows.append({"floor": row["floor"], "gain": value, "alpha": alpha, "reason": row["reason"]})
    return rows
