"""A law per variant on one cost axis, its uncertainty, and what it predicted: makes `axis_fit.AxisFit`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stepladder.decision.axis_fit import (
    AxisFit,
    Curve,
    Draws,
    FittedCell,
    FloorChoice,
    MadeFrom,
    NoiseFound,
    PerParameter,
    VariantLaw,
)
from stepladder.decision.cells import Cells, make_cells
from stepladder.decision.heldout import fit_cells, held_out, laws_of, leave_one_out, put_back
from stepladder.decision.noise import SeedNoise, measure_noise
from stepladder.decision.replicates import redraw
from stepladder.laws.forms import Array
from stepladder.laws.joint import Fits, Floor
from stepladder.laws.numbers import Interval, percentile_interval
from stepladder.schema.analysis import AXES, AnalysisConfig, Axis

CURVE_POINTS = 60
CURVE_MARGIN = 1.6
"""The curve is drawn this factor beyond the cheapest and dearest cell."""

FLAT = 1e-3
"""A law that falls by less than this share over its cells is no law to invert."""

PINNED_SHARES = (0.25, 0.5, 0.75)
"""Floors tried in the sensitivity table, as shares of the smallest loss."""


def fit(runs: pd.DataFrame, axis: Axis, config: AnalysisConfig, other_floors: bool = True) -> AxisFit:
    """Fit all variants' laws on one cost axis.

    Args:
        other_floors: whether `sensitivity` is filled in, by which nothing is decided.

    Returns:
        The document fits/<axis>.json. When the data cannot identify the laws, `reason` says why and the laws
        are empty.

    Raises:
        ValueError: the table lacks a column or holds a loss or cost that is not positive.
    """
    cells = make_cells(runs)
    if axis not in cells.table:
        there = ", ".join(name for name in AXES if name in cells.table)
        raise ValueError(f"axis {axis}: the table has no such cost; it has {there}")
    noise = measure_noise(cells, stated=config.noise)
    refused = AxisFit(
        axis=axis,
        floor=config.floor,
        huber_delta=config.huber_delta,
        confidence=config.confidence,
        n_runs=len(cells.made_of),
        made_from=MadeFrom.of(cells, config),
        n_cells=len(cells.table),
        noise=_noise(cells, noise, config),
        reason="not fitted",
    )
    try:
        point = fit_cells(cells, axis, config, cells.log_loss[None])
    except ValueError as error:
        return refused.model_copy(update={"reason": str(error)})
    point, excess = put_back(cells, axis, config, point)
    redrawn = redraw(cells, axis, config, laws_of(point), config.bootstrap_draws)
    replicates = None if redrawn is None else redrawn.losses
    drawn = None if replicates is None else fit_cells(cells, axis, config, replicates, near=point)
    found = dict(refused) | {
        "reason": None,
        "misfit": None if redrawn is None else redrawn.misfit,
        "unit_cost": point.unit,
        "objective": float(point.objective[0]),
        "converged": bool(point.converged[0]),
        "starts": point.starts,
        "starts_agreeing": int(point.agreeing[0]),
        "bootstrap_draws": 0 if replicates is None else len(replicates),
        "bootstrap_converged": None if drawn is None else float(drawn.converged.mean()),
        "laws": {
            name: _law(cells, axis, config, point, drawn, excess, v) for v, name in enumerate(cells.variants)
        },
        "held_out": held_out(cells, axis, config),
        "leave_one_out": leave_one_out(cells, axis, config),
        "sensitivity": _sensitivity(cells, axis, config) if other_floors else [],
        "draws": None if drawn is None else _draws(cells, drawn),
    }
    return AxisFit(**found)


def _noise(cells: Cells, noise: SeedNoise, config: AnalysisConfig) -> NoiseFound:
    if not noise.known:
        reason = "no variant ran two seeds of any rung, and analysis.noise states none: seed noise is unknown"
        return NoiseFound(dof=0, sd_log_loss=None, reason=reason)
    sd, dof = noise.sd()[-1], noise.dof()[-1]
    return NoiseFound(
        dof=float(dof.min()),
        sd_log_loss={name: float(value) for name, value in zip(cells.variants, sd, strict=True)},
        sd_per_decade=float(np.exp(noise.coefficients[1] / 2)),
        stated=config.noise,
        reason=None,
    )


def _law(
    cells: Cells,
    axis: Axis,
    config: AnalysisConfig,
    point: Fits,
    drawn: Fits | None,
    excess: Array,
    v: int,
) -> VariantLaw:
    """One variant's parameters, cells and curve."""
    name = cells.variants[v]
    mine = cells.of(name)
    predicted = point.predict_variant(v, mine[axis].to_numpy())[0]
    cost = cells.cost(axis)
    grid = np.geomspace(cost.min() / CURVE_MARGIN, cost.max() * CURVE_MARGIN, CURVE_POINTS)
    curve = Curve(cost=grid.tolist(), loss=point.predict_variant(v, grid)[0].tolist())
    intervals: PerParameter[Interval] | None = None
    errors: PerParameter[float] | None = None
    if drawn is not None:
        tail = (1 - config.confidence) / 2
        low, high = np.quantile(drawn.predict_variant(v, grid), [tail, 1 - tail], axis=0)
        curve = Curve(cost=curve.cost, loss=curve.loss, low=low.tolist(), high=high.tolist())
        E, A, alpha = drawn.E[:, v], drawn.A[:, v], drawn.alpha[:, v]
        level = config.confidence
        intervals = PerParameter[Interval](
            E=percentile_interval(E, level),
            A=percentile_interval(A, level),
            alpha=percentile_interval(alpha, level),
        )
        errors = PerParameter[float](E=_spread(E), A=_spread(A), alpha=_spread(alpha))
    fall = curve_fall(predicted)
    return VariantLaw(
        reason=f"the loss of {name} does not fall with cost" if fall < FLAT else None,
        parameters=_parameters(point, v),
        standard_errors=errors,
        intervals=intervals,
        cells=[
            FittedCell(
                **{key: row[key] for key in ("rung", "budget", "label", "n", "loss")},
                cost=row[axis],
                predicted=float(predicted[i]),
                residual=float(row["log_loss"] - np.log(predicted[i])),
                excess=float(excess[cell]),
            )
            for i, (cell, row) in enumerate(zip(mine.index, mine.to_dict("records"), strict=True))
        ],
        curve=curve,
    )


def _parameters(point: Fits, v: int) -> PerParameter[float]:
    """The point estimate of variant `v`."""
    return PerParameter[float](E=point.E[0, v], A=point.A[0, v], alpha=point.alpha[0, v])


def curve_fall(predicted: Array) -> float:
    """Share by which a law falls from its cheapest to its dearest cell; losses in order of cost."""
    return float(1 - predicted[-1] / predicted[0])


def _spread(draws: Array) -> float:
    """Half of the central 68.27 %: the standard deviation, were it normal. With few degrees of freedom the
    draws have Student's tails, and their own standard deviation need not exist."""
    low, high = np.quantile(draws, [0.15866, 0.84134])
    return float(high - low) / 2


def _sensitivity(cells: Cells, axis: Axis, config: AnalysisConfig) -> list[FloorChoice]:
    """The laws under other assumptions about the floor E."""
    smallest = float(np.exp(cells.log_loss.min()))
    choices: list[Floor] = ["shared", "free", *(round(share * smallest, 3) for share in PINNED_SHARES)]
    rows = []
    for floor in choices:
        try:
            point = fit_cells(cells, axis, config, cells.log_loss[None], floor=floor)
        except ValueError as error:
            rows.append(FloorChoice(floor=floor, reason=str(error), objective=None, laws={}))
            continue
        rows.append(
            FloorChoice(
                floor=floor,
                reason=None,
                objective=float(point.objective[0]),
                laws={name: _parameters(point, v) for v, name in enumerate(cells.variants)},
                unit_cost=point.unit,
            )
        )
    return rows


def _draws(cells: Cells, drawn: Fits) -> Draws:
    """Bootstrap parameters, for whoever compares: eight digits are more than they carry."""

    def rounded(values: Array) -> list[float]:
        return [float(f"{value:.8g}") for value in values]

    return Draws(
        unit_cost=drawn.unit,
        laws={
            name: PerParameter[tuple[float, ...]](
                E=rounded(drawn.E[:, v]), A=rounded(drawn.A[:, v]), alpha=rounded(drawn.alpha[:, v])
            )
            for v, name in enumerate(cells.variants)
        },
    )
