"""A learning-rate sweep on some rungs: the bowls, the optimum's law over scale, and the rates that follow.

The law is of the optimum's factor on the ruled rate: ln(factor) = intercept + slope ln(quantity), by least
squares weighted with each bowl's standard error. Where the rule is a power of the quantity that makes the
optimal rate itself a power law; and where a rule also depends on the budget, as it says, so does the rate.
Intervals are by the delta method, with Student's t at the degrees of freedom of the noise.

Shapes: M usable bowls, P coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from stepladder.laws.forms import Array
from stepladder.laws.numbers import MISFIT_LEVEL
from stepladder.tuning.bowls import Bowl, Noise, Optimum, noise_by_rung

DIGITS = 3
"""Of a predicted factor. Rates are part of a run's identity: noise of arithmetic must not train it again."""

METHODS = {
    "own": "an exponent per variant",
    "shared": "one exponent for all variants, because fewer than three rungs have a bowl to fit",
    "rule": "the ladder's rule times a factor per variant, because one rung has a bowl: its exponent is the "
    "rule's, and the intervals do not hold its error",
}
"""How the optimum goes with scale, by the number of rungs that tell."""


@dataclass(frozen=True)
class Swept:
    """One bowl and what came of it."""

    variant: str
    rung: str
    batch_factor: float
    batch_sequences: int
    budget: str
    quantity: float
    base_rate: float
    """Learning rate at factor 1."""
    rule_rate: float
    """By the ladder's rule: another one only where the rung overrides it."""
    bowl: Bowl
    noise: Noise | None
    """At this rung."""
    optimum: Optimum | None
    reason: str | None
    """Why there is no optimum."""

    @property
    def log_factor(self) -> float:
        """ln of the optimum over the rule's rate."""
        assert self.optimum is not None
        return self.optimum.x + math.log(self.base_rate / self.rule_rate)


@dataclass(frozen=True)
class Law:
    """ln(factor) over ln(quantity): an intercept per variant, and slopes as the method has them."""

    method: str
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


def tune(
    runs: pd.DataFrame, targets: pd.DataFrame, quantity: str, confidence: float, max_uncertainty: float
) -> dict[str, Any]:
    """From the runs of a sweep to learning rates.

    Args:
        runs: one row per run of the sweep: variant, rung, budget, seed, factor, batch_factor,
            batch_sequences, base_rate (the rate at factor 1), rule_rate, quantity, loss (nats/token).
        targets: one row per variant, rung and budget of the ladder: variant, rung, budget, quantity,
            rule_rate, ruled_rate (what it trains at without the sweep), applied (whether it trains at the
            prediction).
        quantity: name of the measure of scale.
        max_uncertainty: factor that the interval of an applied rate may reach from it.

    Returns:
        What learning_rates.json holds; docs/results.md has the fields. `problems` lists what forbids to
        train at the predicted rates.

    Raises:
        ValueError: a bowl lacks runs.
    """
    swept = fit_bowls(runs, confidence)
    ruled = [one for one in swept if one.batch_factor == 1]
    usable = [one for one in ruled if one.optimum]
    law = fit_law(usable, confidence)
    budget = swept[0].budget
    rows: list[Any] = targets.to_dict("records")
    rates = [_rate(row, law, usable, budget) for row in rows]
    return {
        "quantity": quantity,
        "budget": budget,
        "confidence": confidence,
        "noise": {one.rung: _describe_noise(one.noise) for one in swept},
        "bowls": [_describe(one) for one in swept],
        "law": law and _describe_law(law, ruled, rates, budget),
        "rates": rates,
        "warnings": [_refused(one) for one in swept if one.reason],
        "problems": _problems(ruled, rates, max_uncertainty),
    }


def fit_bowls(runs: pd.DataFrame, confidence: float) -> list[Swept]:
    """Every bowl with its optimum.

    Raises:
        ValueError: a bowl lacks runs.
    """
    keys = ["variant", "rung", "batch_factor"]
    groups: list[tuple[Any, pd.DataFrame]] = list(runs.groupby(keys, sort=False))
    bowls = []
    for (variant, rung, _), rows in groups:
        try:
            bowls.append(Bowl.of(list(rows["factor"]), list(rows["seed"]), list(rows["loss"])))
        except ValueError as error:
            raise ValueError(f"sweep of {variant} at {rung}: {error}") from None
    noises = noise_by_rung([str(rung) for (_, rung, _), _ in groups], bowls)
    swept = []
    for ((variant, rung, batch_factor), rows), bowl in zip(groups, bowls, strict=True):
        refused, noise = bowl.refusal(), noises[str(rung)]
        found = None if refused else bowl.optimum(noise, confidence)
        reason = found if isinstance(found, str) else None
        if refused:
            reason = f"{refused[0]}: add {' and '.join(f'{factor:g}' for factor in refused[1])}"
        elif reason:
            reason += ": add seeds, or factors further out"
        first = rows.iloc[0]
        swept.append(
            Swept(
                variant=str(variant),
                rung=str(rung),
                batch_factor=float(batch_factor),
                batch_sequences=int(first["batch_sequences"]),
                budget=str(first["budget"]),
                quantity=float(first["quantity"]),
                base_rate=float(first["base_rate"]),
                rule_rate=float(first["rule_rate"]),
                bowl=bowl,
                noise=noise,
                optimum=found if isinstance(found, Optimum) else None,
                reason=reason,
            )
        )
    return swept


def fit_law(swept: Sequence[Swept], confidence: float) -> Law | None:
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
    if min(sizes.values()) >= 3:
        method, slope_of = "own", {variant: V + i for i, variant in enumerate(variants)}
    elif max(sizes.values()) >= 2:
        method, slope_of = "shared", dict.fromkeys(variants, V)
    else:
        method, slope_of = "rule", {}
    P = V + len(set(slope_of.values()))
    centre = float(np.mean([math.log(one.quantity) for one in swept]))
    empty = Law(method, variants, slope_of, np.zeros(P), None, math.nan, centre, None, False)
    X = np.stack([empty.row(one.variant, math.log(one.quantity)) for one in swept])
    y = np.array([one.log_factor for one in swept])
    known = [one.noise.dof for one in swept if one.noise]
    if len(known) < len(swept):
        coefficients = np.linalg.lstsq(X, y)[0]
        return Law(method, variants, slope_of, coefficients, None, math.nan, centre, None, False)
    errors = np.array([_se(one) for one in swept])
    covariance = np.linalg.inv((X / errors[:, None] ** 2).T @ X)
    coefficients = covariance @ (X.T @ (y / errors**2))
    free, dof, scatter, widened = len(y) - P, min(known), None, False
    if free:
        scatter = float((((y - X @ coefficients) / errors) ** 2).sum()) / free
        widened = bool(scatter > stats.f.ppf(1 - MISFIT_LEVEL, free, dof))
    if widened and scatter is not None:
        covariance, dof = covariance * scatter, free
    t = float(stats.t.ppf((1 + confidence) / 2, dof))
    return Law(method, variants, slope_of, coefficients, covariance, t, centre, scatter, widened)


def _se(one: Swept) -> float:
    assert one.optimum is not None and one.optimum.se is not None
    return one.optimum.se


def _rate(target: dict[str, Any], law: Law | None, swept: Sequence[Swept], budget: str) -> dict[str, Any]:
    """The predicted rate of one variant, rung and budget, the rate it trains at, and what that costs it.

    Args:
        swept: bowls at the ruled batch that have an optimum.
        budget: of the sweep.
    """
    variant, rule_rate = target["variant"], target["rule_rate"]
    row = {key: target[key] for key in ("variant", "rung", "budget")}
    row |= {key: float(target[key]) for key in ("quantity", "rule_rate", "ruled_rate")}
    row["applied"] = bool(target["applied"])
    factor, predicted, ends = None, None, None
    if law is not None and variant in law.variants:
        log_factor, half = law.predict(variant, target["quantity"])
        factor = float(f"{math.exp(log_factor):.{DIGITS}g}")
        predicted = rule_rate * factor
        if half is not None:
            ends = [rule_rate * math.exp(log_factor - half), rule_rate * math.exp(log_factor + half)]
    used = predicted if row["applied"] else float(target["ruled_rate"])
    mine = [one for one in swept if one.variant == variant]
    sizes = [one.quantity for one in mine]
    beyond = max(target["quantity"] / max(sizes), min(sizes) / target["quantity"], 1.0) if sizes else None
    row |= {
        "factor": factor,
        "learning_rate": predicted,
        "interval": ends,
        "beyond": beyond,
        "used": used,
        "off": None,
    }
    if target["budget"] == budget and used is not None and mine:
        row["off"] = _off(row, mine)
    return row


def _off(row: dict[str, Any], swept: Sequence[Swept]) -> dict[str, Any]:
    """How far the rate that is used lies from the optimum, by the rung's own bowl or else by the law.

    `flagged` where it is outside the interval and costs more than the noise of one run. The cost takes the
    bowl to be a parabola. A rung that is not swept has the mean curvature of the variant's bowls, and the
    noise of the largest of them.
    """
    own = next((one for one in swept if one.rung == row["rung"]), None)
    if own is not None and own.optimum is not None:
        best, interval = _rates(own)
        curvature, n, source, noise = own.optimum.curvature, own.bowl.n, "bowl", own.noise
    else:
        best, interval = row["learning_rate"], row["interval"]
        curvature = float(np.mean([one.optimum.curvature for one in swept if one.optimum]))
        n, source = sum(one.bowl.n for one in swept), "law"
        noise = max(swept, key=lambda one: one.quantity).noise
    cost = curvature * math.log(row["used"] / best) ** 2
    outside = interval is not None and not interval[0] <= row["used"] <= interval[1]
    flagged = None if interval is None or noise is None else bool(outside and cost > noise.sd)
    return {
        "optimum": best,
        "interval": interval,
        "cost": cost,
        "n": n,
        "noise": noise and noise.sd,
        "by": source,
        "outside": outside if interval is not None else None,
        "flagged": flagged,
    }


def _rates(one: Swept) -> tuple[float, list[float] | None]:
    """The optimum as a rate, with its interval."""
    assert one.optimum is not None
    ends = one.optimum.interval
    interval = None if ends is None else [one.base_rate * math.exp(end) for end in ends]
    return one.base_rate * math.exp(one.optimum.x), interval


def _describe(one: Swept) -> dict[str, Any]:
    optimum = None
    if one.optimum is not None:
        best, interval = _rates(one)
        optimum = {
            "factor": math.exp(one.optimum.x),
            "learning_rate": best,
            "interval": interval,
            "se_log_rate": one.optimum.se,
            "loss": one.optimum.loss,
            "loss_se": one.optimum.loss_se,
            "curvature": one.optimum.curvature,
        }
    points = zip(one.bowl.factor, one.bowl.loss, strict=True)
    return {
        "variant": one.variant,
        "rung": one.rung,
        "batch_factor": one.batch_factor,
        "batch_sequences": one.batch_sequences,
        "quantity": one.quantity,
        "base_rate": one.base_rate,
        "points": [
            {
                "factor": float(f),
                "learning_rate": one.base_rate * float(f),
                "losses": losses.tolist(),
            }
            for f, losses in points
        ],
        "window": [float(one.bowl.factor[i]) for i in (one.bowl.window[0], one.bowl.window[-1])],
        "coefficients": [float(value) for value in one.bowl.coefficients],
        "n": one.bowl.n,
        "optimum": optimum,
        "reason": one.reason,
    }


def _describe_noise(noise: Noise | None) -> dict[str, Any] | None:
    return None if noise is None else {"sd_loss": noise.sd, "dof": noise.dof, "source": noise.source}


def _describe_law(
    law: Law, swept: Sequence[Swept], rates: Sequence[dict[str, Any]], budget: str
) -> dict[str, Any]:
    """The law in numbers; the exponent is that of the rate itself, the rule's included."""
    variants = {}
    for variant in law.variants:
        mine = [row for row in rates if (row["variant"], row["budget"]) == (variant, budget)]
        log_q, log_rate = (np.log([row[key] for row in mine]) for key in ("quantity", "rule_rate"))
        slope, half = law.slope(variant)
        exponent = float(np.polyfit(log_q, log_rate, 1)[0]) + slope if len(set(log_q)) > 1 else None
        ends = None if exponent is None or half is None else [exponent - half, exponent + half]
        variants[variant] = {
            "rungs": [one.rung for one in swept if one.variant == variant and one.optimum],
            "exponent": exponent,
            "interval": ends,
            "exponent_of_factor": slope,
        }
    return {
        "method": law.method,
        "in_words": METHODS[law.method],
        "variants": variants,
        "scatter": law.scatter,
        "widened": law.widened,
    }


def _refused(one: Swept) -> str:
    batch = "" if one.batch_factor == 1 else f", batch × {one.batch_factor:g}"
    return f"{one.variant} at {one.rung}{batch} has no optimum: {one.reason}"


def _problems(ruled: Sequence[Swept], rates: Sequence[dict[str, Any]], max_uncertainty: float) -> list[str]:
    """What forbids to train at the predicted rates; empty where nothing is to be."""
    applied = [row for row in rates if row["applied"]]
    if not applied:
        return []
    problems = [_refused(one) for one in ruled if one.reason]
    if problems:
        return problems
    for row in applied:
        name = f"{row['variant']} at {row['rung']} {row['budget']}"
        if row["interval"] is None:
            return [
                "nothing tells the noise: every bowl is three factors with one seed. Add a seed, or factors "
                "closer together"
            ]
        reach = max(row["interval"][1] / row["learning_rate"], row["learning_rate"] / row["interval"][0])
        if reach > max_uncertainty:
            problems.append(
                f"the rate of {name}, {row['learning_rate']:.3g}, is known to × or ÷ {reach:.3g} only, "
                f"{row['beyond']:.3g} times beyond the sweep; max_uncertainty is {max_uncertainty:g}: sweep "
                "another rung nearer to it, add seeds, or raise it"
            )
    return problems
