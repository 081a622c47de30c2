"""A learning-rate sweep on some rungs: the bowls, the optimum's law over scale, and the rates that follow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from stepladder.display.numbers import exponential
from stepladder.record.learning_rates import (
    BestRate,
    BowlPoint,
    Interval,
    OffOptimum,
    RateExponent,
    RateLaw,
    RungRate,
    SweptBowl,
    Tuning,
)
from stepladder.tuning.batch import choose_batch, problems
from stepladder.tuning.law import METHODS, OptimumLaw, fit_law
from stepladder.tuning.swept import Swept, fit_bowls

DIGITS = 3
"""Of a predicted factor. Rates are part of a run's identity: noise of arithmetic must not train it again."""


def tune(
    runs: pd.DataFrame,
    targets: Sequence[Target],
    quantity: Literal["n", "d", "c", "d_model"],
    confidence: float,
    max_uncertainty: float,
    made_from: str = "",
    apply_batch: bool = False,
) -> Tuning:
    """From the runs of a sweep to learning rates.

    Args:
        runs: one row per run of the sweep: variant, rung, budget, seed, factor, batch_factor,
            batch_sequences, base_rate (the rate at factor 1), rule_rate, quantity, loss (nats/token).
        targets: what rates are wanted for.
        quantity: name of the measure of scale.
        confidence: coverage of the intervals.
        max_uncertainty: factor that the interval of an applied rate may reach from it.
        made_from: digest of the sweep.
        apply_batch: whether the ladder is to train with the batch that is found best: rates are of that one.

    Returns:
        The document; its `problems` list what forbids to train at the predicted rates.

    Raises:
        ValueError: a bowl lacks runs.
    """
    swept = fit_bowls(runs, confidence)
    choice = choose_batch(swept) if apply_batch else None
    batch = choice.applied if choice is not None and choice.applied is not None else 1.0
    ruled = [one for one in swept if one.batch_factor == batch]
    usable = [one for one in ruled if one.optimum]
    law = fit_law(usable, confidence)
    budget = swept[0].budget
    rates = [_rate(target, law, usable, budget) for target in targets]
    return Tuning(
        made_from=made_from,
        quantity=quantity,
        budget=budget,
        confidence=confidence,
        noise={one.rung: one.noise for one in swept},
        bowls=tuple(map(_bowl, swept)),
        law=law and _law(law, ruled, rates, budget),
        rates=tuple(rates),
        warnings=tuple(_refused(one) for one in swept if one.reason),
        batch=choice,
        problems=(*(problems(choice) if choice else ()), *_problems(ruled, rates, max_uncertainty)),
    )


@dataclass(frozen=True)
class Target:
    """What a rate is wanted for: one variant, rung and budget of the ladder."""

    variant: str
    rung: str
    budget: str
    quantity: float
    """Value of the measure of scale."""
    rule_rate: float
    """By the ladder's rule, whatever the rung overrides."""
    ruled_rate: float
    """What it trains at without the sweep."""
    applied: bool
    """Whether it trains at the prediction."""


def _rate(target: Target, law: OptimumLaw | None, swept: Sequence[Swept], budget: str) -> RungRate:
    """The predicted rate of one variant, rung and budget, the rate it trains at, and what that costs it.

    Args:
        swept: bowls at the ruled batch that have an optimum.
        budget: of the sweep.
    """
    factor, predicted, ends = None, None, None
    if law is not None and target.variant in law.variants:
        log_factor, half = law.predict(target.variant, target.quantity)
        factor = float(f"{math.exp(log_factor):.{DIGITS}g}")
        predicted = target.rule_rate * factor
        if half is not None:
            low, high = exponential(log_factor - half), exponential(log_factor + half)
            ends = (target.rule_rate * low, target.rule_rate * high)
    used = predicted if target.applied else target.ruled_rate
    mine = [one for one in swept if one.variant == target.variant]
    sizes = [one.quantity for one in mine]
    beyond = max(target.quantity / max(sizes), min(sizes) / target.quantity, 1.0) if sizes else None
    off = None
    if target.budget == budget and used is not None and mine:
        off = _off(target.rung, used, (predicted, ends), mine)
    return RungRate(
        variant=target.variant,
        rung=target.rung,
        budget=target.budget,
        quantity=target.quantity,
        rule_rate=target.rule_rate,
        ruled_rate=target.ruled_rate,
        applied=target.applied,
        factor=factor,
        learning_rate=predicted,
        interval=ends,
        beyond=beyond,
        used=used,
        off=off,
    )


def _off(
    rung: str, used: float, predicted: tuple[float | None, Interval | None], swept: Sequence[Swept]
) -> OffOptimum:
    """How far the rate that is used lies from the optimum, by the rung's own bowl or else by the law.

    The cost takes the bowl to be a parabola. A rung that is not swept has the mean curvature of the variant's
    bowls, and the noise of the largest of them.

    Args:
        predicted: rate and interval by the law.
        swept: the variant's bowls that have an optimum.
    """
    own = next((one for one in swept if one.rung == rung), None)
    by: Literal["bowl", "law"]
    if own is not None and own.optimum is not None:
        best, interval = own.best_rate, own.rate_interval
        curvature, n, by, noise = own.optimum.curvature, own.bowl.n, "bowl", own.noise
    else:
        assert predicted[0] is not None, "a variant with an optimum is in the law"
        best, interval = predicted[0], predicted[1]
        curvature = float(np.mean([one.optimum.curvature for one in swept if one.optimum]))
        n, by = sum(one.bowl.n for one in swept), "law"
        noise = max(swept, key=lambda one: one.quantity).noise
    cost = curvature * math.log(used / best) ** 2
    outside = None if interval is None else not interval[0] <= used <= interval[1]
    flagged = None if outside is None or noise is None else bool(outside and cost > noise.sd_loss)
    return OffOptimum(
        optimum=best,
        interval=interval,
        cost=cost,
        n=n,
        noise=noise and noise.sd_loss,
        by=by,
        outside=outside,
        flagged=flagged,
    )


def _bowl(one: Swept) -> SweptBowl:
    best = None
    if one.optimum is not None:
        best = BestRate(
            factor=math.exp(one.optimum.x),
            learning_rate=one.best_rate,
            interval=one.rate_interval,
            se_log_rate=one.optimum.se,
            loss=one.optimum.loss,
            loss_se=one.optimum.loss_se,
            curvature=one.optimum.curvature,
        )
    factors = [float(factor) for factor in one.bowl.factor]
    a, b, c = (float(value) for value in one.bowl.coefficients)
    return SweptBowl(
        variant=one.variant,
        rung=one.rung,
        batch_factor=one.batch_factor,
        batch_sequences=one.batch_sequences,
        quantity=one.quantity,
        base_rate=one.base_rate,
        points=tuple(
            BowlPoint(factor=factor, learning_rate=one.base_rate * factor, losses=tuple(losses.tolist()))
            for factor, losses in zip(factors, one.bowl.loss, strict=True)
        ),
        window=(factors[one.bowl.window[0]], factors[one.bowl.window[-1]]),
        coefficients=(a, b, c),
        n=one.bowl.n,
        optimum=best,
        reason=one.reason,
    )


def _law(law: OptimumLaw, swept: Sequence[Swept], rates: Sequence[RungRate], budget: str) -> RateLaw:
    """The law in numbers; the exponent is that of the rate itself, the rule's included."""
    variants = {}
    for variant in law.variants:
        mine = [row for row in rates if (row.variant, row.budget) == (variant, budget)]
        log_q, log_rate = np.log([row.quantity for row in mine]), np.log([row.rule_rate for row in mine])
        slope, half = law.slope(variant)
        exponent = float(np.polyfit(log_q, log_rate, 1)[0]) + slope if len(set(log_q)) > 1 else None
        variants[variant] = RateExponent(
            rungs=tuple(one.rung for one in swept if one.variant == variant and one.optimum),
            exponent=exponent,
            interval=None if exponent is None or half is None else (exponent - half, exponent + half),
            exponent_of_factor=slope,
        )
    return RateLaw(
        method=law.method,
        in_words=METHODS[law.method],
        variants=variants,
        scatter=law.scatter,
        widened=law.widened,
    )


def _refused(one: Swept) -> str:
    batch = "" if one.batch_factor == 1 else f", batch × {one.batch_factor:g}"
    return f"{one.variant} at {one.rung}{batch} has no optimum: {one.reason}"


def _problems(ruled: Sequence[Swept], rates: Sequence[RungRate], max_uncertainty: float) -> list[str]:
    """What forbids to train at the predicted rates; empty where nothing is to be."""
    applied = [row for row in rates if row.applied]
    if not applied:
        return []
    problems = [_refused(one) for one in ruled if one.reason]
    if problems:
        return problems
    for row in applied:
        name = f"{row.variant} at {row.rung} {row.budget}"
        if row.learning_rate is None or row.interval is None:
            return [
                "nothing tells the noise: every bowl is three factors with one seed. Add a seed, or factors "
                "closer together"
            ]
        reach = max(row.interval[1] / row.learning_rate, row.learning_rate / row.interval[0])
        if reach > max_uncertainty:
            problems.append(
                f"the rate of {name}, {row.learning_rate:.3g}, is known to × or ÷ {reach:.3g} only, "
                f"{row.beyond:.3g} times beyond the sweep; max_uncertainty is {max_uncertainty:g}: sweep "
                "another rung nearer to it, add seeds, or raise it"
            )
    return problems
