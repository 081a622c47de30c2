"""Signal, noise and decision accuracy of metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ladders import FLOPS, runs_table, with_task

from stepladder.decision.signal import Signal, same_order, scores_of, signal
from stepladder.schema.analysis import AnalysisConfig

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=200)
GAINS = {"dense-baseline": 1.0, "dense-tst": 1.3, "moe-baseline": 1.7, "moe-tst": 2.0}


def table(sigma: float = 0.003) -> pd.DataFrame:
    return with_task(runs_table(GAINS, sigma, seeds=dict.fromkeys(FLOPS, 2)))


def row(found: Signal, metric: str, place: str):
    (one,) = (one for one in found.signals if (one.metric, one.place) == (metric, place))
    return one


def agreement(found: Signal, metric: str, place: str, by: str | None = None):
    wanted = (metric, place, by or metric)
    (one,) = (one for one in found.agreements if (one.metric, one.place, one.by) == wanted)
    return one


def two_variants() -> pd.DataFrame:
    """Means 2.0 and 2.2; seeds 0.1 off, up and down."""
    runs = runs_table({"dense-baseline": 1.0, "dense-tst": 1.2}, seeds=dict.fromkeys(FLOPS, 2))
    level = np.where(runs["variant"] == "dense-tst", 2.0, 2.2)
    return runs.assign(loss=level + np.where(runs["seed"] == 0, 0.1, -0.1))


def test_by_hand() -> None:
    found = row(signal(two_variants(), CONFIG), "target_loss", "d2")
    assert found.signal == pytest.approx(0.2 / 2.1)
    assert found.noise == pytest.approx(0.1 * np.sqrt(2) / 2.1), "n - 1 in the denominator"
    assert found.ratio == pytest.approx(0.2 / (0.1 * np.sqrt(2)))
    assert (found.variants, found.n_runs) == (2, 4)
    assert found.by_noise == pytest.approx(0.0, abs=1e-12), "the seeds move both alike"


def test_checkpoints_by_hand() -> None:
    runs = two_variants()
    steps = pd.concat([runs.assign(loss=runs["loss"] + off) for off in (-0.03, 0.0, 0.03)])
    found = row(signal(runs, CONFIG, steps), "target_loss", "d2")
    assert found.noise_checkpoints == pytest.approx(0.03 / 2.1)
    assert row(signal(runs, CONFIG), "target_loss", "d2").noise_checkpoints is None


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ([1, 2, 3], [10, 20, 30], 1.0),
        ([1, 2, 3], [3, 2, 1], 0.0),
        ([1, 2, 3], [1, 3, 2], 2 / 3),
        ([1, 1, 3], [1, 2, 3], 5 / 6),
        ([1, 2], [2, 2], 0.5),
    ],
)
def test_pairs_by_hand(one: list[float], other: list[float], share: float) -> None:
    assert same_order(np.array(one), np.array(other)) == pytest.approx(share)


def test_every_metric_is_there_and_an_accuracy_agrees_with_the_loss_it_follows() -> None:
    found = signal(table(0.0005), CONFIG)
    scores = ("accuracy", "accuracy_per_byte", "margin")
    names = ["target_loss", "task:quiz", *(f"task:quiz:{name}" for name in scores)]
    assert list(dict.fromkeys(one.metric for one in found.signals)) == names
    assert [score.name for score in scores_of(table(), "target_loss")] == names
    assert not found.refused
    for name in names:
        one = agreement(found, name, "d2", "target_loss")
        assert one.share == 1.0 and one.pairs == 6 and one.largest == "d5", name
        assert one.interval is not None and one.interval[1] == 1.0
    assert {one.place for one in found.agreements} == {"d2", "d3", "d4"}


def test_an_order_that_turns_round_is_seen() -> None:
    runs = table(0.0001)
    turned = runs["loss"].where(runs["rung"] != "d2", 5 - runs["loss"])
    found = signal(runs.assign(loss=turned), CONFIG)
    assert agreement(found, "target_loss", "d2").share == 0.0
    assert agreement(found, "target_loss", "d3").share == 1.0
    assert agreement(found, "task:quiz:accuracy", "d2", "target_loss").share == 1.0


def test_noise_of_a_known_size_is_found_and_its_interval_holds_it() -> None:
    """And variants that do not differ have a signal of noise alone."""
    held, spreads = [], []
    for seed in range(40):
        runs = runs_table(dict.fromkeys(GAINS, 1.0), 0.0, seeds=dict.fromkeys(FLOPS, 3))
        noise = 0.01 * np.random.default_rng(seed).standard_normal(len(runs))
        found = row(signal(runs.assign(loss=1 + noise), CONFIG), "target_loss", "d3")
        assert found.noise_interval is not None and None not in found.noise_interval
        held.append(found.noise_interval[0] <= 0.01 <= found.noise_interval[1])
        spreads.append([found.signal, found.by_noise])
    assert np.mean(held) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 40)
    signals, by_noise = np.mean(spreads, axis=0)
    assert by_noise == pytest.approx(signals, rel=0.3)


def test_one_seed_has_no_noise() -> None:
    found = signal(runs_table(GAINS, seeds=dict.fromkeys(FLOPS, 1)), CONFIG)
    one = row(found, "target_loss", "d2")
    assert one.signal and (one.noise, one.ratio, one.ratio_interval, one.by_noise) == (None,) * 4
    assert agreement(found, "target_loss", "d2").interval is None


def test_order_of_rows_and_unit_change_nothing() -> None:
    runs = table()
    found = signal(runs, CONFIG)
    assert signal(runs.sample(frac=1, random_state=3), CONFIG) == found
    scaled = signal(runs.assign(loss=runs["loss"] * 1000), CONFIG)
    for mine, theirs in zip(scaled.signals, found.signals, strict=True):
        for name in ("signal", "noise", "ratio", "by_noise"):
            assert getattr(mine, name) == pytest.approx(getattr(theirs, name))
    assert [one.share for one in scaled.agreements] == [one.share for one in found.agreements]
    assert scaled.rows_sha256 != found.rows_sha256


def test_scores_that_are_missing_are_left_out() -> None:
    runs = table()
    runs["task_quiz_margin"] = np.nan
    runs["task_quiz_accuracy"] = runs["task_quiz_accuracy"].where(runs["variant"] != "moe-tst")
    found = signal(runs, CONFIG)
    assert found.refused == {"task:quiz:margin": "no run has task_quiz_margin"}
    assert row(found, "task:quiz:accuracy", "d2").variants == 3
    assert agreement(found, "task:quiz:accuracy", "d2").pairs == 3


def test_it_is_read_back_as_it_was(tmp_path: Path) -> None:
    found = signal(table(), CONFIG)
    found.write(tmp_path / "signal.json")
    assert Signal.read(tmp_path / "signal.json") == found


def test_a_metric_that_is_not_there_is_named() -> None:
    config = CONFIG.model_copy(update={"metric": "domain:code"})
    with pytest.raises(ValueError, match="metric domain:code: the table of runs has no column"):
        signal(table(), config)
