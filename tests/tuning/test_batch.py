"""The batch that a sweep finds best, and the rates at it."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.record.learning_rates import Tuning
from stepladder.report.sections.tuning import batch_sentences
from stepladder.tuning.tune import Target, tune

RULE, SIZES = 0.01, {"d2": 24.0, "d3": 32.0, "d4": 40.0}
BATCHES = (0.5, 1.0, 2.0, 4.0)


def swept(best: float, batches: tuple[float, ...] = BATCHES, apply: bool = True) -> Tuning:
    """Two variants whose loss is lowest at `best` times the ruled batch; the best rate goes with its root."""
    runs = [
        {
            "variant": variant, "rung": rung, "budget": "1x", "seed": seed, "factor": factor,
            "batch_factor": batch, "batch_sequences": int(8 * batch), "base_rate": RULE, "rule_rate": RULE,
            "quantity": SIZES[rung],
            "loss": 2
            + 0.05 * math.log(factor / math.sqrt(batch)) ** 2
            + 0.03 * math.log(batch / best) ** 2
            + 1e-4 * math.sin(31 * factor + seed),
        }
        for variant in ("dense-baseline", "dense-tst") for rung in ("d2", "d3") for batch in batches
        for factor in (0.25, 0.5, 1.0, 2.0, 4.0) for seed in (0, 1)
    ]  # fmt: skip
    targets = [
        Target(v, rung, "1x", size, RULE, RULE, True)
        for v in ("dense-baseline", "dense-tst")
        for rung, size in SIZES.items()
    ]
    return tune(pd.DataFrame(runs), targets, "d_model", 0.95, 4.0, apply_batch=apply)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.72, 2.8))
def test_the_fit_is_the_lowest_point_and_the_nearest_tried_is_applied(best: float) -> None:
    found = swept(best)
    assert found.problems == () and len(found.batch.each) == 4
    assert found.batch.fitted == pytest.approx(best, rel=0.02)
    assert found.batch.applied == min(BATCHES, key=lambda b: abs(math.log(b / found.batch.fitted)))


def test_rates_are_those_of_the_applied_batch() -> None:
    """The best rate goes with the root of the batch: at twice the batch it is 1.41 times as high."""
    found = swept(2.0)
    assert found.batch.applied == 2.0
    assert all(row.factor == pytest.approx(math.sqrt(2), rel=0.02) for row in found.rates)
    assert all(row.factor == pytest.approx(1.0, rel=0.02) for row in swept(2.0, apply=False).rates)
    assert "Best batch: × 2.0" in batch_sentences(found)[0] and "n = 4" in batch_sentences(found)[0]
    assert batch_sentences(swept(2.0, apply=False)) == []


@pytest.mark.parametrize(("best", "side"), [(0.2, "smaller"), (9.0, "larger")])
def test_a_best_batch_at_an_end_stops_the_climb(best: float, side: str) -> None:
    found = swept(best)
    assert found.batch.applied is None and found.batch.fitted is None
    assert len(found.problems) >= 4 and f"at an end: add {side} ones" in found.problems[0]
    assert "No best batch for the whole ladder" in batch_sentences(found)[0]


def test_a_batch_without_a_best_rate_is_not_said_to_be_missing() -> None:
    """At half the batch the best rate is at an end of the sweep: to add smaller batches would not help."""
    found = tune(bent(), [], "d_model", 0.95, 4.0, apply_batch=True)
    (row,) = found.batch.each
    assert row.reason == (
        "the lowest loss is at the batch factor 1, at an end: give 0.5 a best rate, with more seeds or rates"
    )


def test_losses_without_a_lowest_point_are_not_at_an_end() -> None:
    """The lowest is inside, but the parabola through all five batches opens downwards."""
    runs = bent((0.25, 0.5, 1.0, 2.0, 4.0), {0.25: 0.0, 0.5: 0.3, 1.0: -0.01, 2.0: 0.3, 4.0: 0.0}, at=1.0)
    (row,) = tune(runs, [], "d_model", 0.95, 4.0, apply_batch=True).batch.each
    assert row.reason == "no parabola with a lowest point goes through its losses over the batch: add seeds"


def bent(
    batches: tuple[float, ...] = BATCHES, height: dict[float, float] | None = None, at: float = 40.0
) -> pd.DataFrame:
    """One variant and rung. The best rate is the rule's, at half the batch `at` times that."""
    height = height or {0.5: 0.0, 1.0: 0.1, 2.0: 0.2, 4.0: 0.3}
    runs = [
        {
            "variant": "dense-baseline", "rung": "d2", "budget": "1x", "seed": seed, "factor": factor,
            "batch_factor": batch, "batch_sequences": int(8 * batch), "base_rate": RULE, "rule_rate": RULE,
            "quantity": 24.0,
            "loss": 2 + height[batch] + 0.05 * math.log(factor / (at if batch == 0.5 else 1.0)) ** 2
            + 1e-4 * math.sin(31 * factor + seed),
        }
        for batch in batches for factor in (0.25, 0.5, 1.0, 2.0, 4.0) for seed in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(runs)
