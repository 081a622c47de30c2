"""Noise of training as repeated seeds show it: what a seed of a place does to all variants and all scores of
their runs, drawn as a whole.

A draw gives every cluster (place, seed) the deviations of another, which keeps runs whole: what a seed moves
in one variant it moves in the others, and what it does to one score goes with what it does to another.
Deviations from a mean of n are short by the root of (n - 1) / n, which is put back; their sign is drawn,
since few clusters are no sample of a lopsided distribution; and each draw scales them all by the root of
nu / chi2_nu, since their variance is known from nu degrees of freedom only (as in Student's t).

Shapes: M runs, V variants, K scores, G clusters of repeated seeds, C cells, B draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepladder.laws.forms import Array

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Which cell and cluster each of M runs belongs to."""

    variant: Index
    """(M,) from 0."""
    place: Index
    """(M,) rung and budget, from 0."""
    seed: Index
    """(M,) of the same number: paired."""

    @property
    def cluster(self) -> Index:
        """(M,) number of the place and seed."""
        return numbered(np.column_stack([self.place, self.seed]))

    @property
    def cell(self) -> Index:
        """(M,) number of the variant and place, in their order."""
        return numbered(np.column_stack([self.variant, self.place]))

    def means(self, values: Array) -> Array:
        """(..., C) means over the runs of every cell of (..., M), in order of variant and place."""
        weights = (self.cell == np.arange(self.cell.max() + 1)[:, None]).astype(float)
        return np.asarray(values @ (weights / weights.sum(axis=1, keepdims=True)).T)

    def at(self, rows: npt.NDArray[np.bool_]) -> Runs:
        """Some of the runs."""
        return Runs(self.variant[rows], self.place[rows], self.seed[rows])


def numbered(keys: npt.NDArray[np.int64]) -> Index:
    """(M,) number of each row of keys (M, L) among the distinct ones, in their order."""
    return np.asarray(np.unique(keys, axis=0, return_inverse=True)[1], dtype=np.int64).reshape(-1)


@dataclass(frozen=True)
class Deviations:
    """Deviations of repeated seeds from their cell's mean, one cluster a row."""

    pool: Array
    """(G, V, K) of single runs; NaN where a variant has no repeated run."""
    dof: float
    """Degrees of freedom that they are worth, what variants have in common counted once."""

    @classmethod
    def of(cls, runs: Runs, values: Array) -> Deviations | None:
        """Those of scores (M, K); None where no seed is repeated."""
        n = np.bincount(runs.cell)[runs.cell]
        repeated = n > 1
        if not repeated.any():
            return None
        off = values - runs.means(values.T).T[runs.cell]
        off = off * np.sqrt(n / np.maximum(n - 1, 1))[:, None]
        rows = numbered(runs.cluster[repeated][:, None])
        pool = np.full((rows.max() + 1, int(runs.variant.max()) + 1, values.shape[1]), np.nan)
        pool[rows, runs.variant[repeated]] = off[repeated]
        free = sum(1 - 1 / count for count in n[repeated])
        return cls(pool, max(1.0, free / _in_common(pool[..., 0])))

    @property
    def sd(self) -> Array:
        """(K,) of one run, over all variants and places."""
        return np.asarray(np.sqrt(np.nanmean(self.pool**2, axis=(0, 1))))

    def factors(self, generator: np.random.Generator, draws: int) -> Array:
        """(B,) by which the standard deviation is off, as far as the deviations tell."""
        return np.asarray(np.sqrt(self.dof / generator.chisquare(self.dof, draws)))

    def draw(self, generator: np.random.Generator, runs: Runs, draws: int) -> Array:
        """(B, K, C) noise of the mean scores of the cells of `runs`."""
        cluster, G = runs.cluster, len(self.pool)
        shape = (draws, int(cluster.max()) + 1)
        donor, sign = generator.integers(G, size=shape), generator.choice([-1.0, 1.0], size=shape)
        noise = self.pool[donor[:, cluster], runs.variant] * sign[:, cluster, None]
        lacking = np.isnan(noise[..., 0])
        if lacking.any():
            known = self.pool[~np.isnan(self.pool[..., 0])]
            noise[lacking] = known[generator.integers(len(known), size=int(lacking.sum()))]
        noise *= self.factors(generator, draws)[:, None, None]
        return runs.means(noise.transpose(0, 2, 1))


def _in_common(pool: Array) -> float:
    """By how much the deviations (G, V) of one cluster count for fewer than they are: 1 + (V - 1) times their
    mean correlation between variants (the design effect; Kish 1965), not below 1."""
    there = ~np.isnan(pool)
    off = np.where(there, pool, 0.0)
    squares = float((off**2).sum()) / max(1, int(there.sum()))
    pairs = float((there.sum(axis=1) * (there.sum(axis=1) - 1)).sum())
    if not squares or not pairs:
        return 1.0
    products = float((off.sum(axis=1) ** 2 - (off**2).sum(axis=1)).sum()) / pairs
    correlation = float(np.clip(products / squares, 0.0, 1.0))
    return 1 + (float(there.sum(axis=1).mean()) - 1) * correlation
