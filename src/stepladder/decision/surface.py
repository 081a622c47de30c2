"""A variant's loss over size and data, what its runs cost, and what a budget is best spent on by the two.

Shapes: B bootstrap draws, the first of which is the estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from stepladder.laws.forms import Array
from stepladder.laws.law_fit import LawFit

NAMES = ("E", "A", "B", "alpha", "beta")

POWERS = np.array([0.0, -1 / 3, -2 / 3])
"""Of N in C/(N D) where width goes with depth: layers, attention over the context, the head."""

REACH = 40.0
"""Sizes are looked for within so many e-folds of the runs'; what lies beyond is none, or infinite."""


class CostCurve(NamedTuple):
    """FLOPs per parameter and token over size: a sum of `POWERS`, or one over such a sum.

    Head and attention weigh less in larger models, so that C/(N D) falls; where N counts the embedding as
    well it may rise. Either way it goes to a constant, which a power law fitted to small models would pass.
    """

    coefficients: Array
    """(3,), not negative."""
    rises: bool
    """Whether the sum is that of its inverse."""
    middle: float
    """Parameters at which every power is 1."""

    @classmethod
    def of(cls, runs: pd.DataFrame) -> CostCurve:
        """Through runs with parameters, tokens and flops: least squares of relative errors."""
        N = runs["parameters"].to_numpy(float)
        ratio = runs["flops"].to_numpy(float) / N / runs["tokens"].to_numpy(float)
        middle = float(np.exp(np.log(N).mean()))
        terms = (N / middle)[:, None] ** POWERS
        (falling, left), (rising, left_rising) = (
            nnls(terms / y[:, None], np.ones_like(y)) for y in (ratio, 1 / ratio)
        )
        rises = bool(left_rising < left)
        return cls(rising if rises else falling, rises, middle)

    def __call__(self, N: Array) -> Array:
        """C/(N D)."""
        total = self._terms(N).sum(axis=-1)
        return np.asarray(1 / total if self.rises else total)

    def slope(self, N: Array) -> Array:
        """Its exponent in N there."""
        terms = self._terms(N)
        slope = (terms @ POWERS) / terms.sum(axis=-1)
        return np.asarray(-slope if self.rises else slope)

    def _terms(self, N: Array) -> Array:
        return np.asarray(self.coefficients * (N / self.middle)[..., None] ** POWERS)


@dataclass(frozen=True)
class Surface:
    """L(N, D) = E + A N^-alpha + B D^-beta of one variant, and what its runs cost.

    All of (B,) but the cost; the first is the estimate, the others are draws.
    """

    E: Array
    A: Array
    B: Array
    alpha: Array
    beta: Array
    cost: CostCurve

    @classmethod
    def of(cls, fit: LawFit, variant: str, runs: pd.DataFrame) -> Surface:
        """The law of a variant among those of `fit`, and the cost of its runs."""
        known, draws = fit.parameters | fit.pinned, fit.draws or {}
        n = max((len(drawn) for drawn in draws.values()), default=0)

        def values(name: str) -> Array:
            key = next(key for key in (f"{name}[{variant}]", name) if key in known)
            return np.array([known[key], *draws.get(key, [known[key]] * n)], dtype=float)

        E, A, B, alpha, beta = map(values, NAMES)
        return cls(E, A, B, alpha, beta, CostCurve.of(runs))

    def loss(self, N: Array, D: Array) -> Array:
        """(B,) nats/token."""
        return np.asarray(self.E + self.A * N**-self.alpha + self.B * D**-self.beta)

    def best(self, flops: Array) -> tuple[Array, Array]:
        """(B,) N* and D* at a budget; 0 and infinite where only ever smaller sizes would be better, or the
        other way round."""
        N = self._size(lambda N: self._where_best(N)[1], flops)
        return N, self.tokens_of(flops, N)

    def tokens_of(self, flops: Array, N: Array) -> Array:
        """(B,) tokens that a budget buys N parameters."""
        with np.errstate(divide="ignore", invalid="ignore"):
            bought = flops / (self.cost(N) * N)
        return np.select([N == 0, np.isinf(N)], [np.inf, 0.0], bought)

    def flops_for(self, loss: Array) -> Array:
        """(B,) FLOPs at which the best sizes reach a loss; infinite below the floor."""
        N = self._size(lambda N: -self._where_best(N)[0], -loss)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return np.select([N == 0, np.isinf(N)], [0.0, np.inf], self._where_best(N)[1])

    def tokens_for(self, loss: Array, N: Array) -> Array:
        """(B,) tokens at which N parameters reach a loss; infinite where they never do."""
        return _power(loss - self.E - self.A * N**-self.alpha, self.B, -1 / self.beta)

    def parameters_for(self, loss: Array, D: Array) -> Array:
        """(B,) parameters with which D tokens reach a loss; infinite where none do."""
        return _power(loss - self.E - self.B * D**-self.beta, self.A, -1 / self.alpha)

    def _where_best(self, N: Array) -> tuple[Array, Array]:
        """(B,) loss and FLOPs at the budget at which N is the best size.

        There dL/dN = 0 at fixed C = c(N) N D, so that alpha A N^-alpha = beta (1 + s) B D^-beta with s the
        exponent of c (equation 4 of Hoffmann et al. 2022, arXiv 2203.15556, where s = 0).
        """
        size = self.A * N**-self.alpha
        data = size * self.alpha / (self.beta * (1 + self.cost.slope(N)))
        D = (self.B / data) ** (1 / self.beta)
        return np.asarray(self.E + size + data), np.asarray(self.cost(N) * N * D)

    def _size(self, rising: Callable[[Array], Array], wanted: Array) -> Array:
        """(B,) N at which a function that rises with N has a value, by bisection; 0 or infinite beyond
        `REACH`, NaN where the function is."""
        middle = np.log(self.cost.middle)
        low, high = (np.full_like(self.E, middle + end) for end in (-REACH, REACH))
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            small, large = rising(np.exp(low)), rising(np.exp(high))
            none = [np.isnan(small) | np.isnan(large), small > wanted, large < wanted]
            for _ in range(60):  # to a part in 1e16 of the reach
                at = (low + high) / 2
                below = rising(np.exp(at)) < wanted
                low, high = np.where(below, at, low), np.where(below, high, at)
        return np.select(none, [np.nan, 0.0, np.inf], np.exp((low + high) / 2))


def _power(above: Array, scale: Array, power: Array) -> Array:
    """(above / scale)^power, infinite where nothing is above."""
    with np.errstate(over="ignore", divide="ignore"):
        return np.asarray(np.where(above > 0, np.maximum(above, 1e-300) / scale, 0.0) ** power)
