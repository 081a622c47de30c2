"""The bootstrap of tables of many rows: in blocks, with single Newton steps where clusters are many.

A draw's fit is about one step of Newton's method from the optimum, with the draw's own gradient and
curvature (Davidson & MacKinnon 1999, Int. Econ. Rev. 40:487; Andrews 2002, Econometrica 70:119). How good
that is depends on the number of clusters, whatever the rows: with thousands, draws are close to the optimum
and close to a parabola; with tens, some steps lead nowhere. Few clusters are therefore always fitted in
full. That takes a fraction of a second per draw and 200,000 rows: ask for fewer draws, not for worse ones.

Shapes: M rows, P parameters, B bootstrap draws, G clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from stepladder.laws.design import Design
from stepladder.laws.forms import Array
from stepladder.laws.solve import LONGEST, Robust, Solution, objective, slopes, solve
from stepladder.laws.starts import Found, search_nearby

STEPPED = 2000
"""Clusters up to which every draw is fitted in full."""

CHECKED = 16
"""Draws that are fitted in full where the others may be single steps."""

SEARCHED = 2
"""Of these, draws that are searched from other starts too: the more clusters, the closer the draws."""

SEARCHED_OF_FEW = 0.05
"""Share of the draws that are searched from other starts where clusters are few."""

CLOSE = 0.25
"""Single steps stand if the worst of those checked ends within this many standard errors (interquartile
range of the draws fitted in full, over 1.349) of the full fit, in every parameter."""

KEPT = 0.5
"""A step is believed if the objective fell by this share of what its parabola promised."""

DOUBTED = 0.05
"""Share of steps not to be believed beyond which none is."""

LOWER = 1e-6
"""An optimum lower by this share is another one."""

LEFT_OUT = 200
"""Clusters up to which the law is fitted without each; beyond, influence values stand for that."""

DRAWN = 4_000_000
"""Rows times draws whose weights are held at once."""

CURVATURES = 20_000_000
"""The most numbers that the clusters' Hessians may have together."""


@dataclass(frozen=True)
class LargeTable:
    """A fit to many rows, of which clusters are drawn again and again."""

    design: Design
    log_loss: Array
    """(M,)."""
    found: Found
    """The fit to all rows."""
    robust: Robust
    cluster: npt.NDArray[np.int64]
    """(M,) from 0 to G - 1."""

    @cached_property
    def G(self) -> int:
        """Clusters."""
        return int(self.cluster.max()) + 1

    def draw(self, draws: int, seed: int) -> tuple[Solution, float]:
        """Fits to `draws` samples of clusters, and the share of those searched from other starts in which one
        of these ended lower.

        `converged` has as many entries as draws were fitted in full: nobody knows it of the others.
        """
        theta, value, believed = self._steps(draws, seed)
        stepped = self.G > STEPPED and 1 - believed.mean() <= DOUBTED
        full = ~believed if stepped else np.ones(draws, dtype=bool)
        full[:CHECKED] = True
        begun = theta.copy()
        # A step that is not believed may lead to another optimum.
        begun[~believed] = self.found.theta
        searched = min(draws, SEARCHED if stepped else max(1, int(SEARCHED_OF_FEW * draws)))
        ends = Solution(theta, value, np.zeros(draws, dtype=bool))
        lower = self._refit(ends, begun, np.flatnonzero(full), searched, seed)
        apart = np.abs(theta - begun)[:CHECKED][believed[:CHECKED]]
        if stepped and not full.all() and (lower or not _close(apart, theta[:CHECKED])):
            self._refit(ends, begun, np.flatnonzero(~full), 0, seed)
            full[:] = True
        if lower:
            self._search(ends, np.arange(searched, draws), seed)
        return Solution(theta, value, ends.converged[full]), lower / searched

    def left_out(self) -> Array:
        """(G, P) fits without one cluster each. Of many clusters, their empirical influence values in place
        of the differences: they give the acceleration of the BCa interval as well (Efron 1987, section 6)."""
        G, P, theta = self.G, len(self.found.theta), self.found.theta
        if G > LEFT_OUT:
            score, curvature = self._by_cluster
            return theta + _solve_symmetric(curvature.sum(axis=0).reshape(1, P, P), score)
        ends = np.empty((G, P))
        for g in range(G):
            weight = (self.cluster != g).astype(float)
            ends[g] = solve(self.design, self.log_loss, theta[None], self.robust, weight).theta[0]
        return ends

    def blocks_of_counts(self, draws: int, seed: int) -> Iterator[tuple[slice, Array]]:
        """How often each draw has each cluster, (n, G), for some draws at a time, and which draws these are.
        The same seed gives the same counts again: nobody need keep them. Blocks are small enough for one
        weight per row, of which there are at least as many as clusters."""
        generator, G = np.random.default_rng(seed), self.G
        size = max(1, DRAWN // len(self.cluster))
        for i in range(0, draws, size):
            n = min(size, draws - i)
            counts = [np.bincount(generator.integers(0, G, G), minlength=G) for _ in range(n)]
            yield slice(i, i + n), np.array(counts, dtype=float)

    def _steps(self, draws: int, seed: int) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
        """Where single steps lead (B, P), the objective there (B,), and whether to believe them (B,): not if
        they are long, or end beyond a bound, or the objective did not fall as it should have."""
        score, curvature = self._by_cluster
        design, P = self.design, len(self.found.theta)
        rho = self.robust(design.predict(self.found.theta[None])[0] - self.log_loss)[0]
        before = np.bincount(self.cluster, rho, minlength=self.G)
        theta, value, believed = np.empty((draws, P)), np.empty(draws), np.empty(draws, dtype=bool)
        for here, counts in self.blocks_of_counts(draws, seed):
            gradient = counts @ score
            hessian = counts @ curvature if len(curvature) > 1 else curvature
            step = -_solve_symmetric(hessian.reshape(-1, P, P), gradient)
            end = np.clip(self.found.theta + step, design.low, design.high)
            value[here] = objective(design, self.log_loss, end, self.robust, counts[:, self.cluster])
            fell, promise = counts @ before - value[here], -0.5 * (gradient * step).sum(axis=1)
            inside = (end == self.found.theta + step).all(axis=1)
            short = np.abs(step).max(axis=1) <= LONGEST
            theta[here], believed[here] = end, inside & short & (promise >= 0) & (fell >= KEPT * promise)
        return theta, value, believed

    def _refit(
        self, ends: Solution, begun: Array, draws: npt.NDArray[np.int64], searched: int, seed: int
    ) -> int:
        """Fit `draws` in full from begun (B, P), into `ends`, the first `searched` from other starts too; in
        how many of these one ended lower."""
        lower = 0
        for mine, weight in self._weights(draws, len(begun), seed):
            near = solve(self.design, self.log_loss, begun[mine], self.robust, weight)
            _keep(ends, mine, near)
            if (some := mine < searched).any():
                other = self._nearby(weight[some])
                better = other.objective < near.objective[some] * (1 - LOWER)
                lower += int(better.sum())
                chosen = Solution(other.theta[better], other.objective[better], other.converged[better])
                _keep(ends, mine[some][better], chosen)
        return lower

    def _search(self, ends: Solution, draws: npt.NDArray[np.int64], seed: int) -> None:
        """Search `draws` from other starts too, and keep in `ends` what is better."""
        for mine, weight in self._weights(draws, len(ends.theta), seed):
            other = self._nearby(weight)
            better = other.objective < ends.objective[mine]
            chosen = Solution(other.theta[better], other.objective[better], other.converged[better])
            _keep(ends, mine[better], chosen)

    def _nearby(self, weight: Array) -> Solution:
        return search_nearby(self.design, self.log_loss, self.robust, self.found.theta[None], weight)

    def _weights(
        self, chosen: npt.NDArray[np.int64], draws: int, seed: int
    ) -> Iterator[tuple[npt.NDArray[np.int64], Array]]:
        """Of the chosen draws some at a time, with their rows' weights (n, M)."""
        for here, counts in self.blocks_of_counts(draws, seed):
            mine = chosen[(chosen >= here.start) & (chosen < here.stop)]
            if len(mine):
                yield mine, counts[mine - here.start][:, self.cluster]

    @cached_property
    def _by_cluster(self) -> tuple[Array, Array]:
        """What each cluster adds to the gradient (G, P) and to the Hessian (G, P * P) of the objective; of
        the Hessian only the sum, (1, P * P), where all would be too large."""
        P, G = len(self.found.theta), self.G
        score, curvature = np.zeros((G, P)), np.zeros((G if G * P * P <= CURVATURES else 1, P * P))
        for rows, part in self.design.blocks:
            log_prediction, share = part.predict_shares(self.found.theta[None])
            jacobian = slopes(part, share)[0].T
            _, first, second, _ = (v[0] for v in self.robust(log_prediction - self.log_loss[rows]))
            bend = np.einsum("km,kmp,kmq->mpq", share[0] * first, part.matrix, part.matrix, optimize=True)
            newton = (second - first)[:, None, None] * jacobian[:, :, None] * jacobian[:, None, :] + bend
            here = self.cluster[rows]
            member = sparse.csr_array(
                (np.ones(len(here)), (here, np.arange(len(here)))), shape=(G, len(here))
            )
            score += member @ (first[:, None] * jacobian)
            flat = newton.reshape(-1, P * P)
            curvature += member @ flat if len(curvature) > 1 else flat.sum(axis=0)
        return score, curvature


def _keep(ends: Solution, draws: npt.NDArray[np.int64], found: Solution) -> None:
    """Put what was found for some draws in its place."""
    ends.theta[draws], ends.objective[draws] = found.theta, found.objective
    ends.converged[draws] = found.converged


def _close(apart: Array, full: Array) -> bool:
    """Whether steps end where the draws' full fits (n, P) do, from their distances (up to n, P): the worst
    counts."""
    low, high = np.quantile(full, [0.25, 0.75], axis=0)
    return bool((apart <= CLOSE * (high - low) / 1.349 + 1e-9).all())


def _solve_symmetric(matrix: Array, right: Array) -> Array:
    """Solutions (n, P) of matrix (n, P, P) x = right (n, P), scaled to a diagonal of ones."""
    size = np.sqrt(np.maximum(np.abs(np.einsum("npp->np", matrix)), 1e-300))
    scaled = matrix / size[:, :, None] / size[:, None, :]
    return np.asarray((np.linalg.pinv(scaled, hermitian=True) @ (right / size)[:, :, None])[:, :, 0] / size)
