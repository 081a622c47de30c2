"""Newton's method for the compute law of many variants that share a floor.

Given the floor E every variant stands on its own. The Hessian is therefore an arrow: a corner for E, a
2 x 2 block for each variant's (log A, log alpha), and the edge that couples them to E. Eliminating the
blocks (their Schur complement is a number) makes a step, like everything else here, cost a fixed amount per
cell and per variant. Objective, damping, bounds and the test for convergence are those of `solve`, which
solves the same problems as dense ones.

Shapes: N problems, V variants, M cells, P = 1 + 2V parameters. Problems are the last axis: what is done to
a cell is done to all problems at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from stepladder.laws.forms import Array, compute
from stepladder.laws.solve import ABSOLUTE, ITERATIONS, LONGEST, RELATIVE, Robust

AT_ONCE = 20_000
"""Cells times problems that are worked on together: their arrays stay in the cache."""


@dataclass(frozen=True)
class Arrow:
    """The cells that the laws are fitted to.

    Parameters u (P, N) are E, then log A and then log alpha of each variant: in these coordinates the
    valley of such laws is nearly straight (see `solve`).
    """

    x: Array
    """(M,) log of the cost in units of the geometric mean."""
    variant: npt.NDArray[np.int64]
    """(M,) from 0 to V-1."""
    V: int
    floor: float | None = None
    """E where it is pinned, nats/token."""

    @cached_property
    def moments(self) -> sparse.csr_array:
        """(3V, M): sums over each variant's cells, then the same weighted by x, then by x^2."""
        M = len(self.x)
        rows = np.concatenate([self.variant + k * self.V for k in range(3)])
        data = np.concatenate([self.x**k for k in range(3)])
        return sparse.csr_array((data, (rows, np.tile(np.arange(M), 3))), shape=(3 * self.V, M))

    @cached_property
    def first_moments(self) -> sparse.csr_array:
        """(2V, M): the first two of `moments`."""
        return self.moments[: 2 * self.V]

    def sums(self, values: Array) -> Array:
        """(3, V, ...) moments of values (M, ...)."""
        flat = self.moments @ values.reshape(len(self.x), -1)
        return np.asarray(flat.reshape(3, self.V, *values.shape[1:]))

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """(P, 1) each: the lowest and highest u."""
        E, A, alpha = compute().parameters
        ends = []
        for bound in ("low", "high"):
            own = np.log([getattr(A, bound), getattr(alpha, bound)]).repeat(self.V)
            ends.append(np.r_[getattr(E, bound) if self.floor is None else self.floor, own][:, None])
        return ends[0], ends[1]

    def excess(self, u: Array) -> Array:
        """(M, N) what each cell's loss has above the floor, nats/token."""
        V = self.V
        excess = np.exp(u[V + 1 :])[self.variant]
        excess *= -self.x[:, None]
        excess += u[1 : V + 1][self.variant]
        return np.exp(excess, out=excess)


@dataclass(frozen=True)
class Ends:
    """Where N searches ended."""

    u: Array
    """(P, N)."""
    objective: Array
    """(N,)."""
    converged: npt.NDArray[np.bool_]
    """(N,)."""


def minimise(
    arrow: Arrow, log_loss: Array, column: npt.NDArray[np.int64], start: Array, robust: Robust
) -> Ends:
    """Minimise sum_m rho(log prediction_m - log_loss_m) from each start.

    A fixed number of problems is worked on; where one ends, the next begins.

    Args:
        log_loss: (M, R) losses, one column per replicate.
        column: (N,) which of these each problem is about.
        start: (P, N).
    """
    low, high = arrow.bounds
    M, N = len(arrow.x), start.shape[1]
    found = Ends(np.empty_like(start), np.full(N, np.inf), np.zeros(N, dtype=bool))
    at = np.arange(min(N, max(1, AT_ONCE // M)))
    begun = len(at)
    trial = np.clip(start[:, at], low, high)
    u, value, y = trial, np.full(len(at), np.inf), log_loss[:, column[at]]
    steps, damping, promise = np.zeros(len(at), dtype=int), np.full(len(at), 0.1), np.zeros(len(at))
    sums = np.zeros((3 + 12 * arrow.V, len(at)))
    while len(at):
        with np.errstate(over="ignore", invalid="ignore"):  # an absurd step: its NaN is not taken
            reached, fresh = evaluate(arrow, y, trial, robust)
        better = (reached <= value) & (promise >= 0)
        u, value = np.where(better, trial, u), np.where(better, reached, value)
        sums = np.where(better, fresh, sums)
        next_damping = np.where(better, np.maximum(damping / 10, 1e-9), damping * 8)
        damping = np.where(steps == 0, damping, next_damping)
        trial, promise = step(arrow, u, sums, damping)
        steps += 1
        # A small promise under light damping is the whole distance to the optimum.
        done = (promise >= 0) & (promise <= RELATIVE * value + ABSOLUTE * M) & (damping <= 1e-2)
        ended = done | (damping > 1e12) | (steps > ITERATIONS) | ~np.isfinite(value)
        if not ended.any():
            continue
        places = np.flatnonzero(ended)
        found.u[:, at[places]], found.objective[at[places]] = u[:, places], value[places]
        found.converged[at[places]] = done[places]
        new = np.arange(begun, min(N, begun + len(places)))
        begun += len(new)
        filled = places[: len(new)]
        at[filled], y[:, filled] = new, log_loss[:, column[new]]
        u[:, filled] = trial[:, filled] = np.clip(start[:, new], low, high)
        value[filled], damping[filled], promise[filled], steps[filled] = np.inf, 0.1, 0.0, 0
        if len(filled) < len(places):
            keep = np.delete(np.arange(len(at)), places[len(new) :])
            at, value, damping, promise, steps = (v[keep] for v in (at, value, damping, promise, steps))
            u, y, trial, sums = u[:, keep], y[:, keep], trial[:, keep], sums[:, keep]
    return found


def evaluate(arrow: Arrow, y: Array, u: Array, robust: Robust) -> tuple[Array, Array]:
    """The objective (N,) at u (P, N) for log losses y (M, N), and the sums that `step` needs of it.

    With i = 1/L, s = the power's share of L, c = rho', q = rho'' - rho' and w the majorising weight, the sums
    are those of c i, q i^2, w i^2 (over all cells); c s, q i s, w i s (per variant, and weighted by x);
    q s^2 + c s, w s^2 (weighted by x and x^2 too).
    """
    M, N = y.shape
    power = arrow.excess(u)
    loss = power + u[0]
    inverse = 1 / loss
    share = np.multiply(power, inverse, out=power)
    residual = np.log(loss, out=loss)
    residual -= y
    rho, first, second, weight = robust(residual)
    second -= first
    twice, thrice = np.empty((M, 3, N)), np.empty((M, 2, N))
    pull = np.multiply(first, share, out=twice[:, 0])
    corner = [(first * inverse).sum(axis=0)]
    for k, curvature in enumerate((second, weight)):
        edge = curvature * inverse
        corner.append((edge * inverse).sum(axis=0))
        np.multiply(edge, share, out=twice[:, 1 + k])
        np.multiply(curvature, share, out=edge)
        np.multiply(edge, share, out=thrice[:, k])
    thrice[:, 0] += pull
    low = (arrow.first_moments @ twice.reshape(M, 3 * N)).reshape(-1, N)
    high = (arrow.moments @ thrice.reshape(M, 2 * N)).reshape(-1, N)
    return rho.sum(axis=0), np.concatenate([np.stack(corner), low, high])


def step(arrow: Arrow, u: Array, sums: Array, damping: Array) -> tuple[Array, Array]:
    """Where damped Newton steps lead (P, N) and the decrease that each promises (N,); negative for an ascent.

    A parameter at its bound that wants to leave is held.
    """
    V, N = arrow.V, u.shape[1]
    alpha = np.exp(u[V + 1 :])
    pull, edge, edge_majorant = sums[3 : 3 + 6 * V].reshape(2, V, 3, N).transpose(2, 0, 1, 3)
    block, block_majorant = sums[3 + 6 * V :].reshape(3, V, 2, N).transpose(2, 0, 1, 3)
    gradient = np.concatenate([sums[:1], pull[0], -alpha * pull[1]])
    low, high = arrow.bounds
    held = ((u <= low) & (gradient > 0)) | ((u >= high) & (gradient < 0)) | (low == high)
    free = ~held
    # Newton's matrix plus damping times the majorant.
    diagonal = np.concatenate([sums[2:3], block_majorant[0], alpha**2 * block_majorant[2]])
    ridge = (1e-13 + 1e-9 * damping) * (diagonal + 1e-20 * diagonal.max(axis=0) + 1e-250)
    matrix = np.concatenate([sums[1:2], block[0], alpha**2 * block[2] - alpha * pull[1]])
    matrix = np.where(free, matrix + damping * diagonal + ridge, 1.0)
    gradient = gradient * free
    free_A, free_alpha = free[1 : V + 1], free[V + 1 :]
    bA = (edge[0] + damping * edge_majorant[0]) * free_A * free[0]
    balpha = -alpha * (edge[1] + damping * edge_majorant[1]) * free_alpha * free[0]
    cross = -alpha * (block[1] + damping * block_majorant[1]) * free_A * free_alpha
    # Each variant's block is solved for its own gradient and for its edge; then E, then back.
    mA, malpha = matrix[1 : V + 1], matrix[V + 1 :]
    gA, galpha = gradient[1 : V + 1], gradient[V + 1 :]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        determinant = mA * malpha - cross**2
        ownA, ownalpha = (
            (malpha * gA - cross * galpha) / determinant,
            (mA * galpha - cross * gA) / determinant,
        )
        viaA, viaalpha = (
            (malpha * bA - cross * balpha) / determinant,
            (mA * balpha - cross * bA) / determinant,
        )
        corner = matrix[0] - (bA * viaA + balpha * viaalpha).sum(axis=0)
        dE = -(gradient[0] - (bA * ownA + balpha * ownalpha).sum(axis=0)) / corner
        move = np.concatenate([dE[None], -ownA - viaA * dE, -ownalpha - viaalpha * dE])
        promise = -0.5 * (gradient * move).sum(axis=0)
        move *= np.minimum(1.0, LONGEST / np.maximum(np.abs(move).max(axis=0), 1e-300))
        return np.clip(u + move, low, high), promise
