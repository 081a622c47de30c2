"""What the terminal shows of a comparison: every axis that was asked for, at the narrowest width."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from stepladder.decision.comparison import Comparison
from stepladder.decision.prediction import Prediction
from stepladder.decision.run_options import LEAST, ChosenRun, SpendingPlan
from stepladder.display.table import Table
from stepladder.display.terminal import MIN_WIDTH, Shown
from stepladder.report.sections.axes import axes_table, rungs_table
from stepladder.report.sections.evidence import seeds_table
from stepladder.report.sections.outlook import options_table, predictions_table, spending_sentences
from stepladder.report.sections.verdict import eg, trend
from stepladder.schema.analysis import AXES


@pytest.fixture(scope="module")
def comparison(folder: Path) -> Comparison:
    return Comparison.read(folder / "comparison.json")


def printed(table: Table) -> list[str]:
    console = Console(width=MIN_WIDTH, highlight=False, soft_wrap=True)
    with console.capture() as captured:
        console.print(Shown(table))
    return captured.get().splitlines()


def test_every_axis_has_its_numbers(comparison: Comparison) -> None:
    rows = iter(axes_table(comparison).rows)
    for pair in comparison.comparisons:
        for axis in AXES:
            gain, row = pair.gains[axis], next(rows)
            assert row[1:5] == (AXES[axis].title, eg(gain.at_largest), eg(gain.pooled), trend(gain))
            assert row[5].endswith(f" runs, {len(gain.rungs)} rungs")


def test_nothing_is_left_out_at_the_narrowest_width(comparison: Comparison) -> None:
    pair = comparison.comparisons[0]
    lines = printed(axes_table(comparison))
    assert max(map(len, lines)) <= MIN_WIDTH
    for axis in AXES:
        shown = [line for line in lines if f" {AXES[axis].title} " in line]
        assert len(shown) == len(comparison.comparisons), axis
        assert eg(pair.gains[axis].at_largest) in shown[0] and trend(pair.gains[axis]) in shown[0]
    for pair in comparison.comparisons:
        for rung in (rung for gain in pair.gains.values() for rung in gain.rungs):
            assert any(
                f" {rung.label} " in line and eg(rung) in line for line in printed(rungs_table(comparison))
            )


def test_an_axis_without_a_gain_blanks_no_other(comparison: Comparison) -> None:
    pair = comparison.comparisons[0]
    gone = pair.gains["flops"].model_copy(
        update={"reason": "2 rungs only", "rungs": (), "at_largest": None, "pooled": None, "trend": None}
    )
    without = pair.model_copy(update={"gains": {**pair.gains, "flops": gone}})
    first, second, third = axes_table(comparison.model_copy(update={"comparisons": (without,)})).rows
    assert first[2:] == ("—", "—", "—", "2 rungs only")
    assert second[2] == eg(pair.gains["seconds"].at_largest) and third[2] == eg(
        pair.gains["tokens"].at_largest
    )


def test_the_wanted_gain_heads_its_column(comparison: Comparison) -> None:
    pair = comparison.comparisons[0]
    assert pair.seeds_needed is not None
    other = pair.model_copy(update={"seeds_needed": pair.seeds_needed.model_copy(update={"gain": 1.05})})
    titles = [c.title for c in seeds_table(comparison.model_copy(update={"comparisons": (other,)})).columns]
    assert "Pairs for EG 1.05" in titles


def test_inputs_of_a_prediction_are_no_counts_of_trillions() -> None:
    row = Prediction(
        variant=None,
        at={"flops": 1e21, "parameters": 7e9, "tokens": 3e15},
        predicted=2.1,
        interval=(None, 2.2),
        run_interval=None,
        beyond={"flops": 2e9, "tokens": 1.0},
    )
    (cells,) = predictions_table([row], "bits/byte").rows
    assert cells[0] == "flops 1.00 × 10²¹, parameters 7.00B, tokens 3.00 × 10¹⁵"
    assert cells[2] == "[—, 2.200]" and cells[4] == "flops × 2.00 × 10⁹"


def test_a_small_narrowing_is_not_printed_as_none(comparison: Comparison) -> None:
    found = next(pair.next_runs for pair in comparison.comparisons if pair.next_runs)
    slow = found.candidates[0].model_copy(update={"narrowing_per_hour": 1.234e-4})
    (cells,) = options_table(found.model_copy(update={"candidates": (slow,)}), 5).rows
    assert cells[-1] == "0.0123 %"


def test_a_run_that_widens_the_interval_promises_nothing(comparison: Comparison) -> None:
    found = next(pair.next_runs for pair in comparison.comparisons if pair.next_runs)
    wide = found.candidates[0].model_copy(update={"narrowing": -0.02, "narrowing_per_hour": -1.65})
    tiny = wide.model_copy(update={"narrowing": LEAST / 2, "narrowing_per_hour": 0.04})
    rows = options_table(found.model_copy(update={"candidates": (tiny, wide)}), 5).rows
    assert [row[-2:] for row in rows] == [("< 0.1 %", "4.00 %"), ("no expected gain", "—")]


def test_what_is_bought_is_said_with_the_reason(comparison: Comparison) -> None:
    found = next(pair.next_runs for pair in comparison.comparisons if pair.next_runs)
    step = ChosenRun(rung="d5", flops=1e12, runs={"dense": 1, "moe": 1})
    plan = SpendingPlan(steps=(step, step), accelerator_hours=0.5, interval_factor_after=1.1, narrowing=0.2)
    told = spending_sentences(found.model_copy(update={"plan": plan, "hours": 1.0}))[1]
    assert told.startswith("With 1 accelerator-hours: 2 × d5 (dense + moe); 0.500 hours, then × or ÷ 1.100. ")
    assert "ranked anew" in told
    none = found.model_copy(update={"plan": plan.model_copy(update={"steps": ()})})
    assert "nothing is bought: no run that it can pay narrows" in spending_sentences(none)[1]
