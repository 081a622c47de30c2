"""task_laws.json: two steps for every task of a table of runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ladders import FLOPS, runs_table, with_task

from stepladder.decision.tasks import TaskLaw, TaskLaws, tasks_of, two_step
from stepladder.schema.analysis import AnalysisConfig

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=100)
GAINS = {"dense-baseline": 1.0, "dense-tst": 1.3, "moe-baseline": 1.7}


def table(sigma: float = 0.002, **more: object) -> pd.DataFrame:
    return with_task(runs_table(GAINS, sigma, seeds=dict.fromkeys(FLOPS, 2), **more), noise=sigma)


def one(runs: pd.DataFrame, config: AnalysisConfig = CONFIG) -> TaskLaw:
    (law,) = two_step(runs, config).tasks
    return law


def test_names_of_tasks() -> None:
    columns = [
        "loss",
        "task_a_b_bits_per_byte",
        "task_a_b_bits_per_byte_error",
        "task_c_accuracy",
        "bits_per_byte",
    ]
    assert tasks_of(columns) == ["a_b"]


def test_known_laws_are_found() -> None:
    """Of losses E = 1, A = 0.8 at 1e12 FLOPs and alpha = 0.25, times 0.7."""
    law = one(table(0.0))
    assert law.first and law.second and law.reason is None
    assert law.first.law == "compute" and law.first.parameters["E"].value == pytest.approx(0.7, abs=1e-3)
    assert law.first.parameters["alpha[moe-baseline]"].value == pytest.approx(0.25, abs=1e-3)
    found = {name: estimate.value for name, estimate in law.second.parameters.items()}
    assert found["k"] == pytest.approx(6.0, rel=0.01) and found["b_mid"] == pytest.approx(1.2, rel=0.01)
    assert (law.items, law.chance, law.n_runs) == (1000, 0.25, 24)


def test_the_largest_rung_is_foretold() -> None:
    law = one(table())
    assert [forecast.variant for forecast in law.forecasts] == sorted(GAINS)
    for forecast in law.forecasts:
        assert forecast.place == "d5" and forecast.n == 2 and forecast.flops == FLOPS["d5"]
        for score in (forecast.bits, forecast.accuracy):
            low, high = score.expected
            assert score.hit == (low <= score.measured <= high)
            assert score.predicted.value == pytest.approx(score.measured, rel=0.05)
            assert None not in (score.predicted.items, score.predicted.both)
    assert sum(forecast.bits.hit for forecast in law.forecasts) >= 2


def test_what_is_not_known_is_null() -> None:
    """One seed: no noise of training, and no hit; no errors over items: none of items."""
    once = one(table()[lambda t: t["seed"] == 0])
    estimate = once.first.parameters["E"]
    assert estimate.seeds is None and estimate.both is None and estimate.items is not None
    assert all(forecast.bits.hit is None for forecast in once.forecasts)
    errors = ["task_quiz_bits_per_byte_error", "task_quiz_accuracy_error"]
    estimate = one(table().drop(columns=errors)).first.parameters["E"]
    assert estimate.seeds is not None and estimate.items is None and estimate.both is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy": 0.26}, "that of guessing on the whole ladder"),
        ({"bits_per_byte": 1.0}, "do not fall with compute"),
        ({"items": np.arange(24)}, "runs differ in the number of items"),
        ({"items": "many"}, "no variant was scored at 3 rungs"),
        ({"bits_per_byte": np.inf}, "missing, infinite or not positive"),
        ({"chance": np.nan}, "no variant was scored at 3 rungs"),
    ],
)
def test_one_task_is_refused_and_the_others_stand(change: dict[str, object], said: str) -> None:
    runs = with_task(table(), "other").assign(**{f"task_quiz_{k}": v for k, v in change.items()})
    quiz, other = two_step(runs, CONFIG).tasks
    assert quiz.first is None and said in str(quiz.reason) and not quiz.forecasts
    assert other.first is not None and other.reason is None


def test_few_rungs() -> None:
    runs = table()
    three = one(runs[runs["rung"] != "d2"])
    assert three.first is not None and not three.forecasts
    assert three.forecast_reason == "without the largest rung: 2 rungs: the first step needs 3"
    short = (runs["variant"] == "dense-tst") & runs["rung"].isin(["d2", "d3"])
    some = one(runs[~short])
    assert some.left_out == {"dense-tst": "scored at 2 rungs, of which 3 are needed"}
    assert some.first is not None and [f.variant for f in some.forecasts] == [
        "dense-baseline",
        "moe-baseline",
    ]
    none = one(runs[runs["rung"].isin(["d2", "d3"])])
    assert none.reason == "no variant was scored at 3 rungs" and set(none.left_out) == set(GAINS)


def test_order_of_rows_changes_nothing_and_scores_change_the_digest() -> None:
    runs = table()
    found = two_step(runs, CONFIG)
    assert two_step(runs.sample(frac=1, random_state=5), CONFIG) == found
    other = runs.assign(task_quiz_accuracy=runs["task_quiz_accuracy"] + 1e-6)
    assert two_step(other, CONFIG).rows_sha256 != found.rows_sha256


def test_a_table_without_tasks_or_flops(tmp_path: Path) -> None:
    found = two_step(runs_table(GAINS), CONFIG)
    assert found.tasks == ()
    with pytest.raises(ValueError, match="laws of tasks need FLOPs"):
        two_step(table().drop(columns="flops"), CONFIG)
    full = two_step(table(), CONFIG)
    full.write(tmp_path / "task_laws.json")
    assert TaskLaws.read(tmp_path / "task_laws.json") == full


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [0.0, 10.0])
def test_errors_over_items_of_any_size(size: float) -> None:
    """None leave the laws as they are; impossible ones give intervals that say nothing."""
    names = ("task_quiz_bits_per_byte_error", "task_quiz_accuracy_error")
    law = one(table().assign(**dict.fromkeys(names, size)))
    low, high = law.second.parameters["k"].items
    assert (high - low < 1e-3 * high) is (size == 0.0)


def test_budgets_that_differ_are_laws_of_size_and_data() -> None:
    runs = table()
    several = []
    for multiple in (1.0, 2.0, 4.0):
        more = {name: runs[name] * multiple for name in ("flops", "tokens")}
        loss = runs["loss"] * multiple**-0.05
        names = runs["id"].str.replace("1x", f"{multiple:g}x")
        several.append(runs.assign(**more, loss=loss, budget=f"{multiple:g}x", id=names))
    law = one(with_task(pd.concat(several), noise=0.002))
    assert law.first.law == "chinchilla" and law.first.note is None
    assert [forecast.place for forecast in law.forecasts][:3] == ["d5 1x", "d5 2x", "d5 4x"]
