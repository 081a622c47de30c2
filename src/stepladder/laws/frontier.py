"""What the two approaches without a loss law (isoflop.py, envelope.py) have in common.

Both give N* = k C^a and D* = k' C^b, with C in FLOPs, N in parameters, D in tokens and natural logs of k.

Shapes: M rows of a profile, G profiles, R runs, K bins, B bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepladder.documents.document import Part
from stepladder.laws.document import TableFit
from stepladder.laws.forms import Array
from stepladder.laws.inputs import refuse_inputs
from stepladder.laws.numbers import Interval, finite, percentile_interval

NAMES = ("a", "log_k", "b", "log_k_tokens")
"""Parameters of the two power laws, in the order of every (B, 4) array here."""

SAME_SIZE = 1e-3
"""Sizes within this relative distance are one size: a parabola through them would follow rounding."""


def gap_groups(values: Array, gap: float) -> npt.NDArray[np.int64]:
    """Group of each value (M,), smallest first; sorted neighbours more than a relative `gap` apart part.

    `values` are logs.
    """
    order = np.argsort(values, kind="stable")
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.cumsum(np.diff(values[order], prepend=values[order[:1]]) > np.log1p(gap))
    return group


def power_laws(x: Array, log_size: Array, log_tokens: Array, weight: Array | None = None) -> Array:
    """(B, 4) by least squares of log N* and log D* (B, G) on log C (G,), leaving out NaN; NaN where fewer
    than two are left.

    Args:
        weight: (G,) of each, in proportion to the inverse of its variance; default 1.
    """
    use = np.isfinite(log_size) * (1.0 if weight is None else weight / weight.max())
    count = (use > 0).sum(axis=1, keepdims=True)
    total = use.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (use * x).sum(axis=1, keepdims=True) / total
        dx = np.where(count > 1, x - mean, 0.0)
        columns = []
        for y in (log_size, log_tokens):
            y = np.where(use > 0, y, 0.0)
            slope = (use * dx * y).sum(axis=1) / (use * dx**2).sum(axis=1)
            columns += [slope, (use * y).sum(axis=1) / total[:, 0] - slope * mean[:, 0]]
    return np.stack(columns, axis=1)


def scatter(x: Array, log_size: Array, variance: Array) -> float:
    """Variance of log N* (G,) about a power law in log C (G,) beyond its own variances (G,), by moments
    (DerSimonian & Laird 1986, Control. Clin. Trials 7:177, with a slope). 0 where there is none, and with two
    profiles, which tell nothing of it."""
    weight = variance.min() / variance
    X = np.stack([np.ones_like(x), x - x.mean()], axis=1)
    inverse = np.linalg.inv(X.T @ (weight[:, None] * X))
    residual = log_size - X @ (inverse @ (X.T @ (weight * log_size)))
    excess = (weight * residual**2).sum() - variance.min() * (len(x) - 2)
    free = weight.sum() - np.trace(inverse @ (X.T @ (weight[:, None] ** 2 * X)))
    return float(max(0.0, excess / free)) if len(x) > 2 else 0.0


class FrontierTarget(Part):
    """Compute-optimal size and tokens at one budget."""

    flops: float
    """The budget, FLOPs."""
    extrapolated: bool
    """Whether the budget lies outside those that were fitted."""
    parameters: float | None
    """N*; null where it is infinite."""
    parameters_interval: Interval | None
    """Of N*; an end that is null is infinite or unknown."""
    tokens: float | None
    """D*."""
    tokens_interval: Interval | None
    """Of D*; an end that is null is infinite or unknown."""


class PowerLaws(Part):
    """N* = exp(log_k) C^a and D* = exp(log_k_tokens) C^b with their uncertainty."""

    parameters: dict[str, float | None]
    """`a`, `log_k`, `b` and `log_k_tokens`."""
    standard_errors: dict[str, float | None] | None
    """Standard deviations over the draws; null with fewer than two draws."""
    intervals: dict[str, Interval | None] | None
    """Percentile intervals; null with fewer than two draws."""
    confidence: float
    """Coverage of the intervals."""
    draws: int
    """Bootstrap draws."""
    draws_failed: int
    """Draws without a fit, which count in nothing."""
    targets: tuple[FrontierTarget, ...]
    """Sizes at the budgets that were asked for."""


class FrontierFit(PowerLaws, TableFit):
    """What both approaches leave behind."""

    reason: None = None
    """Always null: a table that cannot be fitted is an error that says why."""


def refuse_targets(targets: Sequence[float]) -> None:
    """Raises:
    ValueError: a budget is not a finite number above 0.
    """
    for flops in targets:
        refuse_inputs({"flops": flops})


def summary(point: Array, drawn: Array, confidence: float, targets: Sequence[float], x: Array) -> PowerLaws:
    """What both approaches report of their power laws: estimates (4,), draws (B, 4), log budgets fitted x."""
    kept = drawn[np.isfinite(drawn).all(axis=1)]
    enough = len(kept) > 1

    def interval(values: Array) -> Interval | None:
        return percentile_interval(values, confidence) if enough else None

    def at(flops: float, slope: int) -> tuple[float | None, Interval | None]:
        # In logs: an absurd draw overflows to infinity, which percentile_interval writes as null.
        with np.errstate(over="ignore"):
            value = finite(np.exp(point[slope + 1] + point[slope] * np.log(flops)))
            return value, interval(np.exp(kept[:, slope + 1] + kept[:, slope] * np.log(flops)))

    rows = []
    for flops in targets:
        (size, size_interval), (tokens, tokens_interval) = at(flops, 0), at(flops, 2)
        rows.append(
            FrontierTarget(
                flops=flops,
                extrapolated=bool(not x.min() <= np.log(flops) <= x.max()),
                parameters=size,
                parameters_interval=size_interval,
                tokens=tokens,
                tokens_interval=tokens_interval,
            )
        )
    named = list(enumerate(NAMES))
    return PowerLaws(
        parameters={name: float(point[p]) for p, name in named},
        standard_errors={name: float(kept[:, p].std(ddof=1)) for p, name in named} if enough else None,
        intervals={name: interval(kept[:, p]) for p, name in named} if enough else None,
        confidence=confidence,
        draws=len(drawn),
        draws_failed=len(drawn) - len(kept),
        targets=rows,
    )
