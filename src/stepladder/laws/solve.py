"""Many robust fits of one law at once: Newton's method on the sum of losses of log residuals.

Residuals are log prediction minus log observation. With a Huber delta far below the residuals the objective
is nearly a sum of absolute values: Gauss-Newton with reweighting then creeps, while Newton's method with
the exact curvature needs some ten steps. The damping adds a multiple of the reweighted Gauss-Newton matrix,
which is positive definite and majorises the objective: heavily damped steps always descend.

Objectives are sums, not means: averaging makes tolerances too loose (Besiroglu et al. 2024, arXiv
2404.10102).

Shapes: B problems, M rows, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stepladder.laws.design import Design
from stepladder.laws.forms import Array

Norm = Literal["huber", "log_cosh", "squared"]

CHUNK = 20_000
"""Rows times problems that are worked on together: their arrays stay in the cache."""

ITERATIONS = 300
RELATIVE = 1e-12
"""A fit has converged when the next Newton step promises less than this share of the objective."""

ABSOLUTE = 1e-27
"""The same per row, for data that a law fits exactly."""

LONGEST = 3.0
"""No step changes a logarithm or an exponent by more."""


@dataclass(frozen=True)
class Robust:
    """How residuals count."""

    delta: float = 1e-3
    """Where counting turns from squared to linear, in log loss."""
    norm: Norm = "huber"
    above: float = 1.0
    """Factor on residuals of rows that lie above the law: below 1, undertuned runs pull less."""

    def __call__(self, r: Array) -> tuple[Array, Array, Array, Array]:
        """Loss, first and second derivative, and the weight w for which w r^2 / 2 majorises it."""
        size = np.abs(r)
        if self.norm == "squared":
            one = np.ones_like(r)
            loss, first, second, weight = 0.5 * r * r, r, one, one
        elif self.norm == "huber":
            first = np.clip(r, -self.delta, self.delta)
            loss, second = first * (r - 0.5 * first), (first == r).astype(float)
            weight = self.delta / np.maximum(size, self.delta)
        else:
            t = np.tanh(r / self.delta)
            loss = self.delta**2 * (np.logaddexp(r / self.delta, -r / self.delta) - np.log(2))
            first, second = self.delta * t, 1 - t * t
            weight = np.where(size > 1e-12, first / np.where(size > 1e-12, r, 1.0), 1.0)
        if self.above != 1.0:
            factor = np.where(r < 0, self.above, 1.0)
            loss, first, second, weight = loss * factor, first * factor, second * factor, weight * factor
        return loss, first, second, weight


@dataclass(frozen=True)
class Solution:
    """Where B searches ended."""

    theta: Array
    """(B, P)."""
    objective: Array
    """(B,)."""
    converged: npt.NDArray[np.bool_]
    """(B,)."""


def solve(
    design: Design, log_loss: Array, start: Array, robust: Robust, weight: Array | None = None
) -> Solution:
    """Minimise sum_m weight_m * rho(log prediction_m - log_loss_m) from each start.

    Args:
        log_loss: (M,) or one per problem (B, M).
        start: (B, P).
        weight: (M,) or (B, M), for instance how often a bootstrap drew each row; default 1.
    """
    B, M = len(start), design.matrix.shape[1]
    y = np.broadcast_to(log_loss, (B, M))
    w = np.broadcast_to(1.0 if weight is None else weight, (B, M))
    size = max(1, CHUNK // M)
    parts = [
        _solve(design, y[i : i + size], start[i : i + size], robust, w[i : i + size])
        for i in range(0, B, size)
    ]
    theta, objective, converged = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Solution(theta, objective, converged)


def objective(
    design: Design, log_loss: Array, theta: Array, robust: Robust, weight: Array | None = None
) -> Array:
    """(B,) the sum that `solve` minimises, at theta (B, P)."""
    w = np.broadcast_to(1.0 if weight is None else weight, (len(theta), design.matrix.shape[1]))
    y = np.broadcast_to(log_loss, w.shape)
    parts = [
        (w[:, rows] * robust(part.predict(theta) - y[:, rows])[0]).sum(axis=1) for rows, part in design.blocks
    ]
    return np.asarray(sum(parts[1:], start=parts[0]))


def _solve(
    design: Design, y: Array, start: Array, robust: Robust, w: Array
) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    theta = np.clip(start, design.low, design.high)
    value = objective(design, y, theta, robust, w)
    damping = np.full(len(theta), 1e-2)
    converged = np.zeros(len(theta), dtype=bool)
    active = np.flatnonzero(np.isfinite(value))
    gradient, newton, majorant = derivatives(design, y[active], theta[active], robust, w[active])
    enough = ABSOLUTE * w.sum(axis=1)
    for _ in range(ITERATIONS):
        trial, promise = _step(design, theta[active], gradient, newton, majorant, damping[active])
        reached = objective(design, y[active], trial, robust, w[active])
        better = (reached <= value[active]) & (promise >= 0)
        # A small promise under light damping is the whole distance to the optimum.
        done = (
            (promise >= 0)
            & (promise <= RELATIVE * value[active] + enough[active])
            & (damping[active] <= 1e-2)
        )
        stuck = damping[active] > 1e12
        taken = active[better]
        theta[taken], value[taken] = trial[better], reached[better]
        damping[active] = np.where(better, np.maximum(damping[active] / 10, 1e-9), damping[active] * 8)
        converged[active] = done
        going = ~(done | stuck)
        if not going.any():
            break
        changed = better & going
        if changed.any():
            rows = active[changed]
            fresh = derivatives(design, y[rows], theta[rows], robust, w[rows])
            gradient[changed], newton[changed], majorant[changed] = fresh
        active, gradient, newton, majorant = active[going], gradient[going], newton[going], majorant[going]
    return theta, value, converged


def derivatives(
    design: Design, y: Array, theta: Array, robust: Robust, w: Array
) -> tuple[Array, Array, Array]:
    """Gradient (B, P), Hessian (B, P, P), and the reweighted Gauss-Newton matrix (B, P, P)."""
    parts = [_derivatives(part, y[:, rows], theta, robust, w[:, rows]) for rows, part in design.blocks]
    gradient, newton, majorant = (sum(column[1:], start=column[0]) for column in zip(*parts, strict=True))
    return gradient, newton, majorant


def _derivatives(
    design: Design, y: Array, theta: Array, robust: Robust, w: Array
) -> tuple[Array, Array, Array]:
    """`derivatives` of rows that are worked on at once."""
    K, M, P = design.matrix.shape
    log_prediction, share = design.predict_shares(theta)
    jacobian = slopes(design, share)
    _, first, second, weight = robust(log_prediction - y)
    first, second, weight = w * first, w * second, w * weight
    transposed = jacobian.transpose(0, 2, 1)
    gradient = (jacobian @ first[:, :, None])[:, :, 0]
    majorant = (jacobian * weight[:, None]) @ transposed
    newton = (jacobian * (second - first)[:, None]) @ transposed
    # d2 log L = sum_k share_k t_k t_k' - J J', for terms whose logs are linear in theta.
    if len(theta) > 1:
        newton += ((share * first[:, None]).reshape(-1, K * M) @ design.outer).reshape(-1, P, P)
    else:
        # The products of the matrix' rows are not worth making, and with many rows they are large.
        for k, columns in enumerate(design.by_column):
            newton[0] += (columns * (share[0, k] * first[0])) @ columns.T
    return gradient, newton, majorant


def slopes(design: Design, share: Array) -> Array:
    """d log L / d theta (B, P, M), from the terms' shares (B, K, M) of L."""
    _, M, P = design.matrix.shape
    jacobian = np.zeros((len(share), P, M))
    for k, p in design.present:
        jacobian[:, p] += share[:, k] * design.by_column[k, p]
    return jacobian


def _along(matrix: Array, gradient: Array, edge: Array, beyond: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """The Newton step that takes some parameters to their lower bound and the others to where these then want
    to be, and the decrease it promises. To cut the plain step there instead would leave the others on the way
    to compensate for a move that is not made, which no damping mends.
    """
    P = matrix.shape[1]
    fixed = np.where(beyond, edge, 0.0)
    right = -gradient - (matrix @ fixed[:, :, None])[:, :, 0]
    held = np.where(beyond[:, :, None] | beyond[:, None, :], np.eye(P), matrix)
    scaled = np.linalg.solve(held, np.where(beyond, edge, right)[:, :, None])[:, :, 0]
    curved = (scaled[:, None] @ matrix @ scaled[:, :, None])[:, 0, 0]
    return scaled, -(gradient * scaled).sum(axis=1) - 0.5 * curved


def _straight(design: Design, theta: Array) -> Array:
    """theta in the coordinates of `_step`: E itself, logs of positive powers."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(
            design.is_floor,
            np.exp(np.where(design.is_floor, theta, 0.0)),
            np.where(design.is_positive_power, np.log(theta), theta),
        )


def _step(
    design: Design, theta: Array, gradient: Array, newton: Array, majorant: Array, damping: Array
) -> tuple[Array, Array]:
    """Where damped Newton steps lead (B, P) and the decrease that each promises (B,); negative for an ascent.

    Steps are taken in coordinates in which the valley of such laws is nearly straight: what the data tell
    is the loss (E + A) and its slope (A alpha), so E itself, log A and log alpha; in log E a step from 0.01
    to 0.5 would be longer than all others. A parameter at its bound that wants to leave is held.
    """
    P = theta.shape[1]
    floor, power = design.is_floor, design.is_positive_power
    value = np.where(floor, np.exp(np.where(floor, theta, 0.0)), theta)
    # theta = phi(u): phi' and phi'' of log u (floors), exp u (positive powers) and u (the others).
    slope = np.where(floor, 1 / value, np.where(power, theta, 1.0))
    bend = np.where(floor, -1 / value**2, np.where(power, theta, 0.0))
    free = ~(((theta <= design.low) & (gradient > 0)) | ((theta >= design.high) & (gradient < 0)))
    diagonal = np.einsum("bpp->bp", majorant)
    # In units of each parameter's own curvature; a parameter may have no effect at all on a replicate.
    unit = free / np.sqrt(diagonal + 1e-20 * diagonal.max(axis=1, keepdims=True) + 1e-250)
    matrix = (newton + damping[:, None, None] * majorant) * unit[:, :, None] * unit[:, None, :]
    matrix[:, np.arange(P), np.arange(P)] += np.where(
        free, 1e-13 + 1e-9 * damping[:, None] + gradient * bend * (unit / slope) ** 2, 1.0
    )
    scaled = -np.linalg.solve(matrix, (gradient * unit)[:, :, None])[:, :, 0]
    promise = -0.5 * (gradient * unit * scaled).sum(axis=1)
    edge = (_straight(design, design.low) - _straight(design, theta)) * slope / np.where(free, unit, 1.0)
    beyond = free & (scaled < edge) & (gradient > 0)
    if (some := beyond.any(axis=1)).any():
        scaled[some], promise[some] = _along(matrix[some], (gradient * unit)[some], edge[some], beyond[some])
    step = unit * scaled / slope
    longest = np.abs(step).max(axis=1, keepdims=True)
    step = step * np.minimum(1.0, LONGEST / np.maximum(longest, 1e-300))
    with np.errstate(invalid="ignore"):
        moved = np.where(
            floor,
            np.log(np.maximum(value + step, 1e-300)),
            np.where(power, theta * np.exp(step), theta + step),
        )
    return np.clip(moved, design.low, design.high), promise
