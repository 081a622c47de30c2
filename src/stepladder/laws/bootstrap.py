"""How sure a fit is: refits to resampled clusters, and a cross-check by the delta method.

Shapes: M rows, P parameters, B bootstrap draws, G clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.laws.design import Design
from stepladder.laws.distributions import normal_quantile, normal_share
from stepladder.laws.forms import Array
from stepladder.laws.large import LargeTable
from stepladder.laws.numbers import finite
from stepladder.laws.solve import Robust, slopes, solve
from stepladder.laws.starts import MANY, Found, search_again, search_nearby

CHECKED = 0.05
"""Share of bootstrap draws that are also searched from other starts; if that finds better optima, all are."""


@dataclass(frozen=True)
class Bootstrap:
    """Refits to resampled clusters, and to all clusters but one."""

    theta: Array
    """(B, P)."""
    converged: npt.NDArray[np.bool_]
    """(R,) of the draws that were fitted in full: all B, or a few of a table of many clusters."""
    left_out: Array
    """(G, P): fits without one cluster each."""
    cluster: npt.NDArray[np.int64]
    """(M,) cluster of each row."""
    other_optima: float
    """Share of the draws that were checked in which another start ended lower."""

    @property
    def single_steps(self) -> bool:
        """Whether the draws that were not fitted in full are single Newton steps."""
        return len(self.converged) < len(self.theta)

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
            large = LargeTable(design, log_loss, found, robust, cluster)
            drawn, lower = large.draw(draws, seed)
            if groups:
                for here, counts in large.blocks_of_counts(draws, seed):
                    drawn.theta[here] = forget_untold(
                        design, drawn.theta[here], counts, cluster, group, groups
                    )
            return cls(drawn.theta, drawn.converged, large.left_out(), cluster, lower)
        generator = np.random.default_rng(seed)
        counts = generator.multinomial(G, np.full(G, 1 / G), size=draws).astype(float)
        weight = counts[:, cluster]
        start = found.theta[None]
        drawn = solve(design, log_loss, np.repeat(start, draws, axis=0), robust, weight)
        checked = max(1, int(CHECKED * draws))
        other = search_nearby(design, log_loss, robust, start, weight[:checked])
        lower = float((other.objective < drawn.objective[:checked] * (1 - 1e-6)).mean())
        if lower > 0:
            drawn = search_nearby(design, log_loss, robust, start, weight)
        drawn = search_again(design, log_loss, robust, weight, drawn)
        theta = forget_untold(design, drawn.theta, counts, cluster, group, groups)
        without = 1.0 - np.eye(G)[:, cluster]
        jackknife = solve(design, log_loss, np.repeat(start, G, axis=0), robust, without)
        return cls(theta, drawn.converged, jackknife.theta, cluster, lower)


def forget_untold(
    design: Design,
    theta: Array,
    counts: Array,
    cluster: npt.NDArray[np.int64],
    group: npt.NDArray[np.int64] | None,
    groups: Sequence[str],
) -> Array:
    """theta (B, P) with NaN for the own parameters of a group of which a draw (which has clusters so many
    times, counts (B, G)) has fewer rows than parameters: left where the search began, they would look like
    certainty."""
    theta = theta.copy()
    has = (counts > 0).astype(float)
    for g, label in enumerate(groups):
        own = np.array([name.endswith(f"[{label}]") for name in design.names])
        rows = np.bincount(cluster[group == g], minlength=counts.shape[1])
        untold = has @ rows < own.sum()
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
    bias = normal_quantile(np.clip(below, 1 / (len(draws) + 1), 1 - 1 / (len(draws) + 1)))
    influence = left_out.mean() - left_out
    spread = (influence**2).sum()
    acceleration = (influence**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
    z = bias + normal_quantile([(1 - confidence) / 2, (1 + confidence) / 2])
    levels = normal_share(bias + z / np.maximum(1 - acceleration * z, 1e-3))
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
