"""One law, fitted to anyone's table of runs: what `stepladder fit TABLE --law chinchilla` writes.

Shapes: M rows, P parameters, B bootstrap draws, G clusters.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.laws.bootstrap import Bootstrap, bca_interval, delta_errors
from stepladder.laws.design import Design, make_design
from stepladder.laws.forms import Array, Law
from stepladder.laws.identify import NotIdentified, condition, refuse_fit, refuse_rows
from stepladder.laws.law_fit import (
    Allocation,
    AllocationErrors,
    AllocationIntervals,
    LawFit,
    PinnedFloor,
    Refits,
    Residuals,
    Uncertainty,
)
from stepladder.laws.numbers import finite, percentile_interval
from stepladder.laws.rounding import rounded_sizes
from stepladder.laws.solve import Robust
from stepladder.laws.starts import CANDIDATES, Found, search

FLOOR_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.98)
"""Floors of the sensitivity table, as shares of the smallest loss."""


@dataclass(frozen=True)
class Options:
    """How a table is fitted."""

    robust: Robust = field(default_factory=Robust)
    by: str | None = None
    """Column of the groups (variants) that have parameters of their own."""
    shared: Sequence[str] = ()
    """Parameters that the groups have in common."""
    pinned: Mapping[str, float] = field(default_factory=dict)
    clusters: Sequence[str] = ()
    """Columns whose combinations the bootstrap draws as wholes; by default each row is on its own."""
    draws: int = 1000
    seed: int = 0
    confidence: float = 0.95


def inputs_of(law: Law, table: pd.DataFrame) -> dict[str, Array]:
    """Input to its values (M,); the token multiplier M = D/N is made where a law needs it."""
    made = {"multiplier": lambda: table["tokens"] / table["parameters"]}
    return {
        name: np.asarray(table[name] if name in table else made[name](), dtype=float) for name in law.inputs
    }


def columns_of(law: Law) -> list[str]:
    """Columns that a table must have for `law`."""
    made = {"multiplier": ["parameters", "tokens"]}
    names = [column for name in law.inputs for column in made.get(name, [name])]
    return ["loss", *dict.fromkeys(names)]


def fit_table(table: pd.DataFrame, law: Law, options: Options) -> LawFit:
    """Fit `law` to the rows of `table`.

    Raises:
        NotIdentified: the rows cannot tell the parameters.
        ValueError: a shared or pinned name is not a parameter, or a pin is impossible.
    """
    start = time.perf_counter()
    if options.draws == 1:
        raise ValueError("one bootstrap draw has no spread: ask for none (0) or for many")
    options = replace(options, pinned=without_effect(law, options.pinned))
    groups, group = _groups(table, options.by)
    inputs = inputs_of(law, table)
    design = make_design(law, inputs, group, groups, options.shared, options.pinned)
    y = np.log(table["loss"].to_numpy(dtype=float))
    refuse_rows(design, inputs, group, groups, options.shared)
    if options.pinned.get("E", 0.0) >= np.exp(y.min()):
        raise NotIdentified(
            f"E is pinned at {options.pinned['E']:g}, not below the smallest loss {np.exp(y.min()):.4g}"
        )
    found = search(design, y, options.robust)
    refuse_fit(design, found, y)
    residual = y - design.predict(found.theta[None])[0]
    drawn = Bootstrap.draw(
        design, y, found, options.robust, table, options.clusters, options.draws, options.seed, group, groups
    )
    uncertain = _uncertainty(design, y, found, drawn, options)
    values = design.natural(found.theta[None])[0]
    return LawFit(
        law=law.name,
        formula=law.formula,
        source=law.source,
        n=len(table),
        groups=groups,
        by=options.by,
        shared=options.shared,
        pinned=options.pinned,
        norm=options.robust.norm,
        delta=options.robust.delta,
        weight_above=options.robust.above,
        confidence=options.confidence,
        parameters=_named(design, values),
        units={name: base.unit for name, base in zip(design.names, design.bases, strict=True)},
        **dict(uncertain),
        objective=found.objective,
        converged=found.converged,
        starts=CANDIDATES,
        starts_polished=found.polished,
        starts_agreeing=found.agreeing,
        condition=condition(design, found.theta),
        residuals=Residuals(
            sd=float(np.sqrt((residual**2).sum() / max(1, len(y) - len(design.names)))),
            values=residual.tolist(),
        ),
        range={name: (float(v.min()), float(v.max())) for name, v in inputs.items()},
        flops_per_parameter_token=_ratio(table),
        allocation=allocation(values, drawn, design, options.confidence),
        floor_sensitivity=floor_sensitivity(table, law, options, design, y),
        draws=None if drawn is None else _drawn(design, drawn),
        warnings=[
            *_warnings(design, found, drawn),
            *(rounded_sizes(table) if "parameters" in columns_of(law) else []),
        ],
        seconds=time.perf_counter() - start,
    )


def _ratio(table: pd.DataFrame) -> tuple[float, float] | None:
    """Smallest and largest FLOPs per parameter and token."""
    if not {"flops", "parameters", "tokens"} <= set(table):
        return None
    ratio = (
        table["flops"].to_numpy(float) / table["parameters"].to_numpy(float) / table["tokens"].to_numpy(float)
    )
    return float(ratio.min()), float(ratio.max())


def _groups(table: pd.DataFrame, by: str | None) -> tuple[list[str], npt.NDArray[np.int64] | None]:
    if by is None:
        return [], None
    codes, names = pd.factorize(table[by].astype(str))
    return list(names), codes.astype(np.int64)


def without_effect(law: Law, pinned: Mapping[str, float]) -> dict[str, float]:
    """`pinned`, and with them the exponents of terms whose coefficient is pinned at 0: nothing depends on
    them."""
    used = {power for term in law.terms if pinned.get(term.coefficient) != 0 for _, _, power in term.powers}
    idle = {power for term in law.terms for _, _, power in term.powers} - used
    return {power: 1.0 for power in sorted(idle)} | dict(pinned)


def _named(design: Design, values: Array) -> dict[str, float | None]:
    return {name: finite(value) for name, value in zip(design.names, values, strict=True)}


def _uncertainty(
    design: Design, log_loss: Array, found: Found, drawn: Bootstrap | None, options: Options
) -> Uncertainty:
    cluster = np.arange(len(log_loss)) if drawn is None else drawn.cluster
    sandwich = _named(design, delta_errors(design, log_loss, found.theta, options.robust, cluster))
    if drawn is None:
        return Uncertainty(standard_errors_delta=sandwich)
    values, point = design.natural(drawn.theta), design.natural(found.theta[None])[0]
    left_out = design.natural(drawn.left_out)
    named = list(enumerate(design.names))
    return Uncertainty(
        standard_errors={name: finite(float(np.nanstd(values[:, p], ddof=1))) for p, name in named},
        standard_errors_delta=sandwich,
        intervals={name: percentile_interval(values[:, p], options.confidence) for p, name in named},
        intervals_bca={
            name: bca_interval(values[:, p], float(point[p]), left_out[:, p], options.confidence)
            for p, name in named
        },
        bootstrap=Refits(
            scheme="clusters drawn with replacement, all parameters "
            + (
                f"moved by one Newton step, {len(drawn.converged)} draws refitted"
                if drawn.single_steps
                else "refitted"
            ),
            draws=len(values),
            clusters=int(drawn.cluster.max()) + 1,
            converged=float(drawn.converged.mean()),
            other_optima=drawn.other_optima,
        ),
    )


def allocation(
    values: Array, drawn: Bootstrap | None, design: Design, confidence: float
) -> Allocation | None:
    """Compute-optimal allocation that a Chinchilla law implies (Hoffmann et al. 2022, equation 4):
    N* = G (C/6)^a and D* = (C/6)^b / G, with a = beta / (alpha + beta), b = 1 - a and
    G = (alpha A / (beta B))^(1 / (alpha + beta)).
    """
    if design.law.name != "chinchilla" or set(design.names) != {"E", "A", "B", "alpha", "beta"}:
        return None

    def exponents(rows: Array) -> tuple[Array, Array]:
        A, B, alpha, beta = (rows[:, design.names.index(name)] for name in ("A", "B", "alpha", "beta"))
        return beta / (alpha + beta), (alpha * A / (beta * B)) ** (1 / (alpha + beta))

    (a,), (scale,) = exponents(values[None])
    point = {"a": finite(a), "b": finite(1 - a), "G": finite(scale)}
    if drawn is None:
        return Allocation(**point)
    a_drawn, scale_drawn = exponents(design.natural(drawn.theta))
    return Allocation(
        **point,
        standard_errors=AllocationErrors(a=finite(float(np.nanstd(a_drawn, ddof=1)))),
        intervals=AllocationIntervals(
            a=percentile_interval(a_drawn, confidence),
            b=percentile_interval(1 - a_drawn, confidence),
            G=percentile_interval(scale_drawn, confidence),
        ),
    )


def floor_sensitivity(
    table: pd.DataFrame, law: Law, options: Options, design: Design, log_loss: Array
) -> list[PinnedFloor]:
    """The objective profiled over the floor: all else fitted again at each pinned E."""
    if "E" not in law.names or "E" in options.pinned:
        return []
    smallest = float(np.exp(log_loss.min()))
    groups, group = _groups(table, options.by)
    shared = [name for name in options.shared if name != "E"]
    rows = []
    for share in FLOOR_SHARES:
        E = round(share * smallest, 4)
        pinned = dict(options.pinned) | {"E": E}
        held = make_design(law, inputs_of(law, table), group, groups, shared, pinned)
        found = search(held, log_loss, options.robust, 256)
        parameters = _named(held, held.natural(found.theta[None])[0])
        rows.append(
            PinnedFloor(E=E, objective=found.objective, converged=found.converged, parameters=parameters)
        )
    return rows


def _drawn(design: Design, drawn: Bootstrap) -> dict[str, list[float | None]]:
    """Bootstrap parameters, for whoever predicts: eight digits are more than they carry."""
    values = design.natural(drawn.theta)
    return {name: [finite(float(f"{v:.8g}")) for v in values[:, p]] for p, name in enumerate(design.names)}


def _warnings(design: Design, found: Found, drawn: Bootstrap | None) -> list[str]:
    warnings = []
    if not found.converged:
        warnings.append("the fit did not converge")
    if found.agreeing < found.polished / 4:
        warnings.append(
            f"only {found.agreeing} of {found.polished} polished starts ended at the best objective: "
            f"other optima are near"
        )
    if found.sampled_agreeing < found.sampled / 4:
        warnings.append(
            f"only {found.sampled_agreeing} of {found.sampled} starts polished on a sample of the rows ended "
            "at its best objective: other optima are near"
        )
    if drawn is None:
        warnings.append("no bootstrap: none was asked for, or there are no more clusters than parameters")
        return warnings
    if drawn.converged.mean() < 0.99:
        warnings.append(f"{drawn.converged.mean():.1%} of the bootstrap fits converged")
    for p, name in enumerate(design.names):
        bound = float((drawn.theta[:, p] <= design.low[p] + 1e-9).mean())
        if bound > 0.025:
            warnings.append(
                f"{name} ends at its lower bound in {bound:.1%} of the bootstrap fits: it is hardly bounded"
            )
    return warnings
