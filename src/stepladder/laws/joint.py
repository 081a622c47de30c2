"""The compute law L(C) = E + A C^-alpha of all variants of a ladder at once, in every replicate of a
bootstrap.

From few rungs the floor E is barely identified, so the variants of a ladder share it unless asked
otherwise: they read the same text. With floors of their own, or a pinned one, each variant is fitted alone.

Shapes: B replicates, V variants, M cells, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stepladder.laws.arrow import Arrow, Ends, minimise
from stepladder.laws.arrow_starts import screen, search_nearby
from stepladder.laws.compute_law import compute_loss
from stepladder.laws.forms import Array
from stepladder.laws.solve import Robust
from stepladder.laws.starts import AGREE

Floor = Literal["shared", "free"] | float


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
    """(B,)."""
    agreeing: npt.NDArray[np.int64]
    """(B,): starts that ended at the best objective; of variants that are fitted alone, the fewest."""
    starts: int
    """Starts that were polished in each replicate."""
    theta: Array
    """(B, P) the free parameters: E (one, or one per variant, or none), log A, log alpha."""

    def predict(self, cost: Array) -> Array:
        """Losses (B, V, K) at costs (K,)."""
        E, A, alpha = (values[:, :, None] for values in (self.E, self.A, self.alpha))
        return compute_loss(E, A, alpha, cost, self.unit)

    def predict_variant(self, v: int, cost: Array) -> Array:
        """Losses (B, K) of variant v at costs (K,)."""
        E, A, alpha = (values[:, v, None] for values in (self.E, self.A, self.alpha))
        return compute_loss(E, A, alpha, cost, self.unit)


def fit_laws(
    cost: Array,
    log_loss: Array,
    variant: npt.NDArray[np.int64],
    floor: Floor,
    delta: float,
    near: Fits | None = None,
    variants: int | None = None,
) -> Fits:
    """Fit every replicate.

    Args:
        cost: (M,) cost of each cell, any unit.
        log_loss: (B, M) log of the loss of each cell in each replicate.
        variant: (M,) variant of each cell, 0 to V-1.
        floor: "shared", "free" or a pinned E in nats/token.
        delta: Huber's delta on log loss.
        variants: V, where the last variants may have no cell left; default: as `variant` has.
        near: the point estimate from the same cells; replicates then begin there.

    Raises:
        ValueError: the cells cannot identify the parameters; the message says why.
    """
    cost, log_loss = np.asarray(cost, dtype=float), np.atleast_2d(log_loss)
    if len(cost) == 0:
        raise ValueError("no rung is left to fit")
    V = int(variant.max()) + 1 if variants is None else variants
    _check_identified(cost, variant, V, floor)
    pinned = None if isinstance(floor, str) else float(floor)
    if near is None and pinned is not None and pinned >= np.exp(log_loss.min()):
        raise ValueError(
            f"the floor {pinned:g} is not below the smallest loss {np.exp(log_loss.min()):.4g}: "
            "lower analysis.floor"
        )
    log_unit = float(np.log(cost).mean())
    x = np.log(cost) - log_unit
    groups = [list(range(V))] if floor == "shared" else [[v] for v in range(V)]
    parts = []
    for group in groups:
        mine = np.isin(variant, group)
        arrow = Arrow(x[mine], variant[mine] - group[0], len(group), pinned)
        y = np.ascontiguousarray(log_loss[:, mine].T)
        parts.append(_search(arrow, y, Robust(delta), None if near is None else _point(near, group)))
    found, agreeing, starts = zip(*parts, strict=True)
    E = np.concatenate([ends.u[:1] for ends in found]).T
    log_A, log_alpha = (
        np.concatenate([ends.u[1:].reshape(2, -1, len(log_loss))[k] for ends in found]).T for k in (0, 1)
    )
    return Fits(
        E=np.broadcast_to(E, log_A.shape),
        A=np.exp(log_A),
        alpha=np.exp(log_alpha),
        unit=float(np.exp(log_unit)),
        objective=np.sum([ends.objective for ends in found], axis=0),
        converged=np.all([ends.converged for ends in found], axis=0),
        agreeing=np.min(agreeing, axis=0),
        starts=min(starts),
        theta=np.concatenate([E if pinned is None else E[:, :0], log_A, log_alpha], axis=1),
    )


def _point(near: Fits, group: list[int]) -> Array:
    """(P,) parameters of the variants in `group`, as the solver has them."""
    return np.concatenate([near.E[0, group[:1]], np.log(near.A[0, group]), np.log(near.alpha[0, group])])


def _search(
    arrow: Arrow, log_loss: Array, robust: Robust, point: Array | None
) -> tuple[Ends, npt.NDArray[np.int64], int]:
    """The optimum in each replicate, log losses (M, B): from the point estimate (P,) or from scratch. How
    many starts agree (B,) and how many there were."""
    B = log_loss.shape[1]
    if point is not None:
        found, tried = search_nearby(arrow, log_loss, point, robust)
        return found, np.ones(B, dtype=np.int64), tried
    starts = [screen(arrow, y, robust) for y in log_loss.T]
    S = starts[0].shape[1]
    found = minimise(arrow, log_loss, np.repeat(np.arange(B), S), np.concatenate(starts, axis=1), robust)
    objective = found.objective.reshape(B, S)
    best = objective.argmin(axis=1) + S * np.arange(B)
    value = found.objective[best]
    agreeing = (objective <= value[:, None] * (1 + AGREE) + 1e-18).sum(axis=1)
    return Ends(found.u[:, best], value, found.converged[best]), agreeing, S


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
