"""Beyond the ladder: the gain at a target compute, and where two laws cross. Law against law, from
fits/<axis>.json.

Shapes: B bootstrap draws, G points of a grid.
"""

from __future__ import annotations

import numpy as np

from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.cells import Cells
from stepladder.decision.efficiency import Crossover, TargetGain
from stepladder.laws.forms import Array
from stepladder.laws.invert import ComputeLaw, log_invert, predict
from stepladder.laws.numbers import finite, percentile_interval
from stepladder.schema.analysis import AnalysisConfig, Axis

BELOW, ABOVE = 10.0, 1e4
"""Crossings are looked for from this factor below the cheapest cell to that above the dearest."""

POINTS = 400


def at_target(
    cells: Cells, fit: AxisFit, candidate: str, reference: str, config: AnalysisConfig
) -> TargetGain | None:
    """EG where the candidate spends the compute `config.target_flops`, by default one rung above the largest;
    None for a table without FLOPs, or with one rung.

    On other axes the target is what the candidate would spend there: its cost as a power of its FLOPs, by
    regression over its cells.
    """
    flops = config.target_flops or one_rung_up(cells)
    if flops is None:
        return None
    cost = target_cost(cells, fit.axis, candidate, flops)
    ours, theirs = fit.drawn(candidate), fit.drawn(reference)
    return TargetGain.of_logs(
        float(log_gain(fit.law(candidate), fit.law(reference), cost)),
        log_gain(ours, theirs, cost) if ours and theirs else None,
        config.confidence,
        cost=cost,
        flops=flops,
        beyond=flops / float(cells.of(candidate)["flops"].max()),
    )


def one_rung_up(cells: Cells) -> float | None:
    """FLOPs of the rung that would come after the largest, by the ladder's own ratio; None where the table
    has no FLOPs, or one rung."""
    if "flops" not in cells.table:
        return None
    sizes = np.log(cells.table.groupby("rung")["flops"].max().sort_values().to_numpy(dtype=float))
    if len(sizes) < 2 or sizes[-1] == sizes[0]:
        return None
    return float(np.exp(sizes[-1] + (sizes[-1] - sizes[0]) / (len(sizes) - 1)))


def target_cost(cells: Cells, axis: Axis, variant: str, flops: float) -> float:
    """What `variant` would spend on `axis` at so many FLOPs."""
    mine = cells.of(variant)
    if axis == "flops":
        return flops
    x, y = np.log(mine["flops"].to_numpy(dtype=float)), np.log(mine[axis].to_numpy(dtype=float))
    slope, intercept = np.polyfit(x, y, 1)
    return float(np.exp(intercept + slope * np.log(flops)))


def log_gain(candidate: ComputeLaw, reference: ComputeLaw, cost: float) -> Array:
    """ln EG of law over law where the candidate spends `cost`."""
    return np.asarray(log_invert(reference, predict(candidate, cost)) - np.log(cost))


def crossover(fit: AxisFit, candidate: str, reference: str, costs: Array, confidence: float) -> Crossover:
    """The cheapest cost at which the two laws cross, searched from well below the ladder to far above it.

    Args:
        costs: of both variants' cells.
    """
    grid = np.geomspace(costs.min() / BELOW, costs.max() * ABOVE, POINTS)
    difference = predict(fit.law(candidate), grid) - predict(fit.law(reference), grid)
    point = float(first_crossing(difference[None], grid)[0])
    after = float(difference[int(np.searchsorted(grid, point))]) if np.isfinite(point) else np.nan
    ours, theirs = fit.drawn(candidate), fit.drawn(reference)
    places = None
    if ours and theirs:
        places = first_crossing(predict(ours.column, grid) - predict(theirs.column, grid), grid)
    return Crossover(
        searched=(float(grid[0]), float(grid[-1])),
        cost=finite(point),
        better_above=None if np.isnan(point) else (candidate if after < 0 else reference),
        crossings=int((np.diff(np.sign(difference)) != 0).sum()),
        interval=percentile_interval(places, confidence),
        share=None if places is None else float(np.isfinite(places).mean()),
    )


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
