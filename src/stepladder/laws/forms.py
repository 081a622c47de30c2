"""Scaling laws as sums of products of powers.

Every law here has the form

    L(x) = sum over terms k of  c_k * product over inputs j of  x_j ^ (exponent_kj),

with coefficients c_k > 0 and exponents that are plus or minus a parameter. So log L is a log-sum-exp of
functions that are linear in theta = (logs of coefficients, exponents): value, gradient and curvature are
exact and cost a few matrix products, also for thousands of fits at once. A new law is a new function below
that returns a `Law`, and its name in `LAWS`.

Laws are bound to rows, and their parameters to columns, in `design`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stepladder.laws.inputs import refuse_inputs

Array = npt.NDArray[np.float64]

LOSS = "nats/token"


@dataclass(frozen=True)
class Parameter:
    """A number that is fitted."""

    name: str
    unit: str
    low: float
    high: float
    positive: bool
    """Solved for as a logarithm."""
    start: tuple[float, float] = (0.0, 0.0)
    """Range in which starting values of an exponent are spread; coefficients follow from them."""


def coefficient(name: str) -> Parameter:
    """A positive factor of a term, whose bounds are far from anything that is met. In the solver's units it
    is what the term adds to the loss at typical inputs, nats/token."""
    return Parameter(name, LOSS, 1e-60, 1e60, positive=True)


def exponent(
    name: str, low: float = 1e-4, high: float = 20.0, start: tuple[float, float] = (0.03, 1.5)
) -> Parameter:
    """A power; positive unless `low` says otherwise."""
    return Parameter(name, "none", low, high, positive=False, start=start)


@dataclass(frozen=True)
class Term:
    """coefficient * product of input^(sign * exponent)."""

    coefficient: str
    powers: tuple[tuple[str, int, str], ...] = ()
    """(input, sign, exponent's name)."""


@dataclass(frozen=True)
class Law:
    """A law: what it needs, its parameters, its terms, where it comes from."""

    name: str
    formula: str
    source: str
    inputs: tuple[str, ...]
    """Columns of the table; positive, in the units of docs/analysis.md."""
    parameters: tuple[Parameter, ...]
    terms: tuple[Term, ...]

    @property
    def names(self) -> list[str]:
        """Of the parameters, in order."""
        return [p.name for p in self.parameters]

    def loss(self, values: Mapping[str, Any], inputs: Mapping[str, Any]) -> Array:
        """The formula itself, nats/token: parameters and inputs are numbers or arrays that broadcast.

        Raises:
            ValueError: an input is missing, or means nothing (`inputs.refuse_inputs`).
        """
        if missing := [name for name in self.inputs if name not in inputs]:
            raise ValueError(f"the {self.name} law needs {', '.join(self.inputs)}: give {', '.join(missing)}")
        refuse_inputs({name: inputs[name] for name in self.inputs})
        total: Any = 0.0
        for term in self.terms:
            logs = sum(
                sign * np.asarray(values[power]) * np.log(inputs[name]) for name, sign, power in term.powers
            )
            with np.errstate(divide="ignore"):
                total = total + np.exp(np.log(np.asarray(values[term.coefficient], dtype=float)) + logs)
        return np.asarray(total)


E = Parameter("E", LOSS, 1e-4, 1e3, positive=True)
"""The floor. At its lower bound it is no different from 0, and the data do not bound it."""


def compute(cost: str = "flops") -> Law:
    """Loss along a ladder with one rule for size and budget: a power of compute (or another cost) above a
    floor."""
    return Law(
        name="compute",
        formula="E + A C^-alpha",
        source="Kaplan et al. 2020 (arXiv 2001.08361); with a floor, Henighan et al. 2020 (arXiv 2010.14701)",
        inputs=(cost,),
        parameters=(E, coefficient("A"), exponent("alpha")),
        terms=(Term("E"), Term("A", ((cost, -1, "alpha"),))),
    )


def chinchilla() -> Law:
    """Loss by size and data, approach 3 of Hoffmann et al. 2022."""
    return Law(
        name="chinchilla",
        formula="E + A N^-alpha + B D^-beta",
        source="Hoffmann et al. 2022 (arXiv 2203.15556), section 3.3",
        inputs=("parameters", "tokens"),
        parameters=(E, coefficient("A"), coefficient("B"), exponent("alpha"), exponent("beta")),
        terms=(
            Term("E"),
            Term("A", (("parameters", -1, "alpha"),)),
            Term("B", (("tokens", -1, "beta"),)),
        ),
    )


def overtraining() -> Law:
    """Loss by compute C and token multiplier M = D/N: equal exponents of size and data make the curves of all
    multipliers parallel in log C."""
    return Law(
        name="overtraining",
        formula="E + (a M^eta + b M^-eta) C^-eta",
        source="Gadre et al. 2024 (arXiv 2403.08540), section 2",
        inputs=("flops", "multiplier"),
        parameters=(E, coefficient("a"), coefficient("b"), exponent("eta", start=(0.02, 0.8))),
        terms=(
            Term("E"),
            Term("a", (("flops", -1, "eta"), ("multiplier", 1, "eta"))),
            Term("b", (("flops", -1, "eta"), ("multiplier", -1, "eta"))),
        ),
    )


def sparsity() -> Law:
    """Loss of mixtures of experts by total parameters, tokens and the active share 1 - S. The exponents of
    the active share may have either sign."""
    either = {"low": -5.0, "high": 5.0, "start": (-0.5, 0.5)}
    return Law(
        name="sparsity",
        formula="E + A N^-alpha + B D^-beta + c (1-S)^-lambda + d (1-S)^-delta N^-gamma",
        source="Abnar et al. 2025 (arXiv 2501.12370), section on incorporating sparsity into scaling laws",
        inputs=("parameters", "tokens", "active_fraction"),
        parameters=(
            E,
            *(coefficient(name) for name in "ABcd"),
            exponent("alpha"),
            exponent("beta"),
            exponent("lambda", **either),  # type: ignore[arg-type]
            exponent("delta", **either),  # type: ignore[arg-type]
            exponent("gamma"),
        ),
        terms=(
            Term("E"),
            Term("A", (("parameters", -1, "alpha"),)),
            Term("B", (("tokens", -1, "beta"),)),
            Term("c", (("active_fraction", -1, "lambda"),)),
            Term("d", (("active_fraction", -1, "delta"), ("parameters", -1, "gamma"))),
        ),
    )


LAWS: dict[str, Callable[[], Law]] = {
    law.__name__: law for law in (compute, chinchilla, overtraining, sparsity)
}
"""Laws by name."""
