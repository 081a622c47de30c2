"""Misfit: how far cells lie off any smooth law, seed noise apart.

Two kinds, neither of which more seeds average out, and neither of which the few residuals of a ladder can
show to be absent. Every cell may be a little off, up or down: a width, a batch that the law does not know of;
its standard deviation tau, of log loss, has a half-t prior (Gelman 2006, Bayesian Analysis 1:515). And a few
cells may be undertuned: with some chance a cell's loss is too high, by a half-normal amount (a spike and a
slab; Mitchell & Beauchamp 1988, J. Am. Stat. Assoc. 83:1023). Intervals carry what the residuals leave of
both.

The residuals speak through their part that the law's parameters cannot follow (restricted likelihood;
Patterson & Thompson 1971, Biometrika 58:545), in which the law is linear around its fit. A cell that bends
the law to itself, as the largest rung does, leaves no residual to judge it by: there the prior stands. A cell
that sticks out is put back on the law. Which cells are undertuned is drawn by Gibbs sampling, because several
may explain the same residuals.

Shapes: M cells, F = M - P residual degrees of freedom, J draws of noise, G points of a grid, B draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepladder.decision.cells import Cells
from stepladder.decision.noise import SeedNoise
from stepladder.documents.document import Part
from stepladder.laws.distributions import normal_quantile, normal_share
from stepladder.laws.forms import Array
from stepladder.laws.numbers import Interval, percentile_interval
from stepladder.schema.analysis import MisfitPrior

PRIOR_DOF = 4.0
"""Of the half-t: heavy enough for a ladder whose law is of the wrong form, not so heavy that intervals are
infinite."""

GRID = np.concatenate([[0.0], np.geomspace(1e-5, 0.1, 40)])
"""Values of tau that are weighed."""

NOISE_DRAWS = 64
"""Draws of seed noise that the likelihood weighs."""

EVEN, SURE = 0.5, 0.9
"""Chances of being undertuned from which some, and all, of a cell's excess is taken from it."""

SWEEPS = 15
"""Of the sampler over all cells."""

MANY_CELLS = 100
"""Above it residuals are judged under the likeliest noise, which is well known there, since each draw of it
costs a decomposition; and cells one by one, since drawing them together would take gigabytes."""


class Misfit(Part):
    """How far cells lie off any smooth law, seed noise apart."""

    sd_log_loss: float = 0.0
    """Standard deviation of log loss over all cells: posterior median, or as given."""
    interval: Interval | None = None
    """Its posterior interval; null where it is given."""
    dof: int = 0
    """Degrees of freedom of the residuals; 0 where it is given, or rests on the prior alone."""


@dataclass(frozen=True)
class Scatter:
    """Joint posterior draws of what moves cells off their law."""

    sd: Array
    """(B, S, V) standard deviations of one run's log loss."""
    tau: Array
    """(B,) standard deviation of all cells."""
    undertuned: Array
    """(B, M) by how much the log loss of each cell is too high; mostly 0."""


@dataclass(frozen=True)
class Residuals:
    """Residuals of a law's fit, in the directions that no parameter can follow."""

    rows: npt.NDArray[np.int64]
    """(M,) numbers of the cells that the law was fitted to."""
    free: Array
    """(M, F) orthonormal directions."""
    values: Array
    """(F,) log loss less the law's."""

    @classmethod
    def of(cls, rows: npt.NDArray[np.int64], residual: Array, slopes: Array) -> Residuals:
        """Args:
        residual: (M,) log loss less the law's.
        slopes: (M, P) derivatives of the law's log loss with respect to its parameters.
        """
        scaled = slopes / np.maximum(np.abs(slopes).max(axis=0), 1e-300)
        vectors, singular, _ = np.linalg.svd(scaled, full_matrices=True)
        rank = int((singular > 1e-10 * max(singular.max(), 1e-300)).sum())
        return cls(rows, vectors[:, rank:], vectors[:, rank:].T @ residual)


def draw_scatter(
    noise: SeedNoise, cells: Cells, residuals: Residuals, draws: int, seed: int, prior: MisfitPrior
) -> Scatter:
    """Draw noise and misfit as the residuals of the law leave them."""
    generator = np.random.default_rng(seed)
    many = len(residuals.rows) > MANY_CELLS
    sd = noise.sd()[None] if many else noise.draw(generator, NOISE_DRAWS)
    shared = shared_noise(cells, noise)[np.ix_(residuals.rows, residuals.rows)]
    of_cells = sd[:, cells.step[residuals.rows], cells.variant[residuals.rows]]
    views = [View.of(residuals, shared * np.outer(own, own)) for own in of_cells]
    grid, log_prior = _grid(prior)
    log_weight = np.array([view.log_likelihood(grid, prior) for view in views]) + log_prior
    weight = np.exp(log_weight - log_weight.max()).ravel()
    support, point = np.divmod(generator.choice(len(weight), draws, p=weight / weight.sum()), len(grid))
    tau, undertuned = grid[point], _slab(generator, prior, (draws, len(cells.table)))
    if many:
        undertuned[:, residuals.rows] = _one_by_one(generator, views[0], tau, prior)
        return Scatter(noise.draw(generator, draws), tau, undertuned)
    tau, undertuned[:, residuals.rows] = _gibbs(generator, views, support, grid, log_prior, tau, prior)
    return Scatter(sd[support], tau, undertuned)


@dataclass(frozen=True)
class View:
    """Residuals as one draw of seed noise sees them: in directions where that noise is independent."""

    variance: Array
    """(F,) of the noise in each direction."""
    seen: Array
    """(F,) residual in each direction."""
    cell: Array
    """(M, F) what a cell that is off by 1 adds to it."""

    @classmethod
    def of(cls, residuals: Residuals, covariance: Array) -> View:
        """Args:
        covariance: (M, M) of the cells' seed noise.
        """
        values, vectors = np.linalg.eigh(residuals.free.T @ covariance @ residuals.free)
        return cls(np.maximum(values, 0) + 1e-20, vectors.T @ residuals.values, residuals.free @ vectors)

    def log_likelihood(self, grid: Array, prior: MisfitPrior) -> Array:
        """(G,) at every tau; undertuned cells are summed out one by one, as if the others were sound."""
        precision = 1 / (self.variance + grid[:, None] ** 2)
        log_likelihood = 0.5 * (np.log(precision) - self.seen**2 * precision).sum(axis=1)
        odds, _, _ = _slab_odds(precision @ (self.cell**2).T, (precision * self.seen) @ self.cell.T, prior)
        return np.asarray(log_likelihood + np.log1p(prior.share * (odds - 1)).sum(axis=1))


def _slab_odds(power: Array, pull: Array, prior: MisfitPrior) -> tuple[Array, Array, Array]:
    """How much likelier residuals are if a cell is undertuned, and mean and standard deviation of the normal
    whose positive part is by how much: its variance more is an update of rank one.

    Args:
        power: square of the cell's column over the noise; what an excess of 1 is worth.
        pull: product of the cell's column and the residuals over the noise.
    """
    slab = prior.by**2
    mean, sd = slab * pull / (1 + slab * power), prior.by / np.sqrt(1 + slab * power)
    log_odds = 0.5 * (mean / sd) ** 2 - 0.5 * np.log1p(slab * power)
    return 2 * normal_share(mean / sd) * np.exp(np.minimum(log_odds, 600.0)), mean, sd


def _gibbs(
    generator: np.random.Generator,
    views: Sequence[View],
    support: npt.NDArray[np.int64],
    grid: Array,
    log_prior: Array,
    tau: Array,
    prior: MisfitPrior,
) -> tuple[Array, Array]:
    """Tau (B,) and excesses (B, M) of the undertuned cells, from their joint posterior given each draw's
    noise.

    Begins with all cells sound.
    """
    variance, seen, cell = (
        np.array([getattr(view, name) for view in views])[support] for name in ("variance", "seen", "cell")
    )
    B, M, F = cell.shape
    excess = np.zeros((B, M))
    if F == 0:
        return tau, _slab(generator, prior, (B, M))
    left = seen.copy()
    for _ in range(SWEEPS):
        precision = 1 / (variance + tau[:, None] ** 2)
        for m in generator.permutation(M):
            column = cell[:, m]
            left += excess[:, m, None] * column
            weighted = precision * column
            power, pull = (weighted * column).sum(1), (weighted * left).sum(1)
            excess[:, m] = _draw_excess(generator, power, pull, prior)
            left -= excess[:, m, None] * column
        if len(grid) > 1:
            total = variance[:, None] + grid[:, None] ** 2
            log_weight = log_prior - 0.5 * (np.log(total) + left[:, None] ** 2 / total).sum(axis=2)
            # the largest of weights times exponential noise is a draw by the weights
            tau = grid[(log_weight + generator.gumbel(size=log_weight.shape)).argmax(axis=1)]
    return tau, excess


def _one_by_one(generator: np.random.Generator, view: View, tau: Array, prior: MisfitPrior) -> Array:
    """Excesses (B, M) of the cells of a large ladder, each as if the others were sound."""
    precision = 1 / (view.variance + tau[:, None] ** 2)
    power, pull = precision @ (view.cell**2).T, (precision * view.seen) @ view.cell.T
    return _draw_excess(generator, power, pull, prior)


def _draw_excess(generator: np.random.Generator, power: Array, pull: Array, prior: MisfitPrior) -> Array:
    """By how much cells are undertuned, 0 where they are not; arguments as of `_slab_odds`."""
    odds, mean, sd = _slab_odds(power, pull, prior)
    amount = _positive_normal(np.asarray(generator.random(power.shape)), mean, sd)
    hit = generator.random(power.shape) < prior.share * odds / (1 + prior.share * (odds - 1))
    return np.where(hit, amount, 0.0)


def _slab(generator: np.random.Generator, prior: MisfitPrior, shape: tuple[int, int]) -> Array:
    """Excesses by the prior alone."""
    hit = generator.random(shape) < prior.share
    return np.where(hit, prior.by * np.abs(generator.standard_normal(shape)), 0.0)


def expected_excess(scatter: Scatter) -> Array:
    """(M,) what is taken from each cell's loss before the law is fitted: by how much it is undertuned, where
    the residuals say so.

    What rests on the prior alone is not taken: it widens intervals, and moves nothing. From an even chance
    to a sure one the share that is taken grows steadily, so that no rounding decides.
    """
    chance = (scatter.undertuned > 0).mean(axis=0)
    share = np.clip((chance - EVEN) / (SURE - EVEN), 0, 1)
    return np.asarray(share * scatter.undertuned.mean(axis=0))


def describe(scatter: Scatter, free: int, confidence: float, prior: MisfitPrior) -> Misfit:
    """What a fit's document says of it."""
    if prior.exactly is not None:
        return Misfit(sd_log_loss=prior.exactly)
    interval = percentile_interval(scatter.tau, confidence)
    return Misfit(sd_log_loss=float(np.median(scatter.tau)), interval=interval, dof=free)


def shared_noise(cells: Cells, noise: SeedNoise) -> Array:
    """(M, M) covariance of the cells' mean log losses in units of one run's standard deviations: what
    variants of a rung have in common through the seeds that both ran."""
    M = len(cells.table)
    found = np.zeros((M, M))
    for step in np.unique(cells.step):
        here = np.flatnonzero(cells.step == step)
        seeds = [cells.seeds[cell] for cell in here]
        common = np.array([[len(np.intersect1d(a, b)) / (len(a) * len(b)) for b in seeds] for a in seeds])
        v = cells.variant[here]
        found[np.ix_(here, here)] = noise.correlation[np.ix_(v, v)] * common
    return found


def _grid(prior: MisfitPrior) -> tuple[Array, Array]:
    """Values of tau and their log prior weights (G,)."""
    if prior.exactly is not None:
        return np.array([prior.exactly]), np.zeros(1)
    # each point stands for a width: the grid is geometric but for its first
    widths = np.r_[GRID[1], np.gradient(GRID[1:])]
    density = -(PRIOR_DOF + 1) / 2 * np.log1p((GRID / prior.scale) ** 2 / PRIOR_DOF)
    return GRID, density + np.log(widths)


def _positive_normal(share: Array, mean: Array, sd: Array) -> Array:
    """Quantiles of normals that are cut off below 0."""
    below = normal_share(-mean / sd)
    return np.maximum(mean + sd * normal_quantile(np.clip(below + share * (1 - below), 1e-300, 1 - 1e-16)), 0)
