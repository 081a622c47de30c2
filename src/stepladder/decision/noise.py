"""Seed noise of log loss: how large it is, how it changes with scale, and how sure that is.

The variance of a run is a line in log cost, log sigma^2 = a + b x + u_v, fitted to the sums of squares about
the mean of each (variant, rung): a gamma regression with log link, as dispersions are modelled by Smyth
(1989, J. R. Statist. Soc. B 51:47). Slope b and the variants' own levels u are shrunk towards 0 by normal
priors, as variances of many small groups are (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3), because a
ladder has few repeated seeds. What is left open is a normal posterior of the log variance; its spread is that
of a chi-squared with Satterthwaite's degrees of freedom, 2 / variance.

Shapes: V variants, S places of the ladder, G groups of repeated seeds, P = 2 + V coefficients, B draws.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stepladder.decision.cells import Cells
from stepladder.laws.forms import Array
from stepladder.schema.analysis import StatedNoise

SLOPE_SD = 1.0
"""Prior standard deviation of the slope, log variance per factor of ten in cost: noise that changes fivefold
over two decades is two standard deviations off."""

LEVEL_SD = 0.5
"""Prior standard deviation of a variant's own log variance: twice as noisy as the others is 1.4 standard
deviations off."""

UNCORRELATED = 2.0
"""Degrees of freedom with which variants are taken to have no noise in common before any is seen. Intervals
of gains get wider by it: what a few seeds say of a correlation must not make a difference look sure."""

LEAST_VARIANCE = 1e-24
"""Of log loss: what is smaller is rounding."""


@dataclass(frozen=True)
class SeedNoise:
    """Noise of one run's log loss at every place of a ladder."""

    place: Array
    """(S,) log10 of the mean cost of each place, less the mean over them."""
    coefficients: Array
    """(P,) posterior mean of the intercept, the slope and the variants' own levels."""
    spread: Array
    """(P, P) their posterior covariance; zeros where the noise was stated exactly."""
    correlation: Array
    """(V, V) of the log losses of one seed: variants that read the same batches in the same order have noise
    in common."""
    known: bool = True
    """False without a repeated seed anywhere, and nothing stated: then all else means nothing."""

    def design(self, place: Array | float | None = None) -> Array:
        """(K, V, P) what multiplies the coefficients at each of K places; default all of the ladder."""
        x = np.atleast_1d(np.asarray(self.place if place is None else place, dtype=float))
        V = len(self.correlation)
        own = np.broadcast_to(np.eye(V), (len(x), V, V))
        line = np.broadcast_to(np.stack([np.ones_like(x), x], -1)[:, None], (len(x), V, 2))
        return np.concatenate([line, own], axis=-1)

    def log_variance(self, place: Array | float | None = None) -> tuple[Array, Array]:
        """Posterior mean and variance (K, V) of the log variance."""
        rows = self.design(place)
        uncertain = np.einsum("kvp,pq,kvq->kv", rows, self.spread, rows)
        return rows @ self.coefficients + uncertain / 2, uncertain

    def sd(self, place: Array | float | None = None) -> Array:
        """(K, V) standard deviation of one run's log loss: posterior median."""
        return np.asarray(np.exp(self.log_variance(place)[0] / 2))

    def dof(self, place: Array | float | None = None) -> Array:
        """(K, V) degrees of freedom behind it (Satterthwaite); infinite where it was stated exactly."""
        with np.errstate(divide="ignore"):
            return 2 / self.log_variance(place)[1]

    def covariance(self, place: float) -> Array:
        """(V, V) of the log losses of one seed at one place."""
        (sd,) = self.sd(place)
        return np.asarray(self.correlation * np.outer(sd, sd))

    def draw(self, generator: np.random.Generator, draws: int) -> Array:
        """(B, S, V) standard deviations from the posterior."""
        off = generator.standard_normal((draws, len(self.spread))) @ symmetric_root(self.spread)
        return np.asarray(np.exp((self.log_variance()[0] + np.einsum("svp,bp->bsv", self.design(), off)) / 2))


def symmetric_root(matrix: Array) -> Array:
    """The symmetric square root of a covariance, which need not be of full rank. Unlike the eigenvectors
    themselves it does not turn where eigenvalues are equal but for rounding."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)


def measure_noise(
    cells: Cells, without: Collection[str] = (), stated: StatedNoise | None = None
) -> SeedNoise:
    """Noise from all rungs that have two seeds or more.

    A variant without a repeated seed is as noisy as the line says, and pairs without common repeated seeds
    are as correlated as the other pairs.

    Args:
        without: rungs whose runs are not looked at, because they are being predicted.
        stated: noise of all variants in the middle of the ladder that counts beside what is measured.
    """
    runs = cells.runs[~cells.runs["rung"].isin(list(without))]
    x = _places(cells)
    V = len(cells.variants)
    groups = [_Group.of(frame, step, cells) for step, frame in runs.groupby(_step_of(runs, cells))]
    step = np.repeat([group.step for group in groups], V).astype(int)
    squares = np.concatenate([np.diag(group.squares) for group in groups]) if groups else np.zeros(0)
    dof = np.concatenate([np.diag(group.dof) for group in groups]) if groups else np.zeros(0)
    variant = np.tile(np.arange(V), len(groups))
    if stated is not None:
        step, variant = np.r_[step, 0], np.r_[variant, -1]
        squares, dof = np.r_[squares, stated.sd**2 * stated.dof], np.r_[dof, stated.dof]
    there = dof > 0
    if not there.any():
        return SeedNoise(x, np.zeros(2 + V), np.zeros((2 + V, 2 + V)), np.eye(V), known=False)
    line = SeedNoise(x, np.zeros(2 + V), np.zeros((2 + V, 2 + V)), np.eye(V))
    rows = line.design()[step[there], variant[there]]
    rows[variant[there] < 0] = np.eye(2 + V)[0]  # what is stated is of no variant, and of no slope
    variance = np.maximum(squares[there] / dof[there], LEAST_VARIANCE)
    coefficients, spread = _regress(rows, variance, dof[there], V)
    fitted = SeedNoise(x, coefficients, spread, np.eye(V))
    return SeedNoise(x, coefficients, spread, _correlation(groups, fitted.sd(), V))


def _places(cells: Cells) -> Array:
    """(S,) log10 of the mean cost of each place on the first axis that the table has, centred."""
    x = np.log10(cells.first_cost).groupby(cells.table["step"]).mean().sort_index().to_numpy(dtype=float)
    return np.asarray(x - x.mean())


def _step_of(runs: pd.DataFrame, cells: Cells) -> pd.Series:
    """The place of each run."""
    steps = cells.table.drop_duplicates("step").set_index(["rung", "budget"])["step"]
    keys = pd.MultiIndex.from_frame(runs[["rung", "budget"]])
    return pd.Series(steps.reindex(keys).to_numpy(), index=runs.index)


@dataclass(frozen=True)
class _Group:
    """Deviations from the variants' means at one place."""

    step: int
    squares: Array
    """(V, V) sums of products over the seeds that two variants have in common."""
    dof: Array
    """(V, V) common seeds less one."""

    @classmethod
    def of(cls, runs: pd.DataFrame, step: float, cells: Cells) -> _Group:
        seeds, row = np.unique(runs["seed"], return_inverse=True)
        values = np.full((len(seeds), len(cells.variants)), np.nan)
        values[row, pd.Index(cells.variants).get_indexer(pd.Index(runs["variant"]))] = runs["log_loss"]
        there = np.isfinite(values)
        ran, filled = there.astype(float), np.where(there, values, 0.0)
        centred = np.where(there, values - filled.sum(axis=0) / np.maximum(ran.sum(axis=0), 1), 0.0)
        both = ran.T @ ran
        # sums[v, w]: of v's deviations over the seeds that w ran too.
        sums = centred.T @ ran
        squares = (both > 1) * (centred.T @ centred - sums * sums.T / np.maximum(both, 1))
        np.fill_diagonal(squares, np.maximum(np.diag(squares), 0))  # not below by rounding
        return cls(int(step), squares, np.maximum(both - 1, 0))


def _regress(rows: Array, variance: Array, dof: Array, V: int) -> tuple[Array, Array]:
    """Posterior mode and covariance (P,), (P, P) of the coefficients: Newton's method with the expected
    information, half a degree of freedom for each of them."""
    prior = np.diag(np.r_[1e-12, SLOPE_SD**-2, np.full(V, LEVEL_SD**-2)])
    beta = np.zeros(rows.shape[1])
    beta[0] = np.log(np.average(variance, weights=dof))
    information = rows.T @ (rows * (dof / 2)[:, None]) + prior
    for _ in range(100):
        ratio = variance * np.exp(-np.clip(rows @ beta, -80, 80))
        step = np.linalg.solve(information, rows.T @ (dof / 2 * (np.minimum(ratio, 1e6) - 1)) - prior @ beta)
        beta = beta + step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-300))
        if np.abs(step).max() < 1e-9:
            break
    return beta, np.linalg.inv(information)


def _correlation(groups: list[_Group], sd: Array, V: int) -> Array:
    """(V, V) pooled over places, each pair shrunk towards the mean of all pairs, and that towards 0."""
    product, dof = np.zeros((V, V)), np.zeros((V, V))
    for group in groups:
        product += group.squares / np.outer(sd[group.step], sd[group.step])
        dof += group.dof
    pair = np.tril(np.ones((V, V), dtype=bool), -1)
    typical = product[pair].sum() / (dof[pair].sum() + UNCORRELATED) if pair.any() else 0.0
    shrunk = np.tril((product + UNCORRELATED * typical) / (dof + UNCORRELATED), -1)
    return np.asarray(np.clip(shrunk + shrunk.T, -1, 1) + np.eye(V))
