"""The chance, at a gate, that the ladder promotes a candidate at its end."""

from __future__ import annotations

import pandas as pd
import pytest
from ladders import FLOPS, runs_table

from stepladder.decision.conditional_power import chances_of_promotion, whole_ladder
from stepladder.decision.fit import fit
from stepladder.schema.analysis import AnalysisConfig, Axis

PAIR = ("dense-idea", "dense-baseline")
UP_TO = ("d2", "d3", "d4")
SEEDS = dict.fromkeys(FLOPS, 3)


def chance_of(runs: pd.DataFrame, axes: tuple[Axis, ...] = ("flops",), **more: object) -> float | None:
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
    rest = runs[~there].drop(columns="loss")
    return chances_of_promotion(runs[there], rest, config, fits, [PAIR])[PAIR]


def chance(gain: float, sigma: float = 0.003, seeds: dict[str, int] = SEEDS, **more: object) -> float | None:
    return chance_of(runs_table({PAIR[1]: 1.0, PAIR[0]: gain}, sigma=sigma, seeds=seeds), **more)


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
    runs.loc[runs["variant"] == PAIR[0], "accelerator_seconds"] *= 2
    assert chance_of(runs) > 0.9 and chance_of(runs, axes=("flops", "seconds")) < 0.02


def test_what_is_planned_does_not_say_how_long_runs_take() -> None:
    runs = runs_table({PAIR[1]: 1.0, PAIR[0]: 1.0}, sigma=0.003, seeds=SEEDS)
    runs.loc[runs["variant"] == PAIR[0], "accelerator_seconds"] *= 2
    runs.loc[runs["rung"] == "d5", "accelerator_seconds"] = 1.0
    there = runs["rung"].isin(UP_TO)
    found = whole_ladder(runs[there], runs[~there].drop(columns="loss"), ("flops", "seconds"))
    for variant, times in zip(PAIR, (2, 1), strict=True):
        assert found.of(variant)["seconds"].iloc[-1] == pytest.approx(times * FLOPS["d5"] / 3e10)


def test_tokens_are_counted_whole_and_expected_in_parts() -> None:
    runs = runs_table({PAIR[1]: 1.0, PAIR[0]: 1.0}, sigma=0.003, seeds=SEEDS)
    runs = runs.astype({"tokens": int})
    there = runs["rung"].isin(UP_TO)
    found = whole_ladder(runs[there], runs[~there].drop(columns="loss"), ("tokens",))
    assert found.of(PAIR[0])["tokens"].iloc[-1] == pytest.approx(FLOPS["d5"] ** 0.5, rel=1e-3)


def test_losses_so_far_say_how_sure_the_end_is() -> None:
    """Cells off their law by more than seeds explain leave intervals wide, which no run to come mends."""
    runs = runs_table({PAIR[1]: 1.0, PAIR[0]: 1.03}, sigma=0.001, seeds=SEEDS)
    bent = runs.assign(loss=runs["loss"].where(runs["rung"] != "d3", 1.02 * runs["loss"]))
    assert chance_of(runs) - chance_of(bent) > 0.2


def test_unknown_noise_gives_no_chance() -> None:
    assert chance(1.4, seeds=dict.fromkeys(FLOPS, 1)) is None
    assert chance(1.4, seeds=dict.fromkeys(FLOPS, 1), noise={"sd": 0.003}) > 0.9


def test_noise_that_one_repeated_seed_shows_stops_nobody() -> None:
    """That no gain would be sure at the end is the ladder's fault, not the candidate's."""
    runs = runs_table({PAIR[1]: 1.0, PAIR[0]: 1.0}, sigma=0.003, seeds=dict.fromkeys(FLOPS, 2))
    once = (runs["seed"] == 0) | ((runs["rung"] == "d2") & (runs["variant"] == PAIR[0]))
    assert chance_of(runs[once]) is None
    assert chance_of(runs[once], noise={"sd": 0.003}) is not None
