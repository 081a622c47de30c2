"""The batch that a sweep finds best: one factor on the ruled batch for the whole ladder.

A batch that differed between variants, or went another way over scale than the rule, would be another ladder.
Every bowl's lowest loss is held against ln(batch factor), and a parabola through them gives the best factor
of each variant and rung. Their geometric mean is the fitted one. The tried factor nearest to it is applied,
because rates were swept at that one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stepladder.record.learning_rates import BatchChoice, BestBatch
from stepladder.tuning.swept import Swept

LEAST = 3
"""Batch factors that a parabola needs."""


def choose_batch(swept: Sequence[Swept]) -> BatchChoice:
    """The best factor of each variant and rung, the fitted one, and the one that is applied."""
    groups: dict[tuple[str, str], list[Swept]] = {}
    for one in swept:
        groups.setdefault((one.variant, one.rung), []).append(one)
    each = tuple(_best(variant, rung, mine) for (variant, rung), mine in groups.items())
    found = [math.log(best.factor) for best in each if best.factor is not None]
    if len(found) < len(each) or not found:
        return BatchChoice(each=each, fitted=None, spread=None, applied=None)
    fitted = float(np.mean(found))
    tried = sorted({one.batch_factor for one in swept})
    return BatchChoice(
        each=each,
        fitted=math.exp(fitted),
        spread=math.exp(float(np.std(found, ddof=1))) if len(found) > 1 else None,
        applied=min(tried, key=lambda factor: abs(math.log(factor) - fitted)),
    )


def _best(variant: str, rung: str, swept: Sequence[Swept]) -> BestBatch:
    """By a parabola through the lowest losses of all batches that have one."""

    def none(reason: str) -> BestBatch:
        return BestBatch(variant=variant, rung=rung, factor=None, reason=reason)

    there = sorted((math.log(one.batch_factor), one.optimum.loss) for one in swept if one.optimum is not None)
    if len(there) < LEAST:
        return none(f"{len(there)} of its batches have a best rate inside the sweep, and {LEAST} are needed")
    x, loss = (np.array(values) for values in zip(*there, strict=True))
    curvature, slope, _ = np.polyfit(x, loss, 2)
    lowest = int(loss.argmin())
    if lowest in (0, len(x) - 1):
        side, outwards = ("smaller", -1) if lowest == 0 else ("larger", 1)
        end, tried = math.exp(x[lowest]), sorted(one.batch_factor for one in swept)
        beyond = [f"{f:g}" for f in tried if outwards * (f - end) > 1e-9 * f]
        fix = f"add {side} ones"
        if beyond:
            fix = f"give {' and '.join(beyond)} a best rate, with more seeds or rates"
        return none(f"the lowest loss is at the batch factor {end:g}, at an end: {fix}")
    if not curvature > 0:
        return none("no parabola with a lowest point goes through its losses over the batch: add seeds")
    best = float(np.clip(-slope / (2 * curvature), x[0], x[-1]))
    return BestBatch(variant=variant, rung=rung, factor=math.exp(best), reason=None)


def problems(choice: BatchChoice) -> list[str]:
    """What forbids to train at another batch; empty if nothing does."""
    return [f"batch of {best.variant} at {best.rung}: {best.reason}" for best in choice.each if best.reason]
