"""The compute law forwards and backwards: from a cost to its loss, and from a loss to its cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stepladder.laws.compute_law import compute_loss
from stepladder.laws.forms import Array
from stepladder.laws.inputs import refuse_inputs

Numbers = float | Array
"""A number, or an array of one number per replicate."""


@dataclass(frozen=True)
class ComputeLaw:
    """L(C) = E + A (C / unit)^-alpha, once or in every replicate of a bootstrap."""

    E: Numbers
    """Floor, nats/token."""
    A: Numbers
    """What a run of cost `unit` loses above the floor, nats/token."""
    alpha: Numbers
    unit: float
    """Cost at which the loss is E + A."""

    @property
    def column(self) -> ComputeLaw:
        """Replicates (B,) as columns (B, 1), so that they broadcast against costs (K,)."""
        E, A, alpha = (np.asarray(value)[:, None] for value in (self.E, self.A, self.alpha))
        return ComputeLaw(E, A, alpha, self.unit)


def predict(law: ComputeLaw, cost: Numbers) -> Array:
    """Loss of `law` at a cost, nats/token.

    Raises:
        ValueError: a cost is not a finite number above 0.
    """
    refuse_inputs({"cost": cost})
    return compute_loss(law.E, law.A, law.alpha, cost, law.unit)


def log_invert(law: ComputeLaw, loss: Numbers) -> Array:
    """Log of the cost at which `law` reaches `loss`.

    Infinite at the law's floor. In logs nothing under- or overflows, however flat a replicate's law is.
    """
    E, A, alpha = (np.asarray(value, dtype=float) for value in (law.E, law.A, law.alpha))
    excess = np.asarray(loss, dtype=float) - E
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(
            np.where(excess > 0, np.log(law.unit) + (np.log(A) - np.log(excess)) / alpha, np.inf)
        )


def invert(law: ComputeLaw, loss: Numbers) -> Array:
    """Cost at which `law` reaches `loss`; infinite at its floor."""
    return np.asarray(exp(log_invert(law, loss)))


def exp(value: Numbers) -> Numbers:
    """The exponential, without a warning where it is infinite."""
    with np.errstate(over="ignore"):
        return np.exp(value)
