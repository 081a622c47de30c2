"""Repeated text in the report: passes of each run, and where one arm repeats more than another."""

from __future__ import annotations

import pandas as pd
import pytest

from stepladder.report.sections.runs import losses_table, repetition_warnings

CELLS = [("d2", "baseline", 0.6), ("d2", "tst", 2.3), ("d3", "baseline", 1.5), ("d3", "tst", 1.55)]


def runs(cells: list[tuple[str, str, float]] = CELLS) -> pd.DataFrame:
    table = pd.DataFrame(cells, columns=["rung", "variant", "passes"])
    counts = dict.fromkeys(("parameters_total", "parameters_active_non_embedding", "tokens", "steps"), 10)
    return table.assign(
        budget="1x", seed=0, flops=1e9, learning_rate=0.1, loss=2.0, bits_per_byte=1.0, **counts
    )


def test_arms_that_repeat_more_than_others_are_named() -> None:
    (warning,) = repetition_warnings(runs())
    assert warning.startswith("At d2, budget 1x, tst reads its text 2.30 times, baseline 0.600 times")


@pytest.mark.parametrize("change", ["no column", "unknown", "nothing repeats"])
def test_without_repetition_there_is_nothing_to_say(change: str) -> None:
    table = {
        "no column": runs().drop(columns="passes"),
        "unknown": runs().assign(passes=None),
        "nothing repeats": runs([("d2", "baseline", 0.2), ("d2", "tst", 1.0)]),
    }[change]
    assert repetition_warnings(table) == []
    shown = losses_table(table)
    assert len(shown.rows) == len(table)


def test_every_run_shows_its_passes() -> None:
    shown = losses_table(runs())
    place = [column.title for column in shown.columns].index("Passes")
    assert [row[place] for row in shown.rows] == ["0.60", "2.3", "1.5", "1.6"]
