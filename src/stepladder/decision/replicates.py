"""Replicates of a ladder's losses: what its cells might as well have shown.

Shapes: B replicates, M cells, S places, V variants.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from stepladder.decision.cells import Cells
from stepladder.decision.misfit import Misfit, Residuals, Scatter, describe, draw_scatter, expected_excess
from stepladder.decision.noise import SeedNoise, measure_noise, symmetric_root
from stepladder.laws.forms import Array
from stepladder.laws.invert import ComputeLaw, predict
from stepladder.laws.joint import Floor
from stepladder.schema.analysis import AXES, AnalysisConfig, Axis


def draw_losses(
    cells: Cells, noise: SeedNoise, scatter: Scatter, seed: int, extra_sd: Array | float = 0.0
) -> Array:
    """Replicates (B, M) of the cells' log losses.

    A parametric bootstrap over clusters (rung, seed): a cell with n seeds gets the mean of n clusters'
    normal noise, the same clusters for every variant, so that what is common to the variants of a seed
    cancels in their comparison. A rung with one seed has the noise of the line through the others. Drawing
    the few deviations themselves, as the textbook does, makes intervals too short and too coarse. Each
    replicate has its own draw of noise and misfit, which turns normal tails into heavier ones.

    Args:
        extra_sd: (M,) standard deviations of what else moves a cell, each by itself.
    """
    generator = np.random.default_rng([seed, 1])
    B, V = len(scatter.tau), len(cells.variants)
    root = symmetric_root(noise.correlation)
    root /= np.sqrt((root**2).sum(axis=1, keepdims=True))
    replicates = np.repeat(cells.log_loss[None], B, axis=0)
    for step in np.unique(cells.step):
        here = np.flatnonzero(cells.step == step)
        # Variants share the noise of the seeds that both of them ran, and of no others.
        seeds = np.unique(np.concatenate([cells.seeds[cell] for cell in here]))
        clusters = generator.standard_normal((B, len(seeds), V)) @ root.T
        ran = np.array([np.isin(seeds, cells.seeds[cell]) for cell in here])
        v = cells.variant[here]
        means = np.einsum("bsm,ms->bm", clusters[:, :, v], ran / ran.sum(axis=1)[:, None])
        replicates[:, here] += scatter.sd[:, step][:, v] * means
    spread = np.hypot(scatter.tau[:, None], np.broadcast_to(extra_sd, len(cells.table)))
    replicates += spread * generator.standard_normal(replicates.shape)
    return np.asarray(replicates - scatter.undertuned)


@dataclass(frozen=True)
class Redrawn:
    """A ladder's losses as they might as well have come out."""

    losses: Array
    """(B, M) log losses of the cells."""
    misfit: Misfit
    """How far cells lie off a smooth law."""
    excess: Array
    """(M,) by how much the log loss of a cell is too high, where its residual shows it."""


def redraw(
    cells: Cells,
    axis: Axis,
    config: AnalysisConfig,
    laws: Sequence[ComputeLaw],
    draws: int,
    without: Collection[str] = (),
) -> Redrawn | None:
    """Replicates around the laws fitted on one axis; None where no seed is repeated and no noise is stated.

    Args:
        laws: of the variants, in their order.
        without: rungs that the laws were not fitted to: nothing of them is used.
    """
    noise = measure_noise(cells, without, config.noise)
    if not noise.known:
        return None
    rows = np.flatnonzero(~cells.table["rung"].isin(list(without)).to_numpy())
    cost = cells.cost(axis)
    predicted, slopes = _linearised(cells, cost, laws, config.floor)
    residual = cells.log_loss - np.log(predicted)
    residuals = Residuals.of(rows, residual[rows], slopes[rows])
    scatter = draw_scatter(noise, cells, residuals, draws, config.seed, config.misfit)
    extra = np.abs(_cost_slopes(cells, cost, laws, predicted)) * cost_noise(cells, axis, without)
    misfit = describe(scatter, residuals.free.shape[1], config.confidence, config.misfit)
    return Redrawn(draw_losses(cells, noise, scatter, config.seed, extra), misfit, expected_excess(scatter))


def cost_noise(cells: Cells, axis: Axis, without: Collection[str] = ()) -> Array:
    """(M,) standard deviation of each cell's log cost: of step times, say. Pooled within cells over the
    ladder but for the rungs `without`; 0 where no cost is repeated."""
    runs = cells.runs[~cells.runs["rung"].isin(list(without))]
    log_cost = np.log(runs[AXES[axis].column])
    groups = log_cost.groupby([runs[key] for key in ("variant", "rung", "budget")])
    dof = int((groups.count() - 1).sum())
    if not dof:
        return np.zeros(len(cells.table))
    squares = float(((log_cost - groups.transform("mean")) ** 2).sum())
    return np.asarray(np.sqrt(squares / dof / cells.table["n"].to_numpy(dtype=float)))


def _linearised(cells: Cells, cost: Array, laws: Sequence[ComputeLaw], floor: Floor) -> tuple[Array, Array]:
    """Losses (M,) of the laws at the cells, and derivatives (M, P) of their logs by what was fitted: log A
    and log alpha of each variant, and E, one for all or one each."""
    V = len(laws)
    predicted, slopes = np.empty(len(cost)), np.zeros((len(cost), 3 * V))
    for v, law in enumerate(laws):
        mine = cells.variant == v
        predicted[mine] = predict(law, cost[mine])
        share = 1 - np.asarray(law.E) / predicted[mine]
        slopes[mine, v] = share
        slopes[mine, V + v] = -share * np.asarray(law.alpha) * np.log(cost[mine] / law.unit)
        slopes[mine, 2 * V + v] = 1 / predicted[mine]
    if floor == "shared":
        slopes = np.column_stack([slopes[:, : 2 * V], slopes[:, 2 * V :].sum(axis=1)])
    return predicted, slopes if isinstance(floor, str) else slopes[:, : 2 * V]


def _cost_slopes(cells: Cells, cost: Array, laws: Sequence[ComputeLaw], predicted: Array) -> Array:
    """(M,) derivative of each law's log loss by log cost."""
    E = np.array([float(law.E) for law in laws])[cells.variant]
    alpha = np.array([float(law.alpha) for law in laws])[cells.variant]
    return np.asarray(-alpha * (1 - E / predicted))
