"""What a sweep of learning rates tells of undertuned cells: evidence against the prior's usual amount.

By a bowl's curvature k (nats per squared e-fold) a rate that is d e-folds off the best costs k d^2 nats;
where the best is known to a standard error s, k (d^2 + s^2) is to be expected.
"""

from __future__ import annotations

import math
from statistics import fmean

from stepladder.laws.distributions import normal_quantile
from stepladder.record.learning_rates import RungRate, SweptBowl, Tuning
from stepladder.schema.analysis import AnalysisConfig

CHECKED_RUNGS = 2
"""Rungs at which every variant needs a best rate inside the sweep before it counts as evidence."""

LEAST = 0.001
"""Log loss: scale of the prior at least, however well the sweep went. The rate is not all that may be off."""


def expected_excess(tuning: Tuning) -> dict[str, float]:
    """Log loss that the rates that are used are expected to cost: "variant at rung" to that.

    Empty where the sweep is no evidence: some variant lacks `CHECKED_RUNGS` optima, or a rate's interval.
    """
    batch = tuning.batch.applied if tuning.batch else None
    bowls: dict[str, list[SweptBowl]] = {}
    for bowl in tuning.bowls:
        bowls.setdefault(bowl.variant, [])
        if bowl.batch_factor == (batch or 1) and bowl.optimum is not None:
            bowls[bowl.variant].append(bowl)
    if min((len({bowl.rung for bowl in mine}) for mine in bowls.values()), default=0) < CHECKED_RUNGS:
        return {}
    found = {}
    for row in tuning.rates:
        if row.budget != tuning.budget:
            continue
        excess = _excess(row, bowls.get(row.variant, []), tuning.confidence)
        if excess is None:
            return {}
        found[f"{row.variant} at {row.rung}"] = excess
    return found


def _excess(row: RungRate, bowls: list[SweptBowl], confidence: float) -> float | None:
    """Of one cell; None where it cannot be told."""
    if row.off is None or row.off.interval is None or row.used is None or not bowls:
        return None
    own = [bowl for bowl in bowls if bowl.rung == row.rung] or bowls
    curvature = fmean(bowl.optimum.curvature / bowl.optimum.loss for bowl in own if bowl.optimum)
    low, high = row.off.interval
    error = math.log(high / low) / 2 / float(normal_quantile((1 + confidence) / 2))
    return curvature * (math.log(row.used / row.off.optimum) ** 2 + error**2)


def narrowed(config: AnalysisConfig, tuning: Tuning | None) -> AnalysisConfig:
    """The analysis with `misfit.by` at the root mean square of what is to be expected: at least `LEAST`, and
    never above what the ladder says."""
    found = expected_excess(tuning) if tuning is not None else {}
    if not found:
        return config
    by = min(config.misfit.by, max(LEAST, math.sqrt(fmean(excess**2 for excess in found.values()))))
    return config.model_copy(update={"misfit": config.misfit.model_copy(update={"by": by})})
