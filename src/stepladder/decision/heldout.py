"""Rungs that are left out, predicted from the others, and only then looked at."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from stepladder.decision.axis_fit import HeldOut, HeldOutPrediction
from stepladder.decision.cells import Cells, Misfit, SeedNoise, draw_losses, measure_misfit, measure_noise
from stepladder.laws.forms import Array
from stepladder.laws.joint import Fits, Floor, fit_laws
from stepladder.laws.numbers import percentile_interval
from stepladder.schema.analysis import AnalysisConfig, Axis

LEFT_OUT_DRAWS = 500
"""Bootstrap draws for each rung of the leave-one-out table, which nothing is decided by."""


def fit_cells(
    cells: Cells,
    axis: Axis,
    config: AnalysisConfig,
    log_loss: Array,
    keep: npt.NDArray[np.bool_] | None = None,
    floor: Floor | None = None,
    near: Fits | None = None,
) -> Fits:
    """The joint law of all variants on the cells in `keep` (M,), in every row of `log_loss` (B, M).

    Raises:
        ValueError: the cells cannot identify it.
    """
    mask = np.ones(len(cells.table), dtype=bool) if keep is None else keep
    return fit_laws(
        cells.cost(axis)[mask],
        log_loss[:, mask],
        cells.variant[mask],
        config.floor if floor is None else floor,
        config.huber_delta,
        near,
        len(cells.variants),
    )


def misfit_of(
    cells: Cells,
    noise: SeedNoise,
    point: Fits,
    axis: Axis,
    config: AnalysisConfig,
    keep: npt.NDArray[np.bool_] | None = None,
) -> Misfit:
    """As `config.misfit` says, from the residuals of the law on the cells in `keep`, or as given."""
    if config.misfit != "estimated":
        return Misfit(sd_log_loss=config.misfit)
    rows = np.arange(len(cells.table)) if keep is None else np.flatnonzero(keep)
    predicted = np.log(point.predict(cells.cost(axis)[rows])[0][cells.variant[rows], np.arange(len(rows))])
    return measure_misfit(cells, noise, cells.log_loss[rows] - predicted, point.theta.shape[1], rows)


def held_out(cells: Cells, axis: Axis, config: AnalysisConfig) -> HeldOut | None:
    """The largest rungs, predicted from the smaller ones; None if the ladder holds out none."""
    if config.holdout_rungs == 0:
        return None
    return predict_rungs(cells, axis, config, by_size(cells)[-config.holdout_rungs :], config.bootstrap_draws)


def leave_one_out(cells: Cells, axis: Axis, config: AnalysisConfig) -> list[HeldOut]:
    """Every rung in turn, predicted from all others; empty if the ladder does not ask for it."""
    if not config.leave_one_out:
        return []
    draws = min(LEFT_OUT_DRAWS, config.bootstrap_draws)
    return [predict_rungs(cells, axis, config, [rung], draws) for rung in by_size(cells)]


def by_size(cells: Cells) -> list[str]:
    """Rungs, smallest first."""
    return list(cells.table.groupby("rung")["n_parameters"].mean().sort_values().index)


def predict_rungs(
    cells: Cells, axis: Axis, config: AnalysisConfig, rungs: Collection[str], draws: int
) -> HeldOut:
    """Fit without `rungs` and predict the mean loss that their runs will have, their seed noise included.

    Nothing of these rungs is used, their repeated seeds neither: the noise is that of the others.
    """
    keep = ~cells.table["rung"].isin(rungs).to_numpy()
    try:
        point = fit_cells(cells, axis, config, cells.log_loss[None], keep)
    except ValueError as error:
        return HeldOut(rungs=rungs, reason=str(error), predictions=())
    noise = measure_noise(cells, rungs)
    misfit = misfit_of(cells, noise, point, axis, config, keep)
    replicates = draw_losses(cells, noise, draws, config.seed, misfit)
    drawn = None if replicates is None else fit_cells(cells, axis, config, replicates, keep, near=point)
    predictions = []
    rows = cells.table.to_dict("records")
    for index in np.flatnonzero(~keep):
        row = rows[index]
        v, cost = cells.variants.index(row["variant"]), np.array([row[axis]])
        predicted = float(point.predict(cost)[0, v, 0])
        interval = None
        if drawn is not None and replicates is not None:
            # The replicate's deviation at the held-out cell is the noise that its own runs would have.
            own_noise = replicates[:, index] - cells.log_loss[index]
            spread = drawn.predict(cost)[:, v, 0] * np.exp(own_noise)
            interval = percentile_interval(spread, config.confidence)
        low, high = interval or (None, None)
        inside = None if low is None or high is None else bool(low <= row["loss"] <= high)
        predictions.append(
            HeldOutPrediction(
                **{key: row[key] for key in ("variant", "rung", "budget", "label", "n")},
                cost=row[axis],
                predicted=predicted,
                interval=interval,
                observed=row["loss"],
                relative_error=float(row["loss"] / predicted - 1),
                inside=inside,
            )
        )
    return HeldOut(rungs=rungs, reason=None, predictions=predictions)
