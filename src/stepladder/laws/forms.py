"""Scaling laws as sums of products of powers, and the rows that they are fitted to.

Every law here has the form

    L(x) = sum over terms k of  c_k * product over inputs j of  x_j ^ (exponent_kj),

with coefficients c_k > 0 and exponents that are plus or minus a parameter. So log L is a log-sum-exp of
functions that are linear in theta = (logs of coefficients, exponents): value, gradient and curvature are
exact and cost a few matrix products, also for thousands of fits at once. A new law is a new function below
that returns a `Law`, and its name in `LAWS`.

Shapes: M rows, K terms, P parameters, B problems.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

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
        """The formula itself, nats/token: parameters and inputs are numbers or arrays that broadcast."""
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


@dataclass(frozen=True)
class Design:
    """A law on M rows: which parameter enters which term of which row, and with what factor.

    Rows may belong to groups (variants); a parameter is then either shared by all groups or there is one
    for each, named `A[moe-tst]`. Pinned parameters are constants.
    """

    law: Law
    names: tuple[str, ...]
    """(P,) of the free parameters."""
    bases: tuple[Parameter, ...]
    """(P,) the law's parameter behind each."""
    matrix: Array
    """(K, M, P): log of term k at row m is matrix[k, m] @ theta + offset[k, m]."""
    offset: Array
    """(K, M)."""
    restore: Array
    """(P, P): theta with coefficients at the inputs' own units, from theta at the units of `units`."""
    moved: Array
    """(P,) added after `restore`, on account of pinned exponents."""
    units: Mapping[str, float]
    """Input to the value (geometric mean) that the solver counts in: coefficients and exponents are less
    correlated there."""

    @cached_property
    def is_log(self) -> npt.NDArray[np.bool_]:
        """(P,) coefficients."""
        return np.array([p.positive for p in self.bases], dtype=bool)

    @cached_property
    def is_floor(self) -> npt.NDArray[np.bool_]:
        """(P,) coefficients of terms without a power."""
        constant = {term.coefficient for term in self.law.terms if not term.powers}
        return np.array([p.name in constant for p in self.bases], dtype=bool)

    @cached_property
    def is_positive_power(self) -> npt.NDArray[np.bool_]:
        """(P,) exponents that cannot change sign."""
        return np.array([not p.positive and p.low > 0 for p in self.bases], dtype=bool)

    @cached_property
    def low(self) -> Array:
        """(P,) in the solver's coordinates."""
        return np.array([np.log(p.low) if p.positive else p.low for p in self.bases])

    @cached_property
    def high(self) -> Array:
        """(P,) in the solver's coordinates."""
        return np.array([np.log(p.high) if p.positive else p.high for p in self.bases])

    @cached_property
    def outer(self) -> Array:
        """(K * M, P * P) products of the matrix' rows: the curvature of a term."""
        K, M, P = self.matrix.shape
        return np.asarray((self.matrix[..., :, None] * self.matrix[..., None, :]).reshape(K * M, P * P))

    def predict(self, theta: Array) -> Array:
        """log L (B, M)."""
        return self.predict_shares(theta)[0]

    def predict_shares(self, theta: Array) -> tuple[Array, Array]:
        """log L (B, M), and each term's share of L (B, K, M)."""
        K, M, P = self.matrix.shape
        terms = (theta @ self.matrix.reshape(K * M, P).T).reshape(-1, K, M) + self.offset
        largest = terms.max(axis=1, keepdims=True)
        scaled = np.exp(terms - largest)
        total = scaled.sum(axis=1, keepdims=True)
        return largest[:, 0] + np.log(total[:, 0]), scaled / total

    def natural(self, theta: Array) -> Array:
        """(B, P) parameters as the law's formula has them, from the solver's theta (B, P)."""
        unknown = np.isnan(theta)
        values = np.where(unknown, 0.0, theta) @ self.restore.T + self.moved
        # What is unknown of one group must not spread to the others.
        values[(unknown.astype(float) @ (self.restore != 0).T) > 0] = np.nan
        with np.errstate(over="ignore"):
            return np.where(self.is_log, np.exp(values), values)

    def solver(self, natural: Array) -> Array:
        """The inverse of `natural`."""
        values = np.where(self.is_log, np.log(np.where(self.is_log, natural, 1.0)), natural)
        return np.asarray((values - self.moved) @ np.linalg.inv(self.restore).T)


def make_design(
    law: Law,
    inputs: Mapping[str, Array],
    group: npt.NDArray[np.int64] | None = None,
    groups: Sequence[str] = (),
    shared: Collection[str] = (),
    pinned: Mapping[str, float] | None = None,
    units: Mapping[str, float] | None = None,
) -> Design:
    """Bind `law` to rows.

    Args:
        inputs: input to its values (M,).
        group: (M,) index into `groups` of each row; None for one law for all rows.
        shared: parameters that all groups have in common.
        pinned: parameter to its value; 0 removes a term.
        units: as in another design, so that its theta can be used here; by default geometric means.

    Raises:
        ValueError: a name in `shared` or `pinned` is not a parameter of the law, or a pinned coefficient is
            negative.
    """
    pinned = pinned or {}
    if unknown := (set(shared) | set(pinned)) - set(law.names):
        raise ValueError(
            f"{law.name} has no parameter {', '.join(sorted(unknown))}; it has {', '.join(law.names)}"
        )
    logs = {name: np.log(np.asarray(inputs[name], dtype=float)) for name in law.inputs}
    log_units = {n: float(np.log(units[n])) if units else float(v.mean()) for n, v in logs.items()}
    M = len(next(iter(logs.values())))
    member = np.zeros(M, dtype=np.int64) if group is None else group
    index, names, bases = _columns(law, groups, shared, pinned)
    P, K, rows = len(names), len(law.terms), np.arange(M)
    matrix, offset = np.zeros((K, M, P)), np.zeros((K, M))
    for k, term in enumerate(law.terms):
        free = term.coefficient not in pinned
        if free:
            matrix[k, rows, index[term.coefficient][member]] = 1.0
        else:
            with np.errstate(divide="ignore"):
                offset[k] = np.log(pinned[term.coefficient])
        for name, sign, power in term.powers:
            # A pinned coefficient is meant in the inputs' own units.
            x = sign * (logs[name] - (log_units[name] if free else 0.0))
            if power in pinned:
                offset[k] += pinned[power] * x
            else:
                matrix[k, rows, index[power][member]] += x
    restore, moved = _restoring(law, index, P, shared, pinned, log_units)
    return Design(
        law=law,
        names=tuple(names),
        bases=tuple(bases),
        matrix=matrix,
        offset=offset,
        restore=restore,
        moved=moved,
        units={name: float(np.exp(value)) for name, value in log_units.items()},
    )


def _columns(
    law: Law, groups: Sequence[str], shared: Collection[str], pinned: Mapping[str, float]
) -> tuple[dict[str, npt.NDArray[np.int64]], list[str], list[Parameter]]:
    """The column of theta of each free parameter in each group, then the columns' names and parameters.

    Raises:
        ValueError: a coefficient is pinned below 0.
    """
    index: dict[str, npt.NDArray[np.int64]] = {}
    names: list[str] = []
    bases: list[Parameter] = []
    for parameter in law.parameters:
        name = parameter.name
        if name in pinned:
            if parameter.positive and pinned[name] < 0:
                raise ValueError(f"{name} is pinned at {pinned[name]:g}; it must not be negative")
            continue
        labels = [name] if not groups or name in shared else [f"{name}[{label}]" for label in groups]
        here = np.arange(len(names), len(names) + len(labels))
        index[name] = here if len(labels) > 1 else np.repeat(here, max(1, len(groups)))
        names += labels
        bases += [parameter] * len(labels)
    return index, names, bases


def _restoring(
    law: Law,
    index: Mapping[str, npt.NDArray[np.int64]],
    P: int,
    shared: Collection[str],
    pinned: Mapping[str, float],
    log_units: Mapping[str, float],
) -> tuple[Array, Array]:
    """The linear map of `Design.natural`: a coefficient moves by its exponents times the logs of the units.

    Raises:
        ValueError: a coefficient is shared by groups whose exponents differ: it would mean another law in
            other units.
    """
    restore, moved = np.eye(P), np.zeros(P)
    for term in law.terms:
        if term.coefficient in pinned:
            continue
        for name, sign, power in term.powers:
            columns = index[term.coefficient]
            if power in pinned:
                moved[np.unique(columns)] -= sign * log_units[name] * pinned[power]
                continue
            if term.coefficient in shared and power not in shared and len(index[power]) > 1:
                raise ValueError(f"{term.coefficient} can be shared only together with {power}")
            for c, p in set(zip(columns.tolist(), index[power].tolist(), strict=True)):
                restore[c, p] -= sign * log_units[name]
    return restore, moved
