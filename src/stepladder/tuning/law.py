"""The law of the optimum: how the best learning rate goes with scale.

It is of the optimum's factor on the ruled rate: ln(factor) = intercept + slope ln(quantity), by least
squares weighted with each bowl's standard error. Where the rule is a power of the quantity that makes the
optimal rate itself a power law; and where a rule also depends on the budget, as it says, so does the rate.
Intervals are by the delta method, with Student's t at the degrees of freedom of the noise.

Shapes: M usable bowls, P coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stepladder.laws.distributions import f_quantile, t_quantile
from stepladder.laws.forms import Array
from stepladder.laws.numbers import MISFIT_LEVEL
from stepladder.tuning.swept import Swept

Method = Literal["own", "shared", "rule"]

METHODS: dict[Method, str] = {
    "own": "an exponent per variant",
    "shared": "one exponent for all variants, because fewer than three rungs have a bowl to fit",
    "rule": "the ladder's rule times a factor per variant, because one rung has a bowl: its exponent is the "
    "rule's, and the intervals do not hold its error",
}
"""How the optimum goes with scale, by the number of rungs that tell."""


def fit_law(swept: Sequence[Swept], confidence: float) -> OptimumLaw | None:
    """The optimum's law through bowls that have one; None without any.

    Where the optima scatter about the law by more than their errors explain (F-test at 5 %), a rung's optimum
    is uncertain by more than its bowl shows: the covariance grows by that ratio, and t is at its degrees of
    freedom.
    """
    if not swept:
        return None
    variants = list(dict.fromkeys(one.variant for one in swept))
    sizes = {v: len({one.quantity for one in swept if one.variant == v}) for v in variants}
    V = len(variants)
    method: Method
    if min(sizes.values()) >= 3:
        method, slope_of = "own", {variant: V + i for i, variant in enumerate(variants)}
    elif max(sizes.values()) >= 2:
        method, slope_of = "shared", dict.fromkeys(variants, V)
    else:
        method, slope_of = "rule", {}
    P = V + len(set(slope_of.values()))
    centre = float(np.mean([math.log(one.quantity) for one in swept]))
    empty = OptimumLaw(method, variants, slope_of, np.zeros(P), None, math.nan, centre, None, False)
    X = np.stack([empty.row(one.variant, math.log(one.quantity)) for one in swept])
    y = np.array([one.log_factor for one in swept])
    known = [one.noise.dof for one in swept if one.noise]
    if len(known) < len(swept):
        coefficients = np.linalg.lstsq(X, y)[0]
        return OptimumLaw(method, variants, slope_of, coefficients, None, math.nan, centre, None, False)
    errors = np.array([_se(one) for one in swept])
    covariance = np.linalg.inv((X / errors[:, None] ** 2).T @ X)
    coefficients = covariance @ (X.T @ (y / errors**2))
    free, dof, scatter, widened = len(y) - P, min(known), None, False
    if free:
        scatter = float((((y - X @ coefficients) / errors) ** 2).sum()) / free
        widened = bool(scatter > f_quantile(1 - MISFIT_LEVEL, free, dof))
    if widened and scatter is not None:
        covariance, dof = covariance * scatter, free
    t = t_quantile((1 + confidence) / 2, dof)
    return OptimumLaw(method, variants, slope_of, coefficients, covariance, t, centre, scatter, widened)


def _se(one: Swept) -> float:
    assert one.optimum is not None and one.optimum.se is not None
    return one.optimum.se


@dataclass(frozen=True)
class OptimumLaw:
    """ln(factor) over ln(quantity): an intercept per variant, and slopes as the method has them."""

    method: Method
    variants: list[str]
    slope_of: dict[str, int]
    """Variant to the index of its slope; empty for the method `rule`."""
    coefficients: Array
    """(P,)"""
    covariance: Array | None
    """(P, P); None where the noise is unknown."""
    t: float
    """Quantile for the intervals."""
    centre: float
    """ln(quantity) at the intercepts."""
    scatter: float | None
    """Chi-square per degree of freedom of the optima about the law; None without one."""
    widened: bool
    """Whether the scatter is more than the bowls' errors explain, and the intervals hold it."""

    def row(self, variant: str, log_quantity: float) -> Array:
        """(P,) of the design matrix."""
        row = np.zeros(len(self.coefficients))
        row[self.variants.index(variant)] = 1.0
        if variant in self.slope_of:
            row[self.slope_of[variant]] = log_quantity - self.centre
        return row

    def predict(self, variant: str, quantity: float) -> tuple[float, float | None]:
        """ln(factor), and half the width of its interval."""
        row = self.row(variant, math.log(quantity))
        half = None
        if self.covariance is not None:
            half = self.t * math.sqrt(float(row @ self.covariance @ row))
        return float(row @ self.coefficients), half

    def slope(self, variant: str) -> tuple[float, float | None]:
        """Exponent of the factor, and half the width of its interval; 0 by the method `rule`."""
        if variant not in self.slope_of:
            return 0.0, None
        at = self.slope_of[variant]
        half = None if self.covariance is None else self.t * math.sqrt(float(self.covariance[at, at]))
        return float(self.coefficients[at]), half
