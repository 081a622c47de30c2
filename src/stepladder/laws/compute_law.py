"""The compute law L(C) = E + A (C / unit)^-alpha: the one place that evaluates it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepladder.laws.forms import Array


def compute_loss(
    E: npt.ArrayLike, A: npt.ArrayLike, alpha: npt.ArrayLike, cost: npt.ArrayLike, unit: float = 1.0
) -> Array:
    """Loss, nats/token, at `cost`: parameters and costs are numbers or arrays that broadcast.

    Args:
        E: the floor, nats/token.
        A: loss above the floor at C = unit, nats/token.
        cost: C, in the unit of `unit` (FLOPs, seconds or tokens).
    """
    # The power as an exponential of logs: a ratio of costs cannot overflow.
    return np.asarray(E + A * np.exp(-np.asarray(alpha) * np.log(np.asarray(cost, dtype=float) / unit)))
