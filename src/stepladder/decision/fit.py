"""fits/<axis>.json: a law per variant on one cost axis, its uncertainty, and what it predicted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from stepladder.decision.cells import Cells, draw_losses, make_cells, measure_noise
from stepladder.decision.heldout import fit_cells, held_out, leave_one_out, misfit_of
from stepladder.laws.forms import Array
from stepladder.laws.joint import Fits
from stepladder.laws.numbers import finite, percentile_interval
from stepladder.schema.analysis import AnalysisConfig

CURVE_POINTS = 60
CURVE_MARGIN = 1.6
"""The curve is drawn this factor beyond the cheapest and dearest cell."""

FLAT = 1e-3
"""A law that falls by less than this share over its cells is no law to invert."""

PINNED_SHARES = (0.25, 0.5, 0.75)
"""Floors tried in the sensitivity table, as shares of the smallest loss."""


def fit(runs: pd.DataFrame, axis: str, config: AnalysisConfig) -> dict[str, Any]:
    """Fit all variants' laws on cost axis `axis` ("flops", "seconds" or "tokens").

    Returns:
        The contents of fits/<axis>.json; docs/analysis.md explains the fields. When the data cannot
        identify the laws, `reason` says why and the laws are empty.

    Raises:
        ValueError: the table lacks a column or holds a loss or cost that is not positive.
    """
    cells = make_cells(runs)
    noise = measure_noise(cells)
    head: dict[str, Any] = {
        "axis": axis,
        "floor": config.floor,
        "huber_delta": config.huber_delta,
        "confidence": config.confidence,
        "n_runs": len(cells.runs),
        "made_from": {"runs": len(cells.runs), "draws": config.bootstrap_draws, "seed": config.seed},
        "n_cells": len(cells.table),
        "noise": {
            "dof": noise.dof,
            "sd_log_loss": dict(zip(cells.variants, map(finite, noise.sd), strict=True))
            if noise.dof
            else None,
            "reason": None
            if noise.dof
            else "no rung has two seeds that every variant ran, so seed noise is unknown",
        },
    }
    try:
        point = fit_cells(cells, axis, config, cells.log_loss[None])
    except ValueError as error:
        return head | {
            "reason": str(error),
            "laws": {},
            "misfit": None,
            "held_out": None,
            "leave_one_out": [],
            "sensitivity": [],
            "draws": None,
        }
    misfit = misfit_of(cells, noise, point, axis, config)
    replicates = draw_losses(cells, noise, config.bootstrap_draws, config.seed, misfit)
    drawn = None if replicates is None else fit_cells(cells, axis, config, replicates, near=point)
    return head | {
        "reason": None,
        "misfit": {"sd_log_loss": misfit.sd, "dof": misfit.dof},
        "unit_cost": point.unit,
        "objective": float(point.objective[0]),
        "converged": bool(point.converged[0]),
        "starts": point.starts,
        "starts_agreeing": int(point.agreeing[0]),
        "bootstrap_draws": 0 if replicates is None else len(replicates),
        "bootstrap_converged": None if drawn is None else float(drawn.converged.mean()),
        "laws": {name: _law(cells, axis, config, point, drawn, v) for v, name in enumerate(cells.variants)},
        "held_out": held_out(cells, axis, config),
        "leave_one_out": leave_one_out(cells, axis, config),
        "sensitivity": _sensitivity(cells, axis, config),
        "draws": None if drawn is None else _draws(cells, drawn),
    }


def _law(
    cells: Cells, axis: str, config: AnalysisConfig, point: Fits, drawn: Fits | None, v: int
) -> dict[str, Any]:
    """One variant's parameters, cells and curve."""
    name = cells.variants[v]
    mine = cells.of(name)
    predicted = point.predict_variant(v, mine[axis].to_numpy())[0]
    cost = cells.cost(axis)
    grid = np.geomspace(cost.min() / CURVE_MARGIN, cost.max() * CURVE_MARGIN, CURVE_POINTS)
    parameters = {key: getattr(point, key)[0, v] for key in ("E", "A", "alpha")}
    curve: dict[str, Any] = {"cost": grid.tolist(), "loss": point.predict_variant(v, grid)[0].tolist()}
    intervals: dict[str, Any] | None = None
    errors: dict[str, Any] | None = None
    if drawn is not None:
        tail = (1 - config.confidence) / 2
        low, high = np.quantile(drawn.predict_variant(v, grid), [tail, 1 - tail], axis=0)
        curve |= {"low": low.tolist(), "high": high.tolist()}
        intervals = {k: percentile_interval(getattr(drawn, k)[:, v], config.confidence) for k in parameters}
        errors = {key: _spread(getattr(drawn, key)[:, v]) for key in parameters}
    fall = curve_fall(predicted)
    return {
        "reason": f"the loss of {name} does not fall with cost" if fall < FLAT else None,
        "parameters": {key: float(value) for key, value in parameters.items()},
        "standard_errors": errors,
        "intervals": intervals,
        "cells": [
            {
                "rung": row["rung"],
                "budget": row["budget"],
                "label": row["label"],
                "cost": row[axis],
                "n": row["n"],
                "loss": row["loss"],
                "predicted": float(predicted[i]),
                "residual": float(row["log_loss"] - np.log(predicted[i])),
            }
            for i, row in enumerate(mine.to_dict("records"))
        ],
        "curve": curve,
    }


def curve_fall(predicted: Array) -> float:
    """Share by which a law falls from its cheapest to its dearest cell; losses in order of cost."""
    return float(1 - predicted[-1] / predicted[0])


def _spread(draws: Array) -> float:
    """Half of the central 68.27 %: the standard deviation, were it normal. With few degrees of freedom the
    draws have Student's tails, and their own standard deviation need not exist."""
    low, high = np.quantile(draws, [0.15866, 0.84134])
    return float(high - low) / 2


def _sensitivity(cells: Cells, axis: str, config: AnalysisConfig) -> list[dict[str, Any]]:
    """The laws under other assumptions about the floor E."""
    smallest = float(np.exp(cells.log_loss.min()))
    choices: list[Any] = ["shared", "free", *(round(share * smallest, 3) for share in PINNED_SHARES)]
    rows = []
    for floor in choices:
        try:
            point = fit_cells(cells, axis, config, cells.log_loss[None], floor=floor)
        except ValueError as error:
            rows.append({"floor": floor, "reason": str(error), "objective": None, "laws": {}})
            continue
        laws = {
            name: {key: float(getattr(point, key)[0, v]) for key in ("E", "A", "alpha")}
            for v, name in enumerate(cells.variants)
        }
        row = {"floor": floor, "reason": None, "objective": float(point.objective[0]), "laws": laws}
        rows.append(row | {"unit_cost": point.unit})
    return rows


def _draws(cells: Cells, drawn: Fits) -> dict[str, Any]:
    """Bootstrap parameters, for whoever compares: eight digits are more than they carry."""
    return {
        "unit_cost": drawn.unit,
        "laws": {
            name: {
                key: [float(f"{value:.8g}") for value in getattr(drawn, key)[:, v]]
                for key in ("E", "A", "alpha")
            }
            for v, name in enumerate(cells.variants)
        },
    }
