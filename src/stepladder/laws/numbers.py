"""Numbers that go into documents: finite or null, and intervals of draws."""

from __future__ import annotations

import numpy as np

from stepladder.laws.forms import Array

Interval = tuple[float | None, float | None]
"""(low, high); an end that is infinite or not known is None, null in JSON."""

MISFIT_LEVEL = 0.05
"""Level of the test for lack of fit."""


def finite(value: float) -> float | None:
    """A number for JSON: None if it is infinite or NaN."""
    return float(value) if np.isfinite(value) else None


def percentile_interval(draws: Array | None, confidence: float) -> Interval | None:
    """(low, high) by percentiles; an infinite end is None; None without draws.

    A draw that is NaN could be anything: it counts as very low at the low end, as very high at the high.
    """
    if draws is None:
        return None
    tail = (1 - confidence) / 2
    unknown = np.isnan(draws)
    # Nearest ranks: interpolating between a finite and an infinite draw would give NaN.
    low = np.quantile(np.where(unknown, -np.inf, draws), tail, method="nearest")
    high = np.quantile(np.where(unknown, np.inf, draws), 1 - tail, method="nearest")
    return finite(low), finite(high)
