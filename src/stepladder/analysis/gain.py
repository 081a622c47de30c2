"""Efficiency gain: the cost at which the reference would reach the candidate's loss, over the candidate's.

EG = C_ref(L_cand) / C_cand, with C_ref the inverse of the reference's law (MAI-Thinking-1 report, 2026).
Above 1 the candidate saves. Where the candidate's loss is at or below the reference's floor E no cost
suffices: the gain is infinite, written as null, and the share of such replicates is given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stepladder.analysis.cells import Cells, finite, percentile_interval
from stepladder.analysis.config import AnalysisConfig
from stepladder.analysis.laws import Array


def invert(law: dict[str, Any], unit: float, loss: Any) -> Array:
    """Cost at which `law` (E, A, alpha: numbers or arrays of replicates) reaches `loss`; inf at its floor."""
    E, A, alpha = (np.asarray(law[key], dtype=float) for key in ("E", "A", "alpha"))
    excess = np.asarray(loss, dtype=float) - E
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(excess > 0, A / excess, np.inf)
        return np.asarray(unit * ratio ** (1 / alpha))


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
    if fit["reason"]:
        return {"axis": axis, "reason": fit["reason"], "rungs": [], "pooled": None, "trend": None}
    mine, theirs = cells.of(candidate), cells.of(reference)
    cost = mine[axis].to_numpy(dtype=float)
    unit = fit["unit_cost"]
    point = invert(fit["laws"][reference]["parameters"], unit, mine["loss"].to_numpy()) / cost
    draws: Array | None = None
    if replicates is not None and fit["draws"]:
        law = {key: np.array(value)[:, None] for key, value in fit["draws"]["laws"][reference].items()}
        draws = invert(law, fit["draws"]["unit_cost"], np.exp(replicates[:, mine.index])) / cost
    held = fit["held_out"]["rungs"] if fit["held_out"] else []
    rungs = [
        {
            "rung": row["rung"],
            "label": row["label"],
            "cost": row[axis],
            "gain": finite(point[i]),
            "interval": percentile_interval(None if draws is None else draws[:, i], config.confidence),
            "undefined_share": None if draws is None else float(np.isinf(draws[:, i]).mean()),
            "n": row["n"],
            "n_reference": int(theirs.loc[theirs["step"] == row["step"], "n"].sum()),
            "held_out": row["rung"] in held,
            "extrapolated": bool(not theirs["loss"].min() <= row["loss"] <= theirs["loss"].max()),
        }
        for i, row in enumerate(mine.to_dict("records"))
    ]
    return {
        "axis": axis,
        "reason": None,
        "rungs": rungs,
        "pooled": _pooled(point, draws, config),
        "trend": _trend(cost, point, draws, config),
        "at_largest": rungs[-1] | {"n_rungs": len(rungs)},
        "sensitivity": _sensitivity(fit, mine, reference),
    }


def _pooled(point: Array, draws: Array | None, config: AnalysisConfig) -> dict[str, Any]:
    """Geometric mean over the rungs."""
    replicates = None if draws is None else np.exp(np.log(draws).mean(axis=1))
    return {
        "gain": finite(np.exp(np.log(point).mean())),
        "interval": percentile_interval(replicates, config.confidence),
        "n_rungs": len(point),
    }


def _trend(cost: Array, point: Array, draws: Array | None, config: AnalysisConfig) -> dict[str, Any] | None:
    """Slope of ln EG per factor of ten in cost, by least squares over the rungs."""
    if len(cost) < 2:
        return None
    x = np.log10(cost) - np.log10(cost).mean()

    def slope(gains: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray((np.log(gains) * x).sum(axis=-1) / (x**2).sum())

    interval = None
    if draws is not None:
        slopes = slope(draws)
        interval = percentile_interval(slopes[~np.isnan(slopes)], config.confidence)
    return {"slope_per_decade": finite(float(slope(point))), "interval": interval, "n_rungs": len(cost)}


def _sensitivity(fit: dict[str, Any], mine: pd.DataFrame, reference: str) -> list[dict[str, Any]]:
    """Gain at the largest rung under every assumption about the floor that was fitted."""
    last = mine.iloc[-1]
    rows = []
    for row in fit["sensitivity"]:
        value = None
        if row["reason"] is None:
            value = finite(
                float(invert(row["laws"][reference], row["unit_cost"], last["loss"]) / last[fit["axis"]])
            )
        rows.append({"floor": row["floor"], "gain": value, "reason": row["reason"]})
    return rows
