"""The chance, at a gate, that the ladder promotes a candidate at its end."""

from __future__ import annotations

import pandas as pd
import pytest
from ladders import FLOPS, runs_table

from stepladder.decision.conditional_power import Prospects
from stepladder.decision.fit import fit
from stepladder.schema.analysis import AnalysisConfig, Axis

PAIR = ("dense-idea", "dense-baseline")
UP_TO = ("d2", "d3", "d4")
SEEDS = dict.fromkeys(FLOPS, 3)


def prospects(runs: pd.DataFrame, axes: tuple[Axis, ...] = ("flops",), **more: object) -> Prospects:
    config = AnalysisConfig.model_validate(
        {
            "baseline": PAIR[1],
            "bootstrap_draws": 100,
            "leave_one_out": False,
            "verdict": {"axes": axes},
        }
        | more
    )
    there = runs["rung"].isin(UP_TO)
    fits = {axis: fit(runs[there], axis, config) for axis in axes}
    return Prospects(runs[there], runs[~there].drop(columns="loss"), config, fits, [PAIR])


def chance(gain: float, sigma: float = 0.003, **more: object) -> float | None:
    runs = runs_table({PAIR[1]: 1.0, PAIR[0]: gain}, sigma=sigma, seeds=SEEDS)
    return prospects(runs, **more).promotion(PAIR)


def test_it_tells_none_from_a_large_gain() -> None:
    """Equal losses tell that no gain will be sure, long before they tell that none is worth having."""
    assert chance(1.0) < 0.1 and chance(1.4) > 0.9


def test_what_the_reference_may_fail_at_is_no_hope() -> None:
    """A prior by which every other run to come is undertuned changes no chance."""
    usual = chance(1.0, misfit={"exactly": 0.0, "share": 0.001, "by": 0.02})
    assert usual < 0.1
    assert chance(1.0, misfit={"exactly": 0.0, "share": 0.4, "by": 0.02}) <= usual


def test_a_gain_must_hold_on_every_axis() -> None:
    runs = runs_table({PAIR[1]: 1.0, PAIR[0]: 1.4}, sigma=0.003, seeds=SEEDS)
    slow = runs["variant"] == PAIR[0]
    runs.loc[slow, "accelerator_seconds"] *= 2
    both = prospects(runs, axes=("flops", "seconds"))
    assert both.promotion(PAIR) < 0.02
    planned = both.cells.of(PAIR[0])
    assert planned["seconds"].iloc[-1] == pytest.approx(2 * FLOPS["d5"] / 3e10), "as the runs so far took"


def test_what_is_planned_does_not_say_how_long_runs_take() -> None:
    runs = runs_table({PAIR[1]: 1.0, PAIR[0]: 1.0}, sigma=0.003, seeds=SEEDS)
    largest = runs["rung"] == "d5"
    runs.loc[largest, "accelerator_seconds"] *= 10
    found = prospects(runs, axes=("flops", "seconds")).cells
    assert found.of(PAIR[0])["seconds"].iloc[-1] == pytest.approx(FLOPS["d5"] / 3e10)


def test_unknown_noise_gives_no_chance() -> None:
    runs = runs_table({PAIR[1]: 1.0, PAIR[0]: 1.4}, sigma=0.003, seeds=dict.fromkeys(FLOPS, 1))
    assert prospects(runs).promotion(PAIR) is None
