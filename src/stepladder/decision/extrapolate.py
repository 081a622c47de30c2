"""Beyond the ladder: the gain at a target compute, and where two laws cross. Law against law, from
fits/<axis>.json.

Shapes: B bootstrap draws, G points of a grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stepladder.decision.cells import Cells
from stepladder.laws.forms import Array
from stepladder.laws.invert import log_invert, predict, summarize
from stepladder.laws.numbers import finite, percentile_interval
from stepladder.schema.analysis import AnalysisConfig

BELOW, ABOVE = 10.0, 1e4
"""Crossings are looked for from this factor below the cheapest cell to that above the dearest."""

POINTS = 400


def at_target(
    cells: Cells, fit: dict[str, Any], candidate: str, reference: str, config: AnalysisConfig
) -> dict[str, Any] | None:
    """EG where the candidate spends the compute `config.target_flops`; None without a target.

    On other axes the target is what the candidate would spend there: its cost as a power of its FLOPs, by
    regression over its cells.
    """
    if config.target_flops is None:
        return None
    cost = target_cost(cells, fit["axis"], candidate, config.target_flops)
    laws = {name: fit["laws"][name]["parameters"] for name in (candidate, reference)}
    drawn = draws_of(fit, candidate, reference)
    point = log_gain(laws, fit["unit_cost"], candidate, reference, cost)
    draws = None if drawn is None else log_gain(drawn, fit["unit_cost"], candidate, reference, cost)
    largest = float(cells.of(candidate)["flops"].max())
    return summarize(float(point), draws, config.confidence) | {
        "cost": cost,
        "flops": config.target_flops,
        "beyond": config.target_flops / largest,
    }


def target_cost(cells: Cells, axis: str, variant: str, flops: float) -> float:
    """What `variant` would spend on `axis` at so many FLOPs."""
    mine = cells.of(variant)
    if axis == "flops":
        return flops
    x, y = np.log(mine["flops"].to_numpy(dtype=float)), np.log(mine[axis].to_numpy(dtype=float))
    slope, intercept = np.polyfit(x, y, 1)
    return float(np.exp(intercept + slope * np.log(flops)))


def draws_of(fit: dict[str, Any], *variants: str) -> dict[str, dict[str, Array]] | None:
    """Bootstrap parameters (B,) of the named variants."""
    if not fit["draws"]:
        return None
    laws = fit["draws"]["laws"]
    return {name: {key: np.array(values) for key, values in laws[name].items()} for name in variants}


def log_gain(laws: dict[str, Any], unit: float, candidate: str, reference: str, cost: float) -> Array:
    """ln EG of law over law where the candidate spends `cost`."""
    loss = predict(laws[candidate], unit, cost)
    return np.asarray(log_invert(laws[reference], unit, loss) - np.log(cost))


def crossover(
    fit: dict[str, Any], candidate: str, reference: str, costs: Array, confidence: float
) -> dict[str, Any]:
    """The cheapest cost at which the two laws cross, searched from well below the ladder to far above it.

    Args:
        costs: of both variants' cells.

    Returns:
        `cost` and the variant that is better above it, null where the laws do not cross; `interval` over
        all draws, an end being null where the draws there do not cross; `share` of the draws that cross.
    """
    grid = np.geomspace(costs.min() / BELOW, costs.max() * ABOVE, POINTS)
    unit = fit["unit_cost"]
    laws = {name: fit["laws"][name]["parameters"] for name in (candidate, reference)}
    difference = predict(laws[candidate], unit, grid) - predict(laws[reference], unit, grid)
    point = float(first_crossing(difference[None], grid)[0])
    after = float(difference[int(np.searchsorted(grid, point))]) if np.isfinite(point) else np.nan
    result: dict[str, Any] = {
        "searched": [float(grid[0]), float(grid[-1])],
        "cost": finite(point),
        "better_above": None if np.isnan(point) else (candidate if after < 0 else reference),
        "crossings": int((np.diff(np.sign(difference)) != 0).sum()),
        "interval": None,
        "share": None,
    }
    drawn = draws_of(fit, candidate, reference)
    if drawn is None:
        return result
    columns = {name: {k: v[:, None] for k, v in law.items()} for name, law in drawn.items()}
    apart = predict(columns[candidate], unit, grid) - predict(columns[reference], unit, grid)
    places = first_crossing(apart, grid)
    return result | {
        "interval": percentile_interval(places, confidence),
        "share": float(np.isfinite(places).mean()),
    }


def first_crossing(difference: Array, grid: Array) -> Array:
    """(B,) cost at which each row of (B, G) first changes sign, by interpolation in log cost; NaN if
    never."""
    changes = np.sign(difference[:, :-1]) * np.sign(difference[:, 1:]) < 0
    first = changes.argmax(axis=1)
    rows = np.arange(len(difference))
    before, after = difference[rows, first], difference[rows, first + 1]
    crosses = changes.any(axis=1)
    share = np.where(crosses, before, 0.0) / np.where(crosses, before - after, 1.0)
    x = np.log(grid)
    place = np.exp(x[first] + share * (x[first + 1] - x[first]))
    return np.where(crosses, place, np.nan)
