"""What the data do not say is not said: infinite gains, flat laws, few seeds, bad tables."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ladders import ALPHA, FLOPS, A, E, runs_table

from stepladder.decision.cells import make_cells
from stepladder.decision.compare import compare, comparisons
from stepladder.decision.fit import fit
from stepladder.decision.gain import gain
from stepladder.decision.noise import measure_noise
from stepladder.laws.invert import ComputeLaw, log_invert
from stepladder.laws.numbers import percentile_interval
from stepladder.schema.analysis import AnalysisConfig, VerdictRule

CONFIG = AnalysisConfig(baseline="dense-baseline", bootstrap_draws=300, leave_one_out=False)
PAIR = {"dense-baseline": 1.0, "dense-tst": 1.3}


def analyse(runs, config=CONFIG):
    fits = {axis: fit(runs, axis, config) for axis in ("flops", "seconds")}
    result = compare(runs, fits, config)
    for document in (*fits.values(), result):
        json.dumps(document.model_dump(mode="json"), allow_nan=False)
    return fits, result


def criterion(found, start):
    (row,) = [c for c in found.criteria if c.name.startswith(start)]
    return row


def test_undefined_draws_widen_both_ends():
    """1000 draws 0..999; with 3 % NaN each end is beyond the 2.5 % tail and so unknown."""
    draws = np.arange(1000.0)
    assert percentile_interval(draws, 0.95) == pytest.approx([25, 974], abs=1)
    draws[:10] = np.nan
    assert percentile_interval(draws, 0.95) == pytest.approx([25, 984], abs=1)
    draws[:30] = np.nan
    assert percentile_interval(draws, 0.95) == (None, None)
    assert percentile_interval(np.array([1.0, 2.0, np.inf]), 0.95) == (1.0, None)


def test_a_nearly_flat_law_neither_overflows_nor_underflows():
    """(0.5 / 1)^(1 / 1e-4) is 1e-3010: zero as a number, but not as a logarithm."""
    law = ComputeLaw(1.0, 0.5, 1e-4, unit=1.0)
    assert log_invert(law, 2.0) == pytest.approx(np.log(0.5) / 1e-4)
    assert log_invert(law, 1.0) == np.inf


@pytest.mark.parametrize("rungs", [("d2", "d3", "d4"), tuple(FLOPS)])
def test_one_repeated_seed_gives_wide_intervals_not_undefined_ones(rungs):
    """One degree of freedom: some replicates are absurd, and must not make the rest undefined."""
    seeds = {rung: 2 if rung == "d2" else 1 for rung in rungs}
    runs = runs_table(PAIR, sigma=0.005, rungs={r: FLOPS[r] for r in rungs}, seeds=seeds, seed=4)
    fits, result = analyse(runs)
    assert fits["flops"].noise.dof < 2
    pooled = result.comparisons[0].gains["flops"].pooled
    assert pooled.interval[0] is not None and pooled.undefined_share < 0.05


def test_three_rungs_cannot_hold_one_out_but_are_fitted():
    rungs = {r: FLOPS[r] for r in ("d2", "d3", "d4")}
    fits, _ = analyse(runs_table(PAIR, sigma=0.003, rungs=rungs))
    assert fits["flops"].reason is None
    assert "cannot identify" in fits["flops"].held_out.reason


def test_what_is_held_out_does_not_tell_its_noise():
    """Seeds repeated at the largest rung only: seed noise is known, but not before that rung is used."""
    runs = runs_table(PAIR, sigma=0.005, seeds=dict.fromkeys(FLOPS, 1) | {"d5": 3})
    cells = make_cells(runs)
    assert measure_noise(cells).known and not measure_noise(cells, ["d5"]).known
    fits, _ = analyse(runs)
    assert fits["flops"].laws["dense-tst"].intervals is not None
    assert all(row.interval is None for row in fits["flops"].held_out.predictions)


def test_a_law_that_does_not_fall_is_not_inverted():
    runs = runs_table(PAIR)
    rising = runs["variant"] == "dense-baseline"
    runs.loc[rising, "loss"] = 2 + 0.1 * runs.loc[rising, "depth"]
    fits, result = analyse(runs)
    assert "does not fall" in fits["flops"].laws["dense-baseline"].reason
    found = result.comparisons[0]
    assert "dense-baseline does not fall" in found.gains["flops"].reason
    assert found.verdict == "hold" and found.gains["flops"].rungs == ()
    assert any("does not fall" in warning for warning in result.warnings)


def test_an_infinite_gain_is_null_with_its_share():
    """Below the pinned floor no cost suffices, in nearly every replicate: enough by any measure."""
    runs = runs_table(PAIR, sigma=0.001)
    runs.loc[runs["variant"] == "dense-tst", "loss"] -= 0.45
    config = CONFIG.model_copy(update={"floor": 1.1})
    top = None
    runs.loc[runs["loss"] <= 1.12, "loss"] = 1.12
    _, result = analyse(runs, config)
    top = result.comparisons[0].gains["flops"].at_largest
    assert top.gain > 100 or top.gain is None
    assert top.undefined_share is not None
    assert criterion(result.comparisons[0], "the lower end of its interval is above 1 (FLOPs)").passed


def test_a_floor_above_the_losses_is_refused():
    fits, _ = analyse(runs_table(PAIR), CONFIG.model_copy(update={"floor": 5.0}))
    assert "not below the smallest loss" in fits["flops"].reason


def test_a_fit_that_did_not_converge_promotes_nothing():
    runs = runs_table({"dense-baseline": 1.0, "dense-tst": 2.0}, sigma=0.002)
    fits, before = analyse(runs)
    assert before.comparisons[0].verdict == "promote"
    fits["flops"] = fits["flops"].model_copy(update={"converged": False})
    after = compare(runs, fits, CONFIG).comparisons[0]
    assert after.verdict == "hold" and "converged" in after.because


def test_rungs_are_counted_where_both_have_runs():
    runs = runs_table({"dense-baseline": 1.0, "dense-tst": 2.0}, sigma=0.002)
    runs = runs[~((runs["variant"] == "dense-baseline") & (runs["rung"].isin(["d2", "d3"])))]
    _, result = analyse(runs)
    row = criterion(result.comparisons[0], "at least 3 rungs")
    assert row.value == 2 and not row.passed


def test_the_gain_stands_on_the_references_prediction_too():
    """The reference bends off its law at the held-out rung, the candidate does not."""
    runs = runs_table({"dense-baseline": 1.0, "dense-tst": 2.0}, sigma=0.001)
    runs.loc[(runs["variant"] == "dense-baseline") & (runs["rung"] == "d5"), "loss"] *= 1.06
    _, result = analyse(runs)
    assert not criterion(result.comparisons[0], "held-out rung").passed


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_impossible_numbers_are_named(value):
    runs = runs_table(PAIR)
    runs.loc[1, "accelerator_seconds"] = value
    with pytest.raises(ValueError, match=r"accelerator_seconds must be positive.*dense-tst/d2/1x/seed0"):
        make_cells(runs)


def test_a_run_that_is_there_twice_is_named():
    runs = runs_table(PAIR)
    with pytest.raises(ValueError, match=r"more than once: dense-baseline/d2/1x/seed0"):
        make_cells(pd.concat([runs, runs.head(1)]))


def test_further_references():
    cells = make_cells(runs_table({"dense-baseline": 1.0, "dense-tst": 1.2, "moe-baseline": 1.3}))
    pairs = comparisons(cells, "dense-baseline", ["moe-baseline"])
    assert pairs[2:] == [("dense-baseline", "moe-baseline"), ("dense-tst", "moe-baseline")]
    config = CONFIG.model_copy(update={"references": ("nowhere",)})
    with pytest.raises(ValueError, match="references without runs: nowhere"):
        analyse(runs_table(PAIR), config)


@settings(max_examples=8, deadline=None)
@given(factor=st.floats(1e-6, 1e9), seed=st.integers(0, 100))
def test_gains_do_not_depend_on_the_unit_of_cost(factor, seed):
    runs = runs_table(PAIR, sigma=0.003, seed=seed)
    config = CONFIG.model_copy(update={"bootstrap_draws": 100, "holdout_rungs": 0})
    found = []
    for table in (runs, runs.assign(flops=runs["flops"] * factor)):
        cells = make_cells(table)
        found.append(gain(cells, None, fit(table, "flops", config), "dense-tst", "dense-baseline", config))
    one, other = found
    assert other.pooled.gain == pytest.approx(one.pooled.gain, rel=1e-5)
    assert other.trend.slope_per_decade == pytest.approx(one.trend.slope_per_decade, abs=1e-5)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000))
def test_a_law_gains_nothing_over_itself(seed):
    runs = runs_table(PAIR, sigma=0.003, seed=seed)
    law = fit(runs, "flops", CONFIG.model_copy(update={"bootstrap_draws": 100, "holdout_rungs": 0}))
    cells = make_cells(runs)
    row = gain(cells, None, law, "dense-baseline", "dense-baseline", CONFIG).at_largest
    assert row.law_gain == pytest.approx(1, rel=1e-9)


def test_trend_by_hand():
    """A gain of 1 at the smallest rung that grows as cost^0.1: ln 10 * 0.1 per decade, 0.1 per e-fold."""
    runs = runs_table(PAIR)
    grown = (runs["flops"] / FLOPS["d2"]) ** 0.1
    loss = E + A * (grown * runs["flops"] / 1e12) ** -ALPHA
    runs["loss"] = loss.where(runs["variant"] == "dense-tst", runs["loss"])
    trend = analyse(runs)[1].comparisons[0].gains["flops"].trend
    assert trend.slope_per_decade == pytest.approx(0.1 * np.log(10), abs=1e-5)
    assert trend.slope_per_e_fold == pytest.approx(0.1, abs=1e-5)


def test_intervals_cover_the_true_gain():
    """40 ladders of realistic size: at 95 %, fewer than 34 of 40 hold the truth once in a thousand times.

    Without times no next runs are planned, which would take most of the test's time.
    """
    config = CONFIG.model_copy(
        update={
            "bootstrap_draws": 200,
            "holdout_rungs": 0,
            "leave_one_out": False,
            "verdict": VerdictRule(axes=("flops",)),
        }
    )
    inside = {"at_largest": 0, "pooled": 0}
    for seed in range(40):
        runs = runs_table(PAIR, sigma=0.006, seed=seed).drop(columns="accelerator_seconds")
        found = compare(runs, {"flops": fit(runs, "flops", config)}, config).comparisons[0].gains["flops"]
        for which in inside:
            low, high = getattr(found, which).interval
            inside[which] += (low or 0) <= PAIR["dense-tst"] <= (high or np.inf)
    assert min(inside.values()) >= 34, inside


def test_the_ladder_file_is_read_without_the_scientific_stack():
    code = (
        "import sys, stepladder.schema.analysis; "
        "sys.exit(bool({'numpy', 'scipy', 'pandas', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_analysis_needs_neither_torch_nor_the_slow_half_of_scipy():
    code = (
        "import sys, stepladder.decision.compare, stepladder.decision.fit; "
        "sys.exit(bool({'torch', 'scipy.stats'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
