"""What the terminal says of tasks and of metrics."""

from __future__ import annotations

import pandas as pd
import pytest
from ladders import FLOPS, runs_table, with_task

from stepladder.decision.signal import signal
from stepladder.decision.tasks import two_step
from stepladder.report.render.console import print_signal
from stepladder.report.sections.task_laws import (
    signal_table,
    steps_table,
    task_forecasts_table,
    task_sentences,
)
from stepladder.schema.analysis import AnalysisConfig

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=100)
GAINS = {"dense-baseline": 1.0, "dense-tst": 1.3, "moe-baseline": 1.7}


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return with_task(runs_table(GAINS, 0.003, seeds=dict.fromkeys(FLOPS, 2)), noise=0.003)


def test_every_parameter_forecast_and_metric_has_a_row(runs: pd.DataFrame) -> None:
    laws, found = two_step(runs, CONFIG), signal(runs, CONFIG)
    assert [row[2] for row in steps_table(laws).rows][-3:] == ["R0", "k", "b_mid"]
    assert [tuple(row[1:3]) for row in task_forecasts_table(laws).rows][::2] == [
        (name, "d5") for name in GAINS
    ]
    rows = signal_table(found).rows
    assert len(rows) == len(found.signals) and rows[0][0] == "target_loss" and rows[1][0] == ""
    assert "of 3 [" in rows[0][6] and rows[3][6] == "—", "the largest is not held against itself"


def test_what_there_is_not_is_said(runs: pd.DataFrame, capsys) -> None:
    guessed = runs.assign(task_quiz_accuracy=0.25)
    laws = two_step(guessed, CONFIG)
    assert steps_table(laws) is None and task_forecasts_table(laws) is None
    (told,) = task_sentences(laws)
    assert told.startswith("quiz: no laws, because accuracy is that of guessing on the whole ladder")
    gap = runs["variant"].map({"dense-baseline": 0.0, "dense-tst": 0.02, "moe-baseline": 0.04})
    apart = two_step(runs.assign(task_quiz_accuracy=runs["task_quiz_accuracy"] + gap), CONFIG)
    assert "variants do not lie on one curve" in " ".join(task_sentences(apart))
    three = two_step(runs[runs["rung"] != "d2"], CONFIG)
    assert "no forecast, because without the largest rung: 2 rungs" in " ".join(task_sentences(three))
    print_signal(signal(guessed, CONFIG), laws)
    shown = capsys.readouterr().out
    assert "Signal, noise and decision accuracy" in shown and "quiz: no laws" in shown


def test_one_variant_has_nothing_to_be_told_from(runs: pd.DataFrame, capsys) -> None:
    found = signal(runs[runs["variant"] == "dense-tst"], CONFIG)
    assert signal_table(found) is None
    print_signal(found, None)
    assert "No rung has two variants" in capsys.readouterr().out
