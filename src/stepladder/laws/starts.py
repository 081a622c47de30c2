"""Where searches begin: thousands of exponents, each with the best coefficients for it, screened.

Given its exponents a law is linear in its coefficients, which a small non-negative regression finds. A
start is therefore a point of the exponents' space alone, and already the best of a whole grid of
coefficients.

A table of many rows is screened by a sample of them, and so are the starts polished; only where these end
differs are all rows worth a search from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepladder.laws.design import Design
from stepladder.laws.forms import Array
from stepladder.laws.solve import Robust, Solution, objective, solve

CANDIDATES = 4500
"""Starts that are screened. As many as the grid of Besiroglu et al. 2024, which spans coefficients too."""

BEST = 32
"""Starts that are polished because they are best, and half as many spread over the others' ranks."""

NEARBY = (1.0, 0.5, 1.8)
"""Replicates start from the point estimate, and with all its exponents times these."""

AGREE = 1e-6
"""Starts whose objective is within this share of the best count as agreeing."""

AGAIN = 32
"""Starts, spread over all exponents, of a replicate whose search did not converge."""

SWEEPS = 40
"""Multiplicative updates of the coefficients (Lee & Seung 2001), from their clipped regression."""


MANY = 2000
"""Rows beyond which starts are screened and polished on a sample of so many."""

STRATUM = 100
"""The fewest rows of a group in the sample, where it has as many."""

DISTINCT = 2
"""Optima of the sample, the best first, from which all rows are fitted."""

SCREENED = 200_000
"""Rows times starts that are screened at once."""

REPLICATED = 1_000_000
"""Rows times replicates that are searched nearby at once."""


@dataclass(frozen=True)
class Found:
    """The best of many searches."""

    theta: Array
    """(P,)."""
    objective: float
    converged: bool
    agreeing: int
    """Of `polished`, those that ended at the best objective."""
    polished: int
    """Searches on all rows: of a large table, one from each of the best optima of a sample of its rows."""
    sampled: int = 0
    """Searches on the sample; 0 where all were on all rows."""
    sampled_agreeing: int = 0
    """Of `sampled`, those that ended at the sample's best objective."""


def search(design: Design, log_loss: Array, robust: Robust, candidates: int = CANDIDATES) -> Found:
    """The law's global optimum on log_loss (M,), as far as many starts can tell."""
    sampled = sampled_agreeing = 0
    if len(log_loss) > MANY:
        starts, sampled, sampled_agreeing = _search_sample(design, log_loss, robust, candidates)
    else:
        starts = screen(design, log_loss, robust, candidates)
    found = solve(design, log_loss, starts, robust)
    best = int(found.objective.argmin())
    return Found(
        found.theta[best],
        float(found.objective[best]),
        bool(found.converged[best]),
        _agreeing(found.objective),
        len(starts),
        sampled,
        sampled_agreeing,
    )


def _agreeing(objective: Array) -> int:
    """How many of the objectives (S,) are as good as the best."""
    return int((objective <= objective.min() * (1 + AGREE) + 1e-18).sum())


def _search_sample(
    design: Design, log_loss: Array, robust: Robust, candidates: int
) -> tuple[Array, int, int]:
    """The best optima of a sample of the rows (up to `DISTINCT`, P), how many starts were polished there, and
    how many of them ended at the best."""
    rows = sample(design)
    part, y = design.at(rows), log_loss[rows]
    near = solve(part, y, screen(part, y, robust, candidates), robust)
    order = np.argsort(near.objective, kind="stable")
    value = near.objective[order]
    fresh = np.r_[True, value[1:] > value[:-1] * (1 + AGREE) + 1e-18]
    return near.theta[order[fresh][:DISTINCT]], len(order), _agreeing(near.objective)


def sample(design: Design, seed: int = 0) -> npt.NDArray[np.int64]:
    """About `MANY` rows at random, of each group (rows with the same coefficients) the same number."""
    group = np.zeros(design.matrix.shape[1], dtype=np.int64)
    if design.is_log.any():
        coefficients = np.any(design.by_column[:, design.is_log], axis=0, keepdims=True)[0].T
        _, group = np.unique(np.packbits(coefficients, axis=1), axis=0, return_inverse=True)
    group = group.ravel()
    order = np.random.default_rng(seed).permutation(len(group))
    groups = int(group.max()) + 1
    size = max(STRATUM, MANY // groups)
    chosen = [order[group[order] == g][:size] for g in range(groups)]
    return np.sort(np.concatenate(chosen))


def search_nearby(
    design: Design, log_loss: Array, robust: Robust, theta: Array, weight: Array | None = None
) -> Solution:
    """The best of a few starts around theta (P,) in each replicate: log_loss or weight is (B, M), or both."""
    B = max(len(np.atleast_2d(x)) for x in (log_loss, 1.0 if weight is None else weight))
    M = design.matrix.shape[1]
    y, w = (np.broadcast_to(x, (B, M)) for x in (log_loss, 1.0 if weight is None else weight))
    size = max(1, REPLICATED // M)
    parts = [
        _search_nearby(design, y[i : i + size], robust, theta, w[i : i + size]) for i in range(0, B, size)
    ]
    best, objective, converged = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Solution(best, objective, converged)


def search_again(design: Design, log_loss: Array, robust: Robust, weight: Array, found: Solution) -> Solution:
    """`found`, with replicates (weight (B, M)) that did not converge searched again: from starts spread over
    all exponents, each with the best coefficients for it, and on from where they are. The lowest counts, and
    of those as low (`AGREE`) one that converged.
    """
    bad = np.flatnonzero(~found.converged)
    if not len(bad):
        return found
    spread_out = regress(design, spread(design, AGAIN, 0), log_loss)
    starts = np.concatenate([np.tile(spread_out, (len(bad), 1)), found.theta[bad]])
    which = np.concatenate([np.repeat(bad, len(spread_out)), bad])
    again = solve(design, log_loss, starts, robust, weight[which])
    theta, value, converged = found.theta.copy(), found.objective.copy(), found.converged.copy()
    for b in bad:
        mine = np.flatnonzero(which == b)
        lowest = min(value[b], again.objective[mine].min())
        good = again.objective[mine] <= lowest * (1 + AGREE) + 1e-18
        if good.any():
            best = mine[np.lexsort((again.objective[mine], ~again.converged[mine], ~good))[0]]
            theta[b], value[b], converged[b] = again.theta[best], again.objective[best], again.converged[best]
    return Solution(theta, value, converged)


def _search_nearby(
    design: Design, y: Array, robust: Robust, theta: Array, weight: Array
) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """`search_nearby` for replicates that are searched at once: y and weight are (B, M)."""
    B = len(y)
    point = np.repeat(np.atleast_2d(theta), B, axis=0)
    starts = [point]
    for factor in NEARBY[1:]:
        starts.append(regress(design, np.where(design.is_log, 0.0, point * factor), y))
    S = len(starts)
    found = solve(design, np.tile(y, (S, 1)), np.concatenate(starts), robust, np.tile(weight, (S, 1)))
    best = found.objective.reshape(S, B).argmin(axis=0) * B + np.arange(B)
    return found.theta[best], found.objective[best], found.converged[best]


def screen(
    design: Design, log_loss: Array, robust: Robust, candidates: int = CANDIDATES, seed: int = 0
) -> Array:
    """Starts (S, P) worth polishing, the best first.

    Args:
        log_loss: (M,).
    """
    theta = spread(design, candidates, seed)
    size = max(1, SCREENED // len(log_loss))
    parts = [regress(design, theta[i : i + size], log_loss) for i in range(0, len(theta), size)]
    value = np.concatenate([objective(design, log_loss, part, robust) for part in parts])
    theta = np.concatenate(parts)
    order = np.argsort(np.where(np.isfinite(value), value, np.inf), kind="stable")
    if len(order) <= BEST:
        return np.asarray(theta[order])
    others = np.linspace(BEST, len(order) - 1, BEST // 2).astype(int)
    return np.asarray(theta[np.concatenate([order[:BEST], order[others]])])


def spread(design: Design, candidates: int, seed: int) -> Array:
    """(S, P) with exponents that fill their starting ranges evenly (Sobol points, in logs where positive);
    coefficients are zero."""
    powers = np.flatnonzero(~design.is_log)
    theta = np.zeros((candidates if len(powers) else 1, len(design.names)))
    if len(powers) == 0:
        return theta
    from scipy.stats import qmc  # a second of import, which the fits of ladders need not pay

    bits = int(np.ceil(np.log2(candidates)))
    points = qmc.Sobol(len(powers), seed=seed).random_base2(bits)[:candidates]
    # Groups tend to have similar exponents, and a cube of many dimensions holds few such points: in half of
    # the starts all groups have their law's exponent in common.
    first = [next(q for q, base in enumerate(design.bases) if base is design.bases[p]) for p in powers]
    common = points[:, np.searchsorted(powers, first)]
    points = np.where(np.arange(candidates)[:, None] % 2 == 0, common, points)
    for i, p in enumerate(powers):
        low, high = design.bases[p].start
        theta[:, p] = low * (high / low) ** points[:, i] if low > 0 else low + (high - low) * points[:, i]
    return theta


def regress(design: Design, theta: Array, log_loss: Array) -> Array:
    """Fill in the coefficients of theta (S, P): least squares of relative errors, kept positive.

    Args:
        log_loss: (M,) or (S, M).
    """
    K, M, P = design.matrix.shape
    logs = np.flatnonzero(design.is_log)
    if len(logs) == 0:
        return theta
    logs_of_terms = (theta @ design.matrix.reshape(K * M, P).T).reshape(-1, K, M) + design.offset
    # An absurd start stays absurd, and finite.
    terms = np.exp(np.minimum(logs_of_terms - np.atleast_2d(log_loss)[:, None], 300.0))
    free = design.matrix[:, :, logs].transpose(2, 0, 1)  # (Q, K, M): 1 where the coefficient is in the term
    basis = np.einsum("skm,qkm->sqm", terms, free)
    known = np.where(free.sum(axis=0) > 0, 0.0, terms).sum(axis=1)  # pinned terms
    target = np.maximum(1.0 - known, 1e-9)
    size = np.maximum(basis.max(axis=2), 1e-300)
    basis = basis / size[:, :, None]
    gram = basis @ basis.transpose(0, 2, 1)
    right = np.einsum("sqm,sm->sq", basis, target)
    ridge = 1e-10 * np.einsum("sqq->sq", gram).max(axis=1)[:, None, None] * np.eye(len(logs))
    value = np.linalg.solve(gram + ridge, right[:, :, None])[:, :, 0]
    value = np.maximum(value, 1e-3)
    for _ in range(SWEEPS):
        value *= np.maximum(right, 1e-300) / np.maximum(np.einsum("sqr,sr->sq", gram, value), 1e-300)
    theta = theta.copy()
    theta[:, logs] = np.log(np.maximum(value / size, 1e-100))
    return theta
