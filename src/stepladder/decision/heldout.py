"""Rungs that are left out, predicted from the others, and only then looked at."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from stepladder.decision.axis_fit import HeldOut, HeldOutPrediction
from stepladder.decision.cells import Cells
from stepladder.decision.replicates import redraw
from stepladder.laws.forms import Array
from stepladder.laws.invert import ComputeLaw, invert
from stepladder.laws.joint import Fits, Floor, fit_laws
from stepladder.laws.numbers import finite, percentile_interval
from stepladder.schema.analysis import AnalysisConfig, Axis

SCREENED = 500
"""Draws that judge whether a cell is undertuned, before the laws are fitted for good."""

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


def put_back(
    cells: Cells,
    axis: Axis,
    config: AnalysisConfig,
    point: Fits,
    keep: npt.NDArray[np.bool_] | None = None,
    without: Collection[str] = (),
) -> tuple[Fits, Array]:
    """The laws again, without the pull of cells whose residuals show that they are undertuned, and by how
    much each cell (M,) is."""
    found = redraw(cells, axis, config, laws_of(point), SCREENED, without)
    if found is None or not found.excess.any():
        return point, np.zeros(len(cells.table))
    return fit_cells(cells, axis, config, (cells.log_loss - found.excess)[None], keep), found.excess


def laws_of(point: Fits) -> list[ComputeLaw]:
    """The point estimate's law of every variant."""
    parameters = zip(point.E[0], point.A[0], point.alpha[0], strict=True)
    return [ComputeLaw(float(E), float(A), float(alpha), point.unit) for E, A, alpha in parameters]


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
    size = cells.first_cost if cells.has_profiles else cells.table["n_parameters"]
    return list(size.groupby(cells.table["rung"]).mean().sort_values().index)


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
    point, _ = put_back(cells, axis, config, point, keep, rungs)
    found = redraw(cells, axis, config, laws_of(point), draws, rungs)
    replicates = None if found is None else found.losses
    drawn = None if replicates is None else fit_cells(cells, axis, config, replicates, keep, near=point)
    laws, predictions = laws_of(point), []
    rows = cells.table.to_dict("records")
    for index in np.flatnonzero(~keep):
        row = rows[index]
        v, cost = cells.variants.index(row["variant"]), np.array([row[axis]])
        predicted = float(point.predict_variant(v, cost)[0, 0])
        interval = None
        if drawn is not None and replicates is not None:
            # The replicate's deviation at the held-out cell, turned round, is what its own runs would have:
            # replicates take the excess of an undertuned cell away, and runs show it.
            own_noise = cells.log_loss[index] - replicates[:, index]
            spread = drawn.predict_variant(v, cost)[:, 0] * np.exp(own_noise)
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
                cost_ratio=finite(float(invert(laws[v], row["loss"]) / row[axis])),
                inside=inside,
            )
        )
    return HeldOut(rungs=rungs, reason=None, predictions=predictions)
