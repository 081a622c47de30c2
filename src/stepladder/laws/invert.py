"""The compute law backwards: from a loss to its cost, and what is said of a gain whose logarithm is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepladder.laws.compute_law import compute_loss
from stepladder.laws.forms import Array
from stepladder.laws.numbers import finite, percentile_interval


def predict(law: dict[str, Any], unit: float, cost: Any) -> Array:
    """E + A (C / unit)^-alpha of `law` (E, A, alpha: numbers or arrays of replicates)."""
    return compute_loss(law["E"], law["A"], law["alpha"], cost, unit)


def log_invert(law: dict[str, Any], unit: float, loss: Any) -> Array:
    """Log of the cost at which `law` (E, A, alpha: numbers or arrays of replicates) reaches `loss`.

    Infinite at the law's floor. In logs nothing under- or overflows, however flat a replicate's law is.
    """
    E, A, alpha = (np.asarray(law[key], dtype=float) for key in ("E", "A", "alpha"))
    excess = np.asarray(loss, dtype=float) - E
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(excess > 0, np.log(unit) + (np.log(A) - np.log(excess)) / alpha, np.inf))


def invert(law: dict[str, Any], unit: float, loss: Any) -> Array:
    """Cost at which `law` (E, A, alpha: numbers or arrays of replicates) reaches `loss`; inf at its floor."""
    with np.errstate(over="ignore"):
        return np.exp(log_invert(law, unit, loss))


def summarize(log_point: float, log_draws: Array | None, confidence: float) -> dict[str, Any]:
    """{gain, interval, undefined_share} of a gain whose logs are given; null where it is infinite."""
    return {
        "gain": finite(exp(log_point)),
        "interval": interval(log_draws, confidence),
        "undefined_share": None if log_draws is None else float((~np.isfinite(log_draws)).mean()),
    }


def exp(value: Any) -> Any:
    """Without a warning where it is infinite."""
    with np.errstate(over="ignore"):
        return np.exp(value)


def interval(log_draws: Array | None, confidence: float) -> list[float | None] | None:
    """Percentiles are the same in logs: the exponential is taken of the ends."""
    ends = percentile_interval(log_draws, confidence)
    return None if ends is None else [None if end is None else finite(exp(end)) for end in ends]
