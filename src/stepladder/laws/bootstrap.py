"""How sure a fit is: refits to resampled clusters, and a cross-check by the delta method.

Shapes: M rows, P parameters, B bootstrap draws, G clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse, stats

from stepladder.laws.design import Design
from stepladder.laws.forms import Array
from stepladder.laws.numbers import finite
from stepladder.laws.solve import Robust, slopes, solve
from stepladder.laws.starts import MANY, Found, search_nearby

CHECKED_OF_MANY = 8
"""Draws that are fitted in full where the others are one step of Newton's from the optimum."""

SEARCHED_OF_MANY = 2
"""Of these, draws that are searched from other starts too: the more rows, the closer the draws."""

CLOSE = 0.05
"""Single steps stand if they end within this share of a parameter's standard error of the full fits (median
over the draws checked)."""

DRAWN = 4_000_000
"""Rows times draws whose weights are held at once."""

CURVATURES = 20_000_000
"""The most numbers that the clusters' Hessians may have together."""

CHECKED = 0.05
"""Share of bootstrap draws that are also searched from other starts; if that finds better optima, all are."""


@dataclass(frozen=True)
class Bootstrap:
    """Refits to resampled clusters, and to all clusters but one."""

    theta: Array
    """(B, P)."""
    converged: npt.NDArray[np.bool_]
    """(B,)."""
    left_out: Array
    """(G, P): fits without one cluster each."""
    cluster: npt.NDArray[np.int64]
    """(M,) cluster of each row."""
    other_optima: float
    """Share of the draws that were checked in which another start ended lower."""
    single_steps: bool = False
    """Whether draws are single Newton steps, as in large tables."""

    @classmethod
    def draw(
        cls,
        design: Design,
        log_loss: Array,
        found: Found,
        robust: Robust,
        table: pd.DataFrame,
        clusters: Sequence[str],
        draws: int,
        seed: int,
        group: npt.NDArray[np.int64] | None = None,
        groups: Sequence[str] = (),
    ) -> Bootstrap | None:
        """None when no draws are asked for or there are too few clusters to resample."""
        columns = list(clusters)
        cluster = (
            table.groupby(columns, sort=False).ngroup().to_numpy() if columns else np.arange(len(table))
        ).astype(np.int64)
        G = int(cluster.max()) + 1
        if draws == 0 or len(design.names) >= G:
            return None
        if len(log_loss) > MANY:
            return cls._draw_many(design, log_loss, found, robust, cluster, draws, seed, group, groups)
        generator = np.random.default_rng(seed)
        weight = generator.multinomial(G, np.full(G, 1 / G), size=draws)[:, cluster].astype(float)
        start = found.theta[None]
        drawn = solve(design, log_loss, np.repeat(start, draws, axis=0), robust, weight)
        checked = max(1, int(CHECKED * draws))
        other = search_nearby(design, log_loss, robust, start, weight[:checked])
        lower = float((other.objective < drawn.objective[:checked] * (1 - 1e-6)).mean())
        if lower > 0:
            drawn = search_nearby(design, log_loss, robust, start, weight)
        theta = forget_untold(design, drawn.theta, weight, group, groups)
        without = 1.0 - np.eye(G)[:, cluster]
        jackknife = solve(design, log_loss, np.repeat(start, G, axis=0), robust, without)
        return cls(theta, drawn.converged, jackknife.theta, cluster, lower)

    @classmethod
    def _draw_many(
        cls,
        design: Design,
        log_loss: Array,
        found: Found,
        robust: Robust,
        cluster: npt.NDArray[np.int64],
        draws: int,
        seed: int,
        group: npt.NDArray[np.int64] | None,
        groups: Sequence[str],
    ) -> Bootstrap:
        """For tables of many rows: each draw is one step of Newton's method from the optimum, with the draw's
        own gradient and curvature. Its error is of a higher order in 1 / rows than the spread of the draws
        (Davidson & MacKinnon 1999, Int. Econ. Rev. 40:487; Andrews 2002, Econometrica 70:119). Some draws
        are fitted in full; if they end elsewhere, all are, from where their step led.

        Fits without one cluster are single steps too, that is the empirical influence values, from which the
        acceleration of the BCa interval may be had as well (Efron 1987, section 6).
        """
        G, P = int(cluster.max()) + 1, len(design.names)
        score, curvature = _by_cluster(design, log_loss, found.theta, robust, cluster, G)
        theta = np.empty((draws, P))
        for i, counts in _blocks_of_counts(G, draws, seed):
            hessian = counts @ curvature if len(curvature) > 1 else curvature
            step = _solve_symmetric(hessian.reshape(-1, P, P), counts @ score)
            theta[i : i + len(counts)] = found.theta - step
        theta = np.clip(theta, design.low, design.high)
        influence = _solve_symmetric(curvature.sum(axis=0).reshape(1, P, P), score)
        _, counts = next(_blocks_of_counts(G, draws, seed))
        checked = range(min(CHECKED_OF_MANY, len(counts)))
        full, lower = np.empty((len(checked), P)), 0
        converged = np.ones(draws, dtype=bool)
        for i in checked:
            weight = counts[i, cluster][None]
            near = solve(design, log_loss, theta[i : i + 1], robust, weight)
            full[i], converged[i] = near.theta[0], near.converged[0]
            if i < SEARCHED_OF_MANY:
                other = search_nearby(design, log_loss, robust, near.theta, weight)
                lower += int(other.objective[0] < near.objective[0] * (1 - 1e-6))
        apart = np.median(np.abs(full - theta[: len(full)]), axis=0)
        single = lower == 0 and bool((apart <= CLOSE * theta.std(axis=0) + 1e-9).all())
        if not single:
            for i, counts in _blocks_of_counts(G, draws, seed):
                here = slice(i, i + len(counts))
                weight = counts[:, cluster]
                drawn = (
                    search_nearby(design, log_loss, robust, found.theta[None], weight)
                    if lower
                    else solve(design, log_loss, theta[here], robust, weight)
                )
                theta[here], converged[here] = drawn.theta, drawn.converged
        else:
            theta[: len(full)] = full
        if groups:
            for i, counts in _blocks_of_counts(G, draws, seed):
                here = slice(i, i + len(counts))
                theta[here] = forget_untold(design, theta[here], counts[:, cluster], group, groups)
        other_optima = lower / min(len(full), SEARCHED_OF_MANY)
        return cls(theta, converged, found.theta + influence, cluster, other_optima, single)


def _by_cluster(
    design: Design,
    log_loss: Array,
    theta: Array,
    robust: Robust,
    cluster: npt.NDArray[np.int64],
    G: int,
) -> tuple[Array, Array]:
    """What each cluster adds to the gradient (G, P) and to the Hessian (G, P * P) of the objective; of the
    Hessian only the sum, (1, P * P), where all would be too large."""
    P = len(theta)
    score, curvature = np.zeros((G, P)), np.zeros((G if G * P * P <= CURVATURES else 1, P * P))
    for rows, part in design.blocks:
        log_prediction, share = part.predict_shares(theta[None])
        jacobian = slopes(part, share)[0].T
        _, first, second, _ = (v[0] for v in robust(log_prediction - log_loss[rows]))
        bend = np.einsum("km,kmp,kmq->mpq", share[0] * first, part.matrix, part.matrix, optimize=True)
        newton = (second - first)[:, None, None] * jacobian[:, :, None] * jacobian[:, None, :] + bend
        here = cluster[rows]
        member = sparse.csr_array((np.ones(len(here)), (here, np.arange(len(here)))), shape=(G, len(here)))
        score += member @ (first[:, None] * jacobian)
        flat = newton.reshape(-1, P * P)
        curvature += member @ flat if len(curvature) > 1 else flat.sum(axis=0)
    return score, curvature


def _blocks_of_counts(G: int, draws: int, seed: int) -> Iterator[tuple[int, Array]]:
    """How often each draw has each cluster, (n, G), for n draws at a time, and the first draw's number. The
    same seed gives the same counts again: nobody need keep them."""
    generator = np.random.default_rng(seed)
    size = max(1, DRAWN // G)
    for i in range(0, draws, size):
        n = min(size, draws - i)
        counts = [np.bincount(generator.integers(0, G, G), minlength=G) for _ in range(n)]
        yield i, np.array(counts, dtype=float)


def _solve_symmetric(matrix: Array, right: Array) -> Array:
    """Solutions (n, P) of matrix (n, P, P) x = right (n, P), scaled to a diagonal of ones."""
    size = np.sqrt(np.maximum(np.abs(np.einsum("npp->np", matrix)), 1e-300))
    scaled = matrix / size[:, :, None] / size[:, None, :]
    return np.asarray((np.linalg.pinv(scaled, hermitian=True) @ (right / size)[:, :, None])[:, :, 0] / size)


def forget_untold(
    design: Design,
    theta: Array,
    weight: Array,
    group: npt.NDArray[np.int64] | None,
    groups: Sequence[str],
) -> Array:
    """theta (B, P) with NaN for the own parameters of a group of which a draw (weights (B, M)) has fewer
    rows than parameters: left where the search began, they would look like certainty."""
    theta = theta.copy()
    for g, label in enumerate(groups):
        own = np.array([name.endswith(f"[{label}]") for name in design.names])
        untold = (weight[:, group == g] > 0).sum(axis=1) < own.sum()
        theta[np.ix_(untold, own)] = np.nan
    return theta


def bca_interval(draws: Array, point: float, left_out: Array, confidence: float) -> list[float | None]:
    """Bias-corrected and accelerated interval (Efron 1987, J. Am. Stat. Assoc. 82:171).

    Args:
        draws: (B,) bootstrap values of a statistic whose value is `point`.
        left_out: (G,) its values without one cluster each.
    """
    if not np.isfinite(draws).all() or not np.isfinite(left_out).all():
        return [None, None]
    below = ((draws < point).sum() + 0.5 * (draws == point).sum()) / len(draws)
    bias = stats.norm.ppf(np.clip(below, 1 / (len(draws) + 1), 1 - 1 / (len(draws) + 1)))
    influence = left_out.mean() - left_out
    spread = (influence**2).sum()
    acceleration = (influence**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
    z = bias + stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    levels = stats.norm.cdf(bias + z / np.maximum(1 - acceleration * z, 1e-3))
    low, high = np.quantile(draws, levels)
    return [finite(low), finite(high)]


def delta_errors(
    design: Design, log_loss: Array, theta: Array, robust: Robust, cluster: npt.NDArray[np.int64]
) -> Array:
    """(P,) standard errors by the delta method: the clustered sandwich of an M-estimator (Huber 1967).

    Where the loss is linear its second derivative is zero nearly everywhere, and its expectation is what
    counts: delta times the density of residuals at 0, estimated in a window (Powell 1991).
    """
    log_prediction, share = design.predict_shares(theta[None])
    jacobian, residual = slopes(design, share)[0], log_prediction[0] - log_loss
    _, first, second, _ = robust(residual)
    if robust.norm == "huber":
        scale = 1.4826 * float(np.median(np.abs(residual)))
        window = max(robust.delta, 1.1 * scale * len(residual) ** -0.2)
        second = np.where(np.abs(residual) <= window, min(1.0, robust.delta / window), 0.0)
    scores = np.zeros((int(cluster.max()) + 1, len(theta)))
    np.add.at(scores, cluster, (jacobian * first).T)
    bread = np.linalg.pinv((jacobian * second) @ jacobian.T, rcond=1e-14, hermitian=True)
    G = len(scores)
    covariance = bread @ (scores.T @ scores) @ bread * G / max(1, G - len(theta))
    natural = design.natural(theta[None])[0]
    slope = np.where(design.is_log, natural, 1.0)[:, None] * design.restore
    return np.asarray(np.sqrt(np.maximum(np.einsum("pq,qr,pr->p", slope, covariance, slope), 0.0)))
