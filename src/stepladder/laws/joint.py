"""The compute law L(C) = E + A C^-alpha of all variants of a ladder at once, in every replicate of a
bootstrap.

From few rungs the floor E is barely identified, so the variants of a ladder share it unless asked
otherwise: they read the same text.

Shapes: B replicates, V variants, M cells, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stepladder.laws.forms import Array, compute, make_design
from stepladder.laws.solve import Robust
from stepladder.laws.starts import NEARBY, search, search_nearby

Floor = Literal["shared", "free"] | float

CANDIDATES = 1024
"""Starts that are screened for a point estimate; those worth it are polished."""


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
    """(B,): starts that ended at the best objective."""
    starts: int
    theta: Array
    """(B, P) the solver's parameters, for starting other fits nearby."""

    def predict(self, cost: Array) -> Array:
        """Losses (B, V, K) at costs (K,)."""
        x = np.log(np.asarray(cost, dtype=float) / self.unit)
        return np.asarray(self.E[:, :, None] + self.A[:, :, None] * np.exp(-self.alpha[:, :, None] * x))


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
        near: the point estimate from the same cells; replicates then need fewer starts.

    Raises:
        ValueError: the cells cannot identify the parameters; the message says why.
    """
    cost, log_loss = np.asarray(cost, dtype=float), np.atleast_2d(log_loss)
    if len(cost) == 0:
        raise ValueError("no rung is left to fit")
    V = int(variant.max()) + 1 if variants is None else variants
    _check_identified(cost, variant, V, floor)
    pinned = {} if isinstance(floor, str) else {"E": float(floor)}
    if near is None and pinned and floor >= np.exp(log_loss.min()):
        raise ValueError(
            f"the floor {floor:g} is not below the smallest loss {np.exp(log_loss.min()):.4g}: "
            "lower analysis.floor"
        )
    names = [str(v) for v in range(V)]
    shared = ["E"] if floor == "shared" else []
    design = make_design(compute("cost"), {"cost": cost}, variant, names, shared, pinned)
    robust = Robust(delta)
    if near is None:
        parts = [search(design, row, robust, CANDIDATES) for row in log_loss]
        theta, objective, converged, agreeing = (
            np.array([getattr(part, key) for part in parts])
            for key in ("theta", "objective", "converged", "agreeing")
        )
        starts = len(parts) and parts[0].polished
    else:
        found = search_nearby(design, log_loss, robust, near.theta)
        theta, objective, converged = found.theta, found.objective, found.converged
        agreeing, starts = np.ones(len(theta), dtype=np.int64), len(NEARBY)
    columns = {
        key: [design.names.index(f"{key}[{v}]" if f"{key}[{v}]" in design.names else key) for v in range(V)]
        for key in ("E", "A", "alpha")
        if key not in pinned
    }
    E = np.exp(theta[:, columns["E"]]) if "E" in columns else np.full((len(theta), V), pinned["E"])
    return Fits(
        E=E,
        A=np.exp(theta[:, columns["A"]]),
        alpha=theta[:, columns["alpha"]],
        unit=design.units["cost"],
        objective=objective,
        converged=converged,
        agreeing=agreeing,
        starts=starts,
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
