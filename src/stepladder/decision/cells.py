"""From a table of runs to cells (one variant at one rung and budget) and to replicates of their losses."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.documents.document import Part
from stepladder.laws.distributions import f_tail
from stepladder.laws.forms import Array
from stepladder.laws.numbers import MISFIT_LEVEL
from stepladder.schema.analysis import AXES

DECISIVE = (
    *("id", "variant", "architecture", "recipe", "rung", "depth", "budget", "budget_multiple", "seed"),
    *("learning_rate_factor", "parameters_active_non_embedding", "loss"),
    *(axis.column for axis in AXES.values()),
)
"""Columns of the table of runs that laws, gains and verdicts rest on."""


@dataclass(frozen=True)
class Cells:
    """M cells in order of variant, then size. A cell's loss is the mean over its seeds, in log space."""

    table: pd.DataFrame
    """One row per cell: variant, rung, budget, step (place on the ladder, 0 smallest), label, n (seeds),
    log_loss, loss, and one column per cost axis."""
    variants: list[str]
    runs: pd.DataFrame
    """The runs behind the cells."""

    @cached_property
    def variant(self) -> npt.NDArray[np.int64]:
        """(M,) index into `variants`."""
        index = {name: i for i, name in enumerate(self.variants)}
        return np.asarray(self.table["variant"].map(index), dtype=np.int64)

    def cost(self, axis: str) -> Array:
        """(M,) cost on `axis`."""
        return self.table[axis].to_numpy(dtype=float)

    @cached_property
    def log_loss(self) -> Array:
        """(M,) log of the loss, in nats/token."""
        return self.table["log_loss"].to_numpy(dtype=float)

    @cached_property
    def step(self) -> npt.NDArray[np.int64]:
        """(M,) place on the ladder."""
        return np.asarray(self.table["step"], dtype=np.int64)

    @cached_property
    def seeds(self) -> list[npt.NDArray[np.int64]]:
        """The seeds that ran, sorted, for each of the M cells."""
        places = self.runs.groupby(["variant", "rung", "budget"])["seed"].unique()
        keys = zip(self.table["variant"], self.table["rung"], self.table["budget"], strict=True)
        return [np.sort(np.asarray(places[key], dtype=np.int64)) for key in keys]

    @cached_property
    def rows_sha256(self) -> str:
        """Digest of all that laws, gains and verdicts read of the runs, whatever their order."""
        columns = [name for name in DECISIVE if name in self.runs]
        rows = sorted(map(repr, self.runs[columns].itertuples(index=False, name=None)))
        return hashlib.sha256("\n".join([repr(columns), *rows]).encode()).hexdigest()

    def of(self, variant: str) -> pd.DataFrame:
        """The cells of one variant, smallest first; the index is the cell's number."""
        return self.table[self.table["variant"] == variant]


def make_cells(runs: pd.DataFrame) -> Cells:
    """Aggregate runs to cells. In a learning-rate sweep each cell keeps its best factor.

    Raises:
        ValueError: a loss or cost is missing, infinite or not positive, or a run is there twice; the message
            names the runs.
    """
    axes = {name: axis.column for name, axis in AXES.items() if axis.column in runs}
    if "loss" not in runs or not axes:
        columns = ", ".join(axis.column for axis in AXES.values())
        raise ValueError(f"the table of runs needs loss and one of {columns}")
    for column in ("loss", *axes.values()):
        bad = runs[~((runs[column] > 0) & np.isfinite(runs[column]))]
        if len(bad):
            raise ValueError(f"{column} must be positive; it is not in: {', '.join(bad['id'].head(5))}")
    repeated = runs[runs.duplicated(["variant", "rung", "budget", "seed", "learning_rate_factor"])]
    if len(repeated):
        # Twice the same run would count as a repeated seed without any noise.
        raise ValueError(f"runs are in the table more than once: {', '.join(repeated['id'].head(5))}")
    runs = _best_factor(runs).assign(log_loss=lambda t: np.log(t["loss"]))
    grouped = runs.groupby(["variant", "rung", "budget"], sort=False)
    table = grouped.agg(
        n=("seed", "nunique"),
        log_loss=("log_loss", "mean"),
        depth=("depth", "first"),
        budget_multiple=("budget_multiple", "first"),
        n_parameters=("parameters_active_non_embedding", "first"),
        **{axis: (column, "median") for axis, column in axes.items()},
    ).reset_index()
    table["loss"] = np.exp(table["log_loss"])
    # Places on the ladder: rungs and budgets in order of their mean FLOPs (or other cost) over variants.
    places = np.log(table[next(iter(axes))]).groupby([table["rung"], table["budget"]]).mean().sort_values()
    order = {place: i for i, place in enumerate(places.index)}
    table["step"] = [order[place] for place in zip(table["rung"], table["budget"], strict=True)]
    several = table["budget"].nunique() > 1
    table["label"] = table["rung"] + (" " + table["budget"] if several else "")
    variants = list(dict.fromkeys(runs["variant"]))
    table["variant_order"] = table["variant"].map({name: i for i, name in enumerate(variants)})
    table = table.sort_values(["variant_order", "step"]).drop(columns="variant_order").reset_index(drop=True)
    return Cells(table=table, variants=variants, runs=runs)


def _best_factor(runs: pd.DataFrame) -> pd.DataFrame:
    keys = ["variant", "rung", "budget"]
    means = runs.groupby([*keys, "learning_rate_factor"], sort=False)["loss"].mean().reset_index()
    best = means.loc[means.groupby(keys, sort=False)["loss"].idxmin()]
    return runs.merge(best[[*keys, "learning_rate_factor"]], on=[*keys, "learning_rate_factor"], how="inner")


@dataclass(frozen=True)
class SeedNoise:
    """Seed noise of log loss, pooled over the ladder."""

    covariance: Array
    """(V, V) of the log losses of one (rung, seed) cluster: variants that read the same batches in the same
    order have noise in common."""
    dof: int
    """Sum over rungs of seeds - 1, the least over variants and pairs of them that have any."""

    @property
    def sd(self) -> Array:
        """(V,) standard deviation of one run's log loss."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))


class Misfit(Part):
    """How far cells lie from any smooth law, seed noise apart: a rung off its best learning rate, a law of
    the wrong form. Independent between cells."""

    sd_log_loss: float = 0.0
    """Standard deviation of log loss."""
    dof: int = 0
    """Degrees of freedom behind it; 0 when it is given, not estimated."""


def measure_noise(cells: Cells, without: Collection[str] = ()) -> SeedNoise:
    """Pool deviations from the means of a rung over all rungs that have two seeds or more: variances over
    each variant's own seeds, covariances over the seeds that two variants have in common.

    A variant without a repeated seed is taken to be as noisy as the others on average, and pairs without
    common repeated seeds to be as correlated as the other pairs.

    Args:
        without: rungs whose runs are not looked at, because they are being predicted.
    """
    runs = cells.runs[~cells.runs["rung"].isin(list(without))]
    wide = runs.pivot_table(
        index=["rung", "budget", "seed"], columns="variant", values="log_loss", aggfunc="mean"
    ).reindex(columns=cells.variants)
    V = len(cells.variants)
    squares, dofs = np.zeros((V, V)), np.zeros((V, V), dtype=np.int64)
    for _, group in wide.groupby(level=["rung", "budget"]):
        values = group.to_numpy()
        there = np.isfinite(values)
        ran, filled = there.astype(float), np.where(there, values, 0.0)
        centred = np.where(there, values - filled.sum(axis=0) / np.maximum(ran.sum(axis=0), 1), 0.0)
        both = ran.T @ ran
        # sums[v, w]: of v's deviations over the seeds that w ran too.
        sums = centred.T @ ran
        squares += (both > 1) * (centred.T @ centred - sums * sums.T / np.maximum(both, 1))
        dofs += np.maximum(both - 1, 0).astype(np.int64)
    squares, dofs = np.tril(squares), np.tril(dofs)
    np.fill_diagonal(squares, np.maximum(np.diag(squares), 0))  # not below by rounding
    known = dofs > 0
    if not np.diag(known).any():
        return SeedNoise(np.zeros((V, V)), 0)
    pooled = squares / np.maximum(dofs, 1)
    variance = np.diag(pooled)
    variance = np.where(np.diag(known), variance, variance[np.diag(known)].mean())
    sd = np.sqrt(variance)
    scale = np.maximum(np.outer(sd, sd), 1e-300)
    below = np.tril(known, -1)
    typical = float((pooled / scale)[below].mean()) if below.any() else 0.0
    correlation = np.tril(np.where(known, pooled / scale, typical), -1)
    correlation = np.clip(correlation + correlation.T, -1, 1) + np.eye(V)
    return SeedNoise(correlation * np.outer(sd, sd), int(dofs[np.tril(known)].min()))


def measure_misfit(
    cells: Cells, noise: SeedNoise, residual: Array, parameters: int, rows: npt.NDArray[np.int64]
) -> Misfit:
    """What the residuals of a law with so many parameters at cells `rows` show beyond the seed noise of the
    cells.

    It counts only where an F-test finds the residuals larger than seed noise explains: from the few degrees
    of freedom of a ladder an estimate that always counts is mostly noise, and makes intervals too wide.
    Then it is a moment estimate: the mean square of the residuals less the cells' seed variance.
    """
    dof = len(residual) - parameters
    if dof < 1 or noise.dof == 0:
        return Misfit()
    of_cells = noise.sd[cells.variant[rows]] ** 2 / cells.table["n"].to_numpy()[rows]
    found, explained = float((residual**2).sum()) / dof, float(of_cells.mean())
    if found <= explained or f_tail(found / max(explained, 1e-300), dof, noise.dof) > MISFIT_LEVEL:
        return Misfit()
    return Misfit(sd_log_loss=float(np.sqrt(found - explained)), dof=dof)


def draw_losses(
    cells: Cells, noise: SeedNoise, draws: int, seed: int, misfit: Misfit | None = None
) -> Array | None:
    """Replicates (draws, M) of the cells' log losses; None without a repeated seed anywhere.

    A parametric bootstrap over clusters (rung, seed): a cell with n seeds gets the mean of n clusters'
    normal noise, the same clusters for every variant, so that what is common to the variants of a seed
    cancels in their comparison. A rung with one seed borrows the noise of the others. Drawing the few
    deviations themselves, as the textbook does, makes intervals too short and too coarse. The noise is
    known from `noise.dof` degrees of freedom only: each replicate is scaled by sqrt(dof / chi-squared),
    which turns normal tails into Student's t, and likewise the misfit, which no number of seeds averages
    out.
    """
    if noise.dof == 0:
        return None
    generator = np.random.default_rng(seed)
    V = len(cells.variants)
    # Not positive definite when there are fewer clusters than variants: no Cholesky.
    values, vectors = np.linalg.eigh(noise.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))
    scale = np.sqrt(noise.dof / generator.chisquare(noise.dof, draws))[:, None]
    replicates = np.repeat(cells.log_loss[None], draws, axis=0)
    for step in np.unique(cells.step):
        here = np.flatnonzero(cells.step == step)
        # Variants share the noise of the seeds that both of them ran, and of no others.
        seeds = np.unique(np.concatenate([cells.seeds[cell] for cell in here]))
        clusters = generator.standard_normal((draws, len(seeds), V)) @ root.T
        ran = np.array([np.isin(seeds, cells.seeds[cell]) for cell in here])
        means = np.einsum("dsm,ms->dm", clusters[:, :, cells.variant[here]], ran / ran.sum(axis=1)[:, None])
        replicates[:, here] += scale * means
    if misfit is not None and misfit.sd_log_loss > 0:
        spread = misfit.sd_log_loss * generator.standard_normal(replicates.shape)
        if misfit.dof:
            spread *= np.sqrt(misfit.dof / generator.chisquare(misfit.dof, draws))[:, None]
        replicates += spread
    return replicates
