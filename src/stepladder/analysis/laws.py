"""The compute law L(C) = E + A * C^(-alpha), fitted for all variants of a ladder at once.

The objective is the sum (not the mean: averaging makes tolerances too loose, Besiroglu et al. 2024,
arXiv 2404.10102) of Huber losses of log residuals over cells, a cell being one variant at one cost
(Hoffmann et al. 2022, arXiv 2203.15556, approach 3). From few rungs the floor E is barely identified,
so it is shared by the variants of a ladder unless asked otherwise: they read the same text.

All fits of a bootstrap are solved together: Levenberg-Marquardt on iteratively reweighted least
squares, vectorised over the replicates and the starts, with analytic derivatives.

Shapes: B problems (replicates x starts), V variants, M cells, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Floor = Literal["shared", "free"] | float

FLOOR_STARTS = (0.02, 0.3, 0.5, 0.65, 0.8, 0.9, 0.96)
"""Starting floors as shares of the smallest loss; given E, the rest starts at a log-log regression."""

NEARBY_STARTS = (0.5, 0.9)
"""Floors tried in replicates, besides the start at the point estimate."""

TOLERANCE = 1e-9
"""Largest relative step of a parameter at which a fit counts as converged."""

AGREE = 1e-6
"""Starts whose objective is within this share of the best count as agreeing."""


@dataclass(frozen=True)
class Fits:
    """Laws of V variants in each of B replicates. C is in units of `unit`."""

    E: Array
    """(B, V), nats/token."""
    A: Array
    """(B, V), nats/token at C = unit."""
    alpha: Array
    """(B, V)."""
    unit: float
    """Cost at which the law is L = E + A."""
    objective: Array
    """(B,)."""
    converged: npt.NDArray[np.bool_]
    """(B,): the last step changed no parameter by more than TOLERANCE of its size."""
    agreeing: npt.NDArray[np.int64]
    """(B,): starts that ended at the best objective."""
    starts: int
    theta: Array
    """(B, P) the solver's parameters, for starting other fits nearby."""

    def predict(self, cost: Array) -> Array:
        """Losses (B, V, K) at costs (K,)."""
        x = np.log(np.asarray(cost, dtype=float) / self.unit)
        power = np.exp(-self.alpha[:, :, None] * x)
        return np.asarray(self.E[:, :, None] + self.A[:, :, None] * power)


def fit_laws(
    cost: Array,
    log_loss: Array,
    variant: npt.NDArray[np.int64],
    floor: Floor,
    delta: float,
    near: Fits | None = None,
) -> Fits:
    """Fit every replicate.

    Args:
        cost: (M,) cost of each cell, any unit.
        log_loss: (B, M) log of the loss of each cell in each replicate.
        variant: (M,) variant of each cell, 0 to V-1.
        floor: "shared", "free" or a pinned E in nats/token.
        delta: Huber's delta on log loss.
        near: the point estimate from the same cells; replicates then need fewer starts.

    Raises:
        ValueError: the cells cannot identify the parameters; the message says why.
    """
    cost, log_loss = np.asarray(cost, dtype=float), np.atleast_2d(log_loss)
    V = int(variant.max()) + 1
    _check_identified(cost, variant, V, floor)
    if near is None and isinstance(floor, float | int) and floor >= np.exp(log_loss.min()):
        raise ValueError(
            f"the floor {floor:g} is not below the smallest loss {np.exp(log_loss.min()):.4g}: "
            "lower analysis.floor"
        )
    unit = float(np.exp(np.log(cost).mean()))
    x = np.log(cost / unit)
    shares: tuple[float, ...] = FLOOR_STARTS if near is None else NEARBY_STARTS
    if isinstance(floor, float | int):
        shares = shares[:1]  # the floor is given, so they would all be the same
    guesses = [_start(x, log_loss, variant, V, floor, share) for share in shares]
    if near is not None:
        guesses.append(np.repeat(near.theta, len(log_loss), axis=0))
    starts = np.stack(guesses, axis=1)
    B, S, P = starts.shape
    repeated = np.repeat(log_loss, S, axis=0)
    theta, objective, moved = _solve(starts.reshape(-1, P), x, repeated, variant, V, floor, delta)
    objective = objective.reshape(B, S)
    best = objective.argmin(axis=1)
    rows = np.arange(B)
    theta = theta.reshape(B, S, P)[rows, best]
    e, a, log_alpha = _unpack(theta, V, floor)
    return Fits(
        E=np.exp(e),
        A=np.exp(a),
        alpha=np.exp(log_alpha),
        unit=unit,
        objective=objective[rows, best],
        converged=moved.reshape(B, S)[rows, best] <= TOLERANCE,
        agreeing=(objective <= objective[rows, best, None] * (1 + AGREE) + 1e-18).sum(axis=1),
        starts=S,
        theta=theta,
    )


def _check_identified(cost: Array, variant: npt.NDArray[np.int64], V: int, floor: Floor) -> None:
    """Refuse what cannot be fitted.

    Raises:
        ValueError: too few distinct costs.
    """
    distinct = [len(np.unique(cost[variant == v])) for v in range(V)]
    needed = 3 if floor == "free" else 2
    cells, unknowns = sum(distinct), 2 * V + (V if floor == "free" else floor == "shared")
    if min(distinct) < needed or cells < unknowns or (floor == "shared" and max(distinct) < 3):
        raise ValueError(
            f"{cells} cells at {min(distinct)} to {max(distinct)} costs per variant cannot identify "
            f"{unknowns} parameters (floor: {floor}): add rungs, or pin analysis.floor"
        )


def _unpack(theta: Array, V: int, floor: Floor) -> tuple[Array, Array, Array]:
    """theta (B, P) to log E, log A and log alpha, each (B, V)."""
    a, log_alpha, rest = theta[:, :V], theta[:, V : 2 * V], theta[:, 2 * V :]
    if floor == "shared":
        e = np.repeat(rest, V, axis=1)
    elif floor == "free":
        e = rest
    else:
        e = np.full_like(a, np.log(max(float(floor), 1e-300)))
    return e, a, log_alpha


def _start(
    x: Array, log_loss: Array, variant: npt.NDArray[np.int64], V: int, floor: Floor, share: float
) -> Array:
    """Parameters (B, P) from a regression of log(L - E) on log C at E = share * smallest loss."""
    B = len(log_loss)
    loss = np.exp(log_loss)
    E = np.full((B, V), float(floor)) if isinstance(floor, float | int) else np.empty((B, V))
    for v in range(V):
        if floor == "free":
            E[:, v] = share * loss[:, variant == v].min(axis=1)
        elif floor == "shared":
            E[:, v] = share * loss.min(axis=1)
    a, log_alpha = np.empty((B, V)), np.empty((B, V))
    for v in range(V):
        mine = variant == v
        y = np.log(np.maximum(loss[:, mine] - E[:, v, None], 1e-3 * loss[:, mine]))
        centred = x[mine] - x[mine].mean()
        slope = (y * centred).sum(axis=1) / (centred**2).sum()
        a[:, v] = y.mean(axis=1) - slope * x[mine].mean()
        log_alpha[:, v] = np.log(np.clip(-slope, 1e-3, 5))
    tail = np.log(E) if floor == "free" else np.log(E[:, :1]) if floor == "shared" else np.empty((B, 0))
    return np.concatenate([a, log_alpha, tail], axis=1)


def _solve(
    theta: Array,
    x: Array,
    log_loss: Array,
    variant: npt.NDArray[np.int64],
    V: int,
    floor: Floor,
    delta: float,
    iterations: int = 400,
) -> tuple[Array, Array, Array]:
    """Levenberg-Marquardt with Huber weights: parameters (B, P), objectives (B,), last relative step (B,)."""
    theta = theta.copy()
    B, P = theta.shape
    damping = np.full(B, 1e-3)
    residual, jacobian = _residuals(theta, x, log_loss, variant, V, floor)
    objective = huber(residual, delta).sum(axis=1)
    moved = np.full(B, np.inf)
    active = np.arange(B)
    identity = np.eye(P)
    for _ in range(iterations):
        r, J = residual[active], jacobian[active]
        weight = np.minimum(1.0, delta / np.maximum(np.abs(r), 1e-300))
        JW = J * weight[:, :, None]
        normal = np.einsum("bmp,bmq->bpq", JW, J)
        gradient = np.einsum("bmp,bm->bp", JW, r)
        # Never quite zero: a replicate may lie below a pinned floor, where nothing moves the prediction.
        scale = np.maximum(np.einsum("bpp->bp", normal).max(axis=1)[:, None, None] * 1e-12, 1e-200)
        diagonal = normal * identity + scale * identity
        step = -np.linalg.solve(normal + damping[active, None, None] * diagonal, gradient[:, :, None])[
            :, :, 0
        ]
        trial = theta[active] + np.clip(step, -2, 2)
        trial[:, V : 2 * V] = np.clip(trial[:, V : 2 * V], np.log(1e-4), np.log(20))
        new_residual, new_jacobian = _residuals(trial, x, log_loss[active], variant, V, floor)
        new_objective = huber(new_residual, delta).sum(axis=1)
        better = new_objective <= objective[active]
        taken = active[better]
        moved[taken] = (np.abs(trial[better] - theta[taken]) / np.maximum(1.0, np.abs(theta[taken]))).max(
            axis=1
        )
        theta[taken], objective[taken] = trial[better], new_objective[better]
        residual[taken], jacobian[taken] = new_residual[better], new_jacobian[better]
        damping[active] = np.clip(np.where(better, damping[active] / 5, damping[active] * 4), 1e-12, 1e12)
        # A rejected step under heavy damping is smaller than the tolerance: nothing is left to gain.
        moved[active[~better & (damping[active] > 1e10)]] = 0.0
        active = active[moved[active] > TOLERANCE]
        if len(active) == 0:
            break
    return theta, objective, moved


def _residuals(
    theta: Array, x: Array, log_loss: Array, variant: npt.NDArray[np.int64], V: int, floor: Floor
) -> tuple[Array, Array]:
    """Log residuals (B, M) and their derivatives (B, M, P), by log-sum-exp of the two terms."""
    e, a, log_alpha = (part[:, variant] for part in _unpack(theta, V, floor))
    power = a - np.exp(log_alpha) * x
    predicted = np.logaddexp(e, power)
    share = np.exp(power - predicted)  # of the power term in the predicted loss
    B, M = share.shape
    jacobian = np.zeros((B, M, theta.shape[1]))
    cells = np.arange(M)
    jacobian[:, cells, variant] = share
    jacobian[:, cells, V + variant] = -share * np.exp(log_alpha) * x
    if floor == "shared":
        jacobian[:, :, 2 * V] = 1 - share
    elif floor == "free":
        jacobian[:, cells, 2 * V + variant] = 1 - share
    return predicted - log_loss, jacobian


def huber(residual: Array, delta: float) -> Array:
    """r^2 / 2 up to delta, then delta * (|r| - delta / 2)."""
    size = np.abs(residual)
    return np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))
