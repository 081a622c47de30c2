"""One law, fitted to anyone's table of runs: what `stepladder fit TABLE --law chinchilla` writes.

Shapes: M rows, P parameters, B bootstrap draws, G clusters.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from stepladder.analysis.cells import finite, percentile_interval
from stepladder.analysis.laws import Array, Design, Law, make_design
from stepladder.analysis.solve import Robust, slopes, solve
from stepladder.analysis.starts import CANDIDATES, Found, search, search_nearby

CHECKED = 0.05
"""Share of bootstrap draws that are also searched from other starts; if that finds better optima, all are."""

FLOOR_SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.98)
"""Floors of the sensitivity table, as shares of the smallest loss."""

COLLINEAR = 0.02
"""Tokens that follow from parameters within this relative error are one budget: nothing tells their powers
apart."""

ILL = 1e8
"""Condition number of the scaled derivatives beyond which parameters are not told apart."""


class NotIdentified(ValueError):
    """The rows cannot tell the law's parameters; the message says why and what would."""


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


def fit_table(table: pd.DataFrame, law: Law, options: Options) -> dict[str, Any]:
    """Fit `law` to the rows of `table`; docs/analysis.md explains the fields that come back.

    Raises:
        NotIdentified: the rows cannot tell the parameters.
        ValueError: a shared or pinned name is not a parameter, or a pin is impossible.
    """
    start = time.perf_counter()
    groups, group = _groups(table, options.by)
    inputs = inputs_of(law, table)
    design = make_design(law, inputs, group, groups, options.shared, options.pinned)
    y = np.log(table["loss"].to_numpy(dtype=float))
    refuse_rows(design, inputs, group, groups)
    if options.pinned.get("E", 0.0) >= np.exp(y.min()):
        raise NotIdentified(
            f"E is pinned at {options.pinned['E']:g}, not below the smallest loss {np.exp(y.min()):.4g}"
        )
    found = search(design, y, options.robust)
    refuse_fit(design, found, y)
    residual = y - design.predict(found.theta[None])[0]
    drawn = Bootstrap.draw(design, y, found, table, options)
    uncertain = _uncertainty(design, y, found, drawn, options)
    values = design.natural(found.theta[None])[0]
    result = {
        "law": law.name,
        "formula": law.formula,
        "source": law.source,
        "n": len(table),
        "groups": list(groups),
        "by": options.by,
        "shared": list(options.shared),
        "pinned": dict(options.pinned),
        "norm": options.robust.norm,
        "delta": options.robust.delta,
        "weight_above": options.robust.above,
        "confidence": options.confidence,
        "parameters": _named(design, values),
        "units": {name: base.unit for name, base in zip(design.names, design.bases, strict=True)},
        **uncertain,
        "objective": found.objective,
        "converged": found.converged,
        "starts": CANDIDATES,
        "starts_polished": found.polished,
        "starts_agreeing": found.agreeing,
        "condition": condition(design, found.theta),
        "residuals": {
            "sd": float(np.sqrt((residual**2).sum() / max(1, len(y) - len(design.names)))),
            "values": residual.tolist(),
        },
        "range": {name: [float(v.min()), float(v.max())] for name, v in inputs.items()},
        "allocation": allocation(values, drawn, design, options.confidence),
        "floor_sensitivity": floor_sensitivity(table, law, options, design, y),
        "draws": None if drawn is None else _drawn(design, drawn),
        "warnings": _warnings(design, found, drawn),
    }
    return result | {"seconds": time.perf_counter() - start}


def _groups(table: pd.DataFrame, by: str | None) -> tuple[list[str], npt.NDArray[np.int64] | None]:
    if by is None:
        return [], None
    codes, names = pd.factorize(table[by].astype(str))
    return list(names), codes.astype(np.int64)


def _named(design: Design, values: Array) -> dict[str, float | None]:
    return {name: finite(value) for name, value in zip(design.names, values, strict=True)}


def refuse_rows(
    design: Design, inputs: Mapping[str, Array], group: npt.NDArray[np.int64] | None, groups: Sequence[str]
) -> None:
    """Raises:
    NotIdentified: too few distinct rows, or inputs that do not vary, or that vary together.
    """
    stack = np.log(np.stack(list(inputs.values()), axis=1))
    for g, label in enumerate(groups or ("",)):
        where = f" of {label}" if label else ""
        mine = stack if group is None else stack[group == g]
        for name, column in zip(inputs, mine.T, strict=True):
            if np.ptp(column) < 1e-9:
                raise NotIdentified(
                    f"all rows{where} have the same {name}: its power cannot be told; add rows that vary it"
                )
        own = sum(1 for name in design.names if not groups or name.endswith(f"[{label}]"))
        distinct = len(np.unique(mine.round(9), axis=0))
        if distinct < own:
            raise NotIdentified(
                f"{distinct} distinct rungs{where} cannot tell {own} parameters of {design.law.formula}: "
                "add rungs, pin a parameter (--pin E=1.7) or share some (--share E)"
            )
        names = list(inputs)
        if {"parameters", "tokens"} <= set(names) and "tokens" in _powers(design):
            n, d = (mine[:, names.index(key)] for key in ("parameters", "tokens"))
            slope, intercept = np.polyfit(n, d, 1)
            if np.std(d - slope * n - intercept) < COLLINEAR:
                raise NotIdentified(
                    f"tokens{where} are a fixed power of parameters (one budget only), so the powers of "
                    "size and data cannot be told apart: add a budget, or fit the compute law"
                )
    total = len(np.unique(np.column_stack([stack, np.zeros(len(stack)) if group is None else group]), axis=0))
    if total < len(design.names):
        raise NotIdentified(
            f"{total} distinct rungs cannot tell {len(design.names)} parameters: add rungs, or pin or "
            "share some"
        )


def _powers(design: Design) -> set[str]:
    """Inputs with a free exponent."""
    free = {base.name for base in design.bases}
    return {name for term in design.law.terms for name, _, power in term.powers if power in free}


def refuse_fit(design: Design, found: Found, log_loss: Array) -> None:
    """Raises:
    NotIdentified: the best fit does without a parameter, or cannot tell some apart.
    """
    for p, (name, base) in enumerate(zip(design.names, design.bases, strict=True)):
        if found.theta[p] <= design.low[p] or found.theta[p] >= design.high[p]:
            at = np.exp(design.low[p]) if base.positive else found.theta[p]
            if base.name == "E":
                raise NotIdentified(
                    f"the rows do not bound {name} from below: the best fit has none. Pin it (--pin "
                    "E=1.7), share it among variants (--share E), or add larger rungs"
                )
            raise NotIdentified(
                f"{name} ended at its bound {at:g}: the rows do not identify it. Pin it, or fit a law "
                "with fewer parameters"
            )
    _, share = design.predict_shares(found.theta[None])
    for term, part in zip(design.law.terms, share[0], strict=True):
        if part.max() < 1e-6:
            raise NotIdentified(
                f"the best fit does without {term.coefficient}: fit a law with fewer parameters"
            )
    number = condition(design, found.theta)
    # Where every row is met exactly there is nothing that could be told apart better.
    if number > ILL and found.objective > 1e-20 * len(log_loss):
        raise NotIdentified(
            f"the parameters cannot be told apart (condition number {number:.1e}): add rungs or budgets "
            "that differ more, or pin one (--pin E=1.7)"
        )


def condition(design: Design, theta: Array) -> float:
    """Condition number of the derivatives of log loss, each scaled to length 1, at the solver's units."""
    jacobian = slopes(design, design.predict_shares(theta[None])[1])[0]
    jacobian = jacobian * np.where(design.is_positive_power, theta, 1.0)[:, None]
    length = np.linalg.norm(jacobian, axis=1, keepdims=True)
    singular = np.linalg.svd(jacobian / np.maximum(length, 1e-300), compute_uv=False)
    return float(min(singular[0] / max(singular[-1], 1e-300), 1e300))


@dataclass(frozen=True)
class Bootstrap:
    """Refits to resampled clusters, and to all clusters but one."""

    theta: Array
    """(B, P)."""
    converged: npt.NDArray[np.bool_]
    """(B,)."""
    left_out: Array
    """(G, P): fits without one cluster each."""
    cluster: npt.NDArray[np.int64]
    """(M,) cluster of each row."""
    other_optima: float
    """Share of the draws that were checked in which another start ended lower."""

    @classmethod
    def draw(
        cls, design: Design, log_loss: Array, found: Found, table: pd.DataFrame, options: Options
    ) -> Bootstrap | None:
        """None when no draws are asked for or there are too few clusters to resample."""
        columns = list(options.clusters)
        cluster = (
            table.groupby(columns, sort=False).ngroup().to_numpy() if columns else np.arange(len(table))
        ).astype(np.int64)
        G = int(cluster.max()) + 1
        if options.draws == 0 or len(design.names) >= G:
            return None
        generator = np.random.default_rng(options.seed)
        weight = generator.multinomial(G, np.full(G, 1 / G), size=options.draws)[:, cluster].astype(float)
        start = found.theta[None]
        drawn = solve(design, log_loss, np.repeat(start, options.draws, axis=0), options.robust, weight)
        checked = max(1, int(CHECKED * options.draws))
        other = search_nearby(design, log_loss, options.robust, start, weight[:checked])
        lower = float((other.objective < drawn.objective[:checked] * (1 - 1e-6)).mean())
        if lower > 0:
            drawn = search_nearby(design, log_loss, options.robust, start, weight)
        without = 1.0 - np.eye(G)[:, cluster]
        jackknife = solve(design, log_loss, np.repeat(start, G, axis=0), options.robust, without)
        return cls(drawn.theta, drawn.converged, jackknife.theta, cluster, lower)


def _uncertainty(
    design: Design, log_loss: Array, found: Found, drawn: Bootstrap | None, options: Options
) -> dict[str, Any]:
    cluster = np.arange(len(log_loss)) if drawn is None else drawn.cluster
    sandwich = _named(design, delta_errors(design, log_loss, found.theta, options.robust, cluster))
    if drawn is None:
        empty = {"standard_errors": None, "intervals": None, "intervals_bca": None, "bootstrap": None}
        return empty | {"standard_errors_delta": sandwich}
    values, point = design.natural(drawn.theta), design.natural(found.theta[None])[0]
    left_out = design.natural(drawn.left_out)
    named = list(enumerate(design.names))
    return {
        "standard_errors": {name: float(values[:, p].std(ddof=1)) for p, name in named},
        "standard_errors_delta": sandwich,
        "intervals": {name: percentile_interval(values[:, p], options.confidence) for p, name in named},
        "intervals_bca": {
            name: bca_interval(values[:, p], float(point[p]), left_out[:, p], options.confidence)
            for p, name in named
        },
        "bootstrap": {
            "scheme": "clusters drawn with replacement, all parameters refitted",
            "draws": len(values),
            "clusters": int(drawn.cluster.max()) + 1,
            "converged": float(drawn.converged.mean()),
            "other_optima": drawn.other_optima,
        },
    }


def bca_interval(draws: Array, point: float, left_out: Array, confidence: float) -> list[float]:
    """Bias-corrected and accelerated interval (Efron 1987, J. Am. Stat. Assoc. 82:171).

    Args:
        draws: (B,) bootstrap values of a statistic whose value is `point`.
        left_out: (G,) its values without one cluster each.
    """
    below = ((draws < point).sum() + 0.5 * (draws == point).sum()) / len(draws)
    bias = stats.norm.ppf(np.clip(below, 1 / (len(draws) + 1), 1 - 1 / (len(draws) + 1)))
    influence = left_out.mean() - left_out
    spread = (influence**2).sum()
    acceleration = (influence**3).sum() / (6 * spread**1.5) if spread > 0 else 0.0
    z = bias + stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    levels = stats.norm.cdf(bias + z / np.maximum(1 - acceleration * z, 1e-3))
    low, high = np.quantile(draws, levels)
    return [float(low), float(high)]


def delta_errors(
    design: Design, log_loss: Array, theta: Array, robust: Robust, cluster: npt.NDArray[np.int64]
) -> Array:
    """(P,) standard errors by the delta method: the clustered sandwich of an M-estimator (Huber 1967).

    Where the loss is linear its second derivative is zero nearly everywhere, and its expectation is what
    counts: delta times the density of residuals at 0, estimated in a window (Powell 1991).
    """
    log_prediction, share = design.predict_shares(theta[None])
    jacobian, residual = slopes(design, share)[0], log_prediction[0] - log_loss
    _, first, second, _ = robust(residual)
    if robust.norm == "huber":
        scale = 1.4826 * float(np.median(np.abs(residual)))
        window = max(robust.delta, 1.1 * scale * len(residual) ** -0.2)
        second = np.where(np.abs(residual) <= window, min(1.0, robust.delta / window), 0.0)
    scores = np.zeros((int(cluster.max()) + 1, len(theta)))
    np.add.at(scores, cluster, (jacobian * first).T)
    bread = np.linalg.pinv((jacobian * second) @ jacobian.T, rcond=1e-14, hermitian=True)
    G = len(scores)
    covariance = bread @ (scores.T @ scores) @ bread * G / max(1, G - len(theta))
    natural = design.natural(theta[None])[0]
    slope = np.where(design.is_log, natural, 1.0)[:, None] * design.restore
    return np.asarray(np.sqrt(np.maximum(np.einsum("pq,qr,pr->p", slope, covariance, slope), 0.0)))


def allocation(
    values: Array, drawn: Bootstrap | None, design: Design, confidence: float
) -> dict[str, Any] | None:
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
    result: dict[str, Any] = {"a": float(a), "b": float(1 - a), "G": float(scale)}
    if drawn is not None:
        a_drawn, scale_drawn = exponents(design.natural(drawn.theta))
        result["standard_errors"] = {"a": float(a_drawn.std(ddof=1))}
        result["intervals"] = {
            "a": percentile_interval(a_drawn, confidence),
            "b": percentile_interval(1 - a_drawn, confidence),
            "G": percentile_interval(scale_drawn, confidence),
        }
    return result


def floor_sensitivity(
    table: pd.DataFrame, law: Law, options: Options, design: Design, log_loss: Array
) -> list[dict[str, Any]]:
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
        row = {"E": E, "objective": found.objective, "converged": found.converged}
        rows.append(row | {"parameters": _named(held, held.natural(found.theta[None])[0])})
    return rows


def _drawn(design: Design, drawn: Bootstrap) -> dict[str, Any]:
    """Bootstrap parameters, for whoever predicts: eight digits are more than they carry."""
    values = design.natural(drawn.theta)
    return {name: [float(f"{v:.8g}") for v in values[:, p]] for p, name in enumerate(design.names)}


def _warnings(design: Design, found: Found, drawn: Bootstrap | None) -> list[str]:
    warnings = []
    if not found.converged:
        warnings.append("the fit did not converge")
    if found.agreeing < found.polished / 4:
        warnings.append(
            f"only {found.agreeing} of {found.polished} polished starts ended at the best objective: "
            f"other optima are near"
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
