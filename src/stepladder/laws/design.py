"""A law bound to the rows that it is fitted to: which parameter acts where.

Shapes: M rows, K terms, P parameters, B problems.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from stepladder.laws.forms import Array, Law, Parameter

ROWS = 20_000
"""Rows that are worked on together."""

PRODUCTS = 4_000_000
"""The most numbers that `Design.outer` may hold."""


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

    @cached_property
    def by_column(self) -> Array:
        """(K, P, M) the matrix with each parameter's column in one piece."""
        return np.ascontiguousarray(self.matrix.transpose(0, 2, 1))

    @cached_property
    def present(self) -> list[tuple[int, int]]:
        """(term, parameter) pairs where the parameter is in the term."""
        return [(int(k), int(p)) for k, p in np.argwhere(self.by_column.any(axis=2))]

    def at(self, rows: slice | npt.NDArray[np.int64]) -> Design:
        """The same law on some of the rows, in the same units."""
        return replace(self, matrix=self.matrix[:, rows].copy(), offset=self.offset[:, rows].copy())

    @cached_property
    def blocks(self) -> list[tuple[slice, Design]]:
        """The rows in pieces that are small enough to be worked on at once."""
        K, M, P = self.matrix.shape
        size = max(256, min(ROWS, PRODUCTS // (K * P * P)))
        if size >= M:
            return [(slice(0, M), self)]
        slices = [slice(i, min(M, i + size)) for i in range(0, M, size)]
        return [(rows, self.at(rows)) for rows in slices]

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
