"""Losses over mixtures of data: which shares of the domains give the lowest loss, and how surely.

The law of every scored domain d over the shares r of the domains that are read:

    log L_d(r) = Σ_j a_dj r_j + Σ_{j<k} b_djk r_j r_k

Scheffé's quadratic polynomial of a mixture (J. R. Stat. Soc. B 20, 1958, p. 344), which needs no constant
because shares sum to 1. Its linear part is the exponential law of Ye et al. 2024 (data mixing laws, arXiv
2403.16952) with no floor; the regression on many small runs, and the search for its lowest point, is
RegMix's (Liu et al. 2024, arXiv 2407.01492). Interactions are shrunk by a ridge, as strongly as the runs ask
for, so that more domains than runs could tell apart do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from stepladder.laws.forms import Array

PENALTIES = np.geomspace(1e-6, 1e3, 28)
"""Ridge on the interactions, per run; at the largest none is left."""

LEAST_FREEDOM = 3
"""Runs beyond what the linear part and the blocks take."""

TINY = 1e-18
"""Variance of log losses that is rounding."""


@dataclass(frozen=True)
class MixtureLaw:
    """The fitted law of all scored domains: k shares, p features, m losses, n runs, B draws."""

    coefficients: Array
    """(p, m): a, then b in the order of pairs."""
    draws: Array
    """(B, p, m): coefficients that the runs allow as well."""
    covariance: Array
    """(m, m): of the noise of log losses."""
    left_out: Array
    """(n, m): log loss of every run by the law of all others."""

    def log_losses(self, shares: Array) -> Array:
        """(..., k) shares to (..., m) log losses."""
        return features(shares) @ self.coefficients

    def targets(self, shares: Array, weights: Array) -> Array:
        """Weighted loss at (k,) shares: (1 + B,), the law's own first.

        Args:
            weights: (m,).
        """
        every = np.concatenate([self.coefficients[None], self.draws])
        found: Array = np.exp(features(shares) @ every) @ weights
        return found

    def noise(self, draws: int, generator: np.random.Generator) -> Array:
        """(draws, m): residuals of one run each."""
        return generator.standard_normal((draws, len(self.covariance))) @ _root(self.covariance).T


def features(shares: Array) -> Array:
    """(..., k) shares to (..., p): themselves, and the products of pairs."""
    pairs = [shares[..., j] * shares[..., k] for j, k in combinations(range(shares.shape[-1]), 2)]
    return np.concatenate([shares, np.stack(pairs, axis=-1)], axis=-1)


def fit_mixtures(shares: Array, losses: Array, blocks: Sequence[int], draws: int, seed: int) -> MixtureLaw:
    """The law of runs on different mixtures.

    A Gaussian regression of all domains at once, whose noise goes together within a run. What the runs of a
    block have in common is taken out: those of one seed begin with the same weights and read each domain in
    the same order, which moves losses more than most mixtures do. The linear part has a flat prior,
    interactions that of a ridge, each times its spread over the runs; the law is the mean over ridges,
    weighted by how probable each makes the losses, and draws are of that posterior (Student's t, as the noise
    is estimated; Box and Tiao 1973, section 8.4).

    Args:
        shares: (n, k), k ≥ 2; rows sum to 1.
        losses: (n, m), nats/token.
        blocks: n labels; the law is that of their mean.

    Raises:
        ValueError: the runs are too few, or too much alike, to tell a law from noise.
    """
    n, k = shares.shape
    if np.linalg.matrix_rank(shares) < k:
        raise ValueError(f"{n} runs whose mixtures do not differ in all {k} domains tell no law")
    labels, block = np.unique(blocks, return_inverse=True)
    if n - k - (len(labels) - 1) < LEAST_FREEDOM:
        raise ValueError(
            f"{n} runs of {len(labels)} seeds are too few for a law of {k} domains: add runs, or have fewer "
            "seeds"
        )
    X, Y = features(shares), np.log(losses)
    p = X.shape[1]
    contrasts = np.eye(len(labels))[block]
    X = np.hstack([X, contrasts[:, 1:] - contrasts[:, :1]])
    spread = np.r_[np.zeros(k), np.maximum(X[:, k:p].var(axis=0), TINY), np.zeros(len(labels) - 1)]
    ridges = [_Ridge.of(X, Y, n * penalty * spread) for penalty in PENALTIES]
    evidence = np.array([ridge.evidence for ridge in ridges])
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    generator = np.random.default_rng(seed)
    drawn = [ridges[i].draw(generator)[:p] for i in generator.choice(len(ridges), draws, p=weights)]
    return MixtureLaw(
        coefficients=np.tensordot(weights, np.stack([ridge.coefficients[:p] for ridge in ridges]), 1),
        draws=np.stack(drawn),
        covariance=np.tensordot(weights, np.stack([ridge.covariance for ridge in ridges]), 1),
        left_out=np.tensordot(weights, np.stack([ridge.left_out for ridge in ridges]), 1),
    )


@dataclass(frozen=True)
class _Ridge:
    """The posterior for one ridge."""

    coefficients: Array
    root: Array
    """(p, p): root of the inverse of X'X and penalty."""
    covariance: Array
    """(m, m): of the noise."""
    left_out: Array
    """(n, m): log losses by the fit of all other runs (Allen 1974)."""
    freedom: int
    evidence: float
    """Log of the probability of the losses, up to what all ridges have in common."""

    @classmethod
    def of(cls, X: Array, Y: Array, ridge: Array) -> _Ridge:
        n, m = Y.shape
        freedom = n - int((ridge == 0).sum())
        # The ridge as further rows: squares of X, and differences of large sums, would lose the small ridges.
        Q, R = np.linalg.qr(np.vstack([X, np.diag(np.sqrt(ridge))]))
        top = Q[:n]
        root: Array = solve_triangular(R, np.eye(len(R)))
        fitted = top.T @ Y
        residuals, coefficients = Y - top @ fitted, root @ fitted
        covariance = (residuals.T @ residuals + (coefficients.T * ridge) @ coefficients) / freedom
        # Sums of squares below rounding are none, so that losses without noise have a law as well.
        size = np.maximum(np.linalg.eigvalsh(covariance), TINY)
        determinants = np.log(ridge[ridge > 0]).sum() - 2 * np.log(np.abs(np.diag(R))).sum()
        return cls(
            coefficients=coefficients,
            root=root,
            covariance=covariance,
            left_out=Y - residuals / np.maximum(1 - (top**2).sum(axis=1), 1e-9)[:, None],
            freedom=freedom,
            evidence=float(m * determinants - freedom * np.log(size).sum()) / 2,
        )

    def draw(self, generator: np.random.Generator) -> Array:
        """Coefficients (p, m) that the runs allow as well."""
        z = generator.standard_normal(self.coefficients.shape)
        stretch = np.sqrt(self.freedom / generator.chisquare(self.freedom))
        found: Array = self.coefficients + stretch * (self.root @ z @ _root(self.covariance))
        return found


def _root(matrix: Array) -> Array:
    """The symmetric root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    root: Array = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root


@dataclass(frozen=True)
class Region:
    """Mixtures that a law is asked about: within bounds, and no farther from the middle of the runs than a
    run is, by the distance of Mahalanobis. Corners that bounds alone would leave are far from every run."""

    low: Array
    """(k,)."""
    high: Array
    """(k,)."""
    middle: Array
    """(k,)."""
    metric: Array
    """(k, k): inverse of the covariance of the shares, in the plane where they sum to 1."""
    reach: float
    """Squared distance."""
    nearest: Array
    """(k,): of the mixtures within bounds the one nearest to the middle."""

    @classmethod
    def around(cls, shares: Array, most: Array) -> Region:
        """That of (n, k) shares.

        Args:
            most: (k,) caps.

        Raises:
            ValueError: no shares within the bounds sum to 1, or none of them is within reach.
        """
        middle = shares.mean(axis=0)
        metric: Array = np.linalg.pinv(np.cov(shares.T), rcond=1e-9, hermitian=True).astype(float)
        off = shares - middle
        reach = float(np.einsum("nj,jk,nk->n", off, metric, off).max())
        low, high = shares.min(axis=0), np.minimum(shares.max(axis=0), most)
        if low.sum() > 1 or high.sum() < 1 or np.any(low > high):
            raise ValueError("no mixture is within the bounds")
        nearest = _nearest(low, high, middle, metric)
        region = cls(low, high, middle, metric, reach, nearest)
        if not region.holds(nearest):
            raise ValueError("no mixture within the bounds is as near to the runs as these are to each other")
        return region

    def holds(self, shares: Array) -> bool:
        """Whether shares are within reach, to what a search leaves."""
        return self.room(shares) >= -1e-6 * self.reach and abs(shares.sum() - 1) < 1e-6

    def room(self, shares: Array) -> float:
        """What is left of the reach; negative outside."""
        off = shares - self.middle
        return self.reach - float(off @ self.metric @ off)

    def room_slope(self, shares: Array) -> Array:
        """Gradient of `room`."""
        return -2 * self.metric @ (shares - self.middle)


def lowest(coefficients: Array, weights: Array, region: Region, starts: Array) -> Array:
    """Shares (k,) with the lowest weighted loss in a region, from the best of several starts.

    Args:
        coefficients: (p, m).
        weights: (m,).
        starts: (s, k).
    """
    k = len(region.low)
    first, second = np.array([*combinations(range(k), 2)]).T

    def loss(shares: Array) -> tuple[float, Array]:
        by_domain = np.exp(features(shares) @ coefficients) * weights
        slope = coefficients[:k].copy()
        np.add.at(slope, first, shares[second][:, None] * coefficients[k:])
        np.add.at(slope, second, shares[first][:, None] * coefficients[k:])
        return float(by_domain.sum()), slope @ by_domain

    within = {"type": "ineq", "fun": region.room, "jac": region.room_slope}
    found = [_search(loss, start, region.low, region.high, within) for start in starts]
    held = [shares for shares in found if region.holds(shares)]
    return min([*held, region.nearest], key=lambda shares: loss(shares)[0])


def _nearest(low: Array, high: Array, middle: Array, metric: Array) -> Array:
    """Shares within bounds that are nearest to the middle by a metric."""

    def distance(shares: Array) -> tuple[float, Array]:
        off = shares - middle
        return float(off @ metric @ off), 2 * metric @ off

    return _search(distance, middle, low, high)


def _search(
    value: Callable[[Array], tuple[float, Array]],
    start: Array,
    low: Array,
    high: Array,
    *more: dict[str, Any],
) -> Array:
    """Shares within bounds with the lowest value; `value` gives its gradient as well.

    Args:
        more: constraints, as scipy's `minimize` takes them.
    """
    total = {"type": "eq", "fun": lambda shares: shares.sum() - 1, "jac": np.ones_like}
    found = minimize(
        value,
        _summing(np.clip(start, low, high), low, high),
        jac=True,
        method="SLSQP",
        bounds=[*zip(low, high, strict=True)],
        constraints=(total, *more),
        options={"maxiter": 200, "ftol": 1e-12},
    )
    return _summing(np.clip(found.x, low, high), low, high)


def _summing(shares: Array, low: Array, high: Array) -> Array:
    """Shares that sum to 1, what is missing or too much spread over the room to the bounds."""
    missing = 1 - shares.sum()
    room = high - shares if missing > 0 else shares - low
    found: Array = shares + missing * room / max(room.sum(), 1e-300)
    return found
