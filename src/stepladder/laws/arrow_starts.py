"""Where searches of the compute law of many variants begin.

Given E and alpha, the best A of a variant is a regression on one column; given E, its best alpha is found on
a grid. A start is therefore a floor alone, with all variants at their best for it.

Shapes: N starts, V variants, M cells, P = 1 + 2V parameters, R exponents of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepladder.laws.arrow import AT_ONCE, Arrow, Ends, minimise
from stepladder.laws.forms import Array, compute
from stepladder.laws.solve import Robust

FLOORS = 32
"""Starts of a point estimate, all of them polished."""

EXPONENTS = 32
"""Exponents that every variant tries at every floor."""

CLOSEST = 2e-3
"""The smallest distance between a start's floor and the smallest loss, as a share of it."""

FIRST = (0.5, 1.8)
"""A replicate starts from the point estimate; if checked, also with all its exponents times these."""

FURTHER = (0.75, 1.3, 0.25, 3.0, 0.1, 5.0)
"""If that finds a better optimum anywhere, all replicates start with all exponents times these as well."""

CHECKED, CHECKED_LEAST, CHECKED_CELLS = 0.05, 40, 6000
"""Share of the replicates that are checked, the least number of them, and the least number of their cells:
small ladders, whose replicates have several optima more often, are checked in most. If that finds a better
optimum in one of them, all are, and from more starts."""

LOWER = 1e-9
"""An optimum lower by this share is a better one."""


def screen(arrow: Arrow, log_loss: Array, robust: Robust) -> Array:
    """Starts (P, N) for log losses (M,): one per floor, or per exponent where the floor is pinned."""
    low, high = (np.log(end) for end in compute().parameters[2].start)
    alpha = np.broadcast_to(np.exp(np.linspace(low, high, EXPONENTS)), (arrow.V, EXPONENTS))
    y = log_loss[:, None]
    basis = np.exp(-arrow.x[:, None] * alpha[arrow.variant] - y)
    if arrow.floor is not None:
        log_A = regress(arrow, basis, y, np.full(EXPONENTS, arrow.floor))
        return np.concatenate([np.full((1, EXPONENTS), arrow.floor), log_A, np.log(alpha)])
    starts = []
    for E in floors(log_loss):
        log_A = regress(arrow, basis, y, np.full(EXPONENTS, E))
        residual = np.log(E * np.exp(-y) + np.exp(log_A)[arrow.variant] * basis)
        best = arrow.sums(robust(residual)[0])[0].argmin(axis=1)
        mine = np.arange(arrow.V), best
        starts.append(np.concatenate([[E], log_A[mine], np.log(alpha[mine])]))
    return np.stack(starts, axis=1)


def floors(log_loss: Array) -> Array:
    """(N,) floors to start from: from none to just below the smallest loss (M,), and, lest that be an
    outlier, on to the median."""
    smallest, median = np.exp(log_loss.min()), np.exp(np.median(log_loss))
    beyond = FLOORS // 6
    below = smallest * (1 - np.geomspace(1, CLOSEST, FLOORS - beyond))
    above = np.linspace(smallest, median, beyond, endpoint=False)
    return np.asarray(np.maximum(np.concatenate([below, above]), compute().parameters[0].low))


def regress(arrow: Arrow, basis: Array, log_loss: Array, E: Array | None) -> Array:
    """Log A (V, N) by least squares of relative errors, given E (N,); E too, as the first row, if it is None.

    Args:
        basis: (M, N) (C / unit)^-alpha over the loss.
        log_loss: (M, N) or (M, 1).
    """
    inverse = np.broadcast_to(np.exp(-log_loss), basis.shape)
    one, both, square = (arrow.sums(v)[0] for v in (basis, basis * inverse, basis**2))
    if E is not None:
        return log_positive((one - E * both) / square, one / square)
    corner = (inverse**2).sum(axis=0) - (both**2 / square).sum(axis=0)
    E = (inverse.sum(axis=0) - (both * one / square).sum(axis=0)) / np.maximum(corner, 1e-300)
    smallest = np.exp(log_loss.min(axis=0))
    E = np.clip(E, 1e-3 * smallest, (1 - CLOSEST) * smallest)
    return np.concatenate([E[None], regress(arrow, basis, log_loss, E)])


def log_positive(A: Array, typical: Array) -> Array:
    """The log of A, kept above a small share of what is typical of it."""
    return np.asarray(np.log(np.maximum(A, 1e-4 * typical)))


def nearby(arrow: Arrow, log_loss: Array, point: Array, factor: float) -> Array:
    """Starts (P, N) for log losses (M, N): the point estimate (P,) with its exponents times `factor`."""
    V, N = arrow.V, log_loss.shape[1]
    alpha = np.exp(point[V + 1 :]) * factor
    power = np.exp(-alpha[arrow.variant] * arrow.x)[:, None]
    size = max(1, AT_ONCE // len(arrow.x))
    E = None if arrow.floor is None else np.full(N, arrow.floor)
    parts = []
    for i in range(0, N, size):
        y = log_loss[:, i : i + size]
        found = regress(arrow, power * np.exp(-y), y, None if E is None else E[i : i + size])
        parts.append(found if E is None else np.concatenate([E[None, i : i + size], found]))
    exponents = np.repeat(np.log(alpha)[:, None], N, axis=1)
    return np.concatenate([np.concatenate(parts, axis=1), exponents])


def search_nearby(arrow: Arrow, log_loss: Array, point: Array, robust: Robust) -> tuple[Ends, int]:
    """The optimum in each replicate, log losses (M, N), from a few starts around the point estimate (P,);
    and from how many."""
    N = log_loss.shape[1]
    found = minimise(arrow, log_loss, np.arange(N), np.repeat(point[:, None], N, axis=1), robust)
    count = min(N, max(CHECKED_LEAST, int(CHECKED * N), CHECKED_CELLS // len(arrow.x)))
    checked = np.linspace(0, N - 1, count).astype(int)
    if not improve(arrow, log_loss, found, checked, point, robust, FIRST):
        return found, 1
    others = np.setdiff1d(np.arange(N), checked)
    improve(arrow, log_loss, found, others, point, robust, FIRST)
    improve(arrow, log_loss, found, np.arange(N), point, robust, FURTHER)
    return found, 1 + len(FIRST) + len(FURTHER)


def improve(
    arrow: Arrow,
    log_loss: Array,
    found: Ends,
    columns: npt.NDArray[np.int64],
    point: Array,
    robust: Robust,
    factors: Sequence[float],
) -> bool:
    """Search replicates `columns` from the starts that `factors` on the point's exponents make, keep what is
    better, and say whether any was."""
    any_lower = False
    for factor in factors if len(columns) else ():
        start = nearby(arrow, log_loss[:, columns], point, factor)
        other = minimise(arrow, log_loss, columns, start, robust)
        before = found.objective[columns]
        lower = other.objective < before
        any_lower |= bool((other.objective < before * (1 - LOWER) - 1e-20).any())
        mine = columns[lower]
        found.u[:, mine], found.objective[mine] = other.u[:, lower], other.objective[lower]
        found.converged[mine] = other.converged[lower]
    return any_lower
