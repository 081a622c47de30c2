"""Seed noise: what repeated seeds say of it, by hand and by simulation."""

import numpy as np
import pytest
from ladders import FLOPS, runs_table

from stepladder.decision.cells import make_cells
from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.decision.misfit import Scatter
from stepladder.decision.noise import SeedNoise, measure_noise
from stepladder.decision.replicates import cost_noise, draw_losses
from stepladder.schema.analysis import AnalysisConfig, StatedNoise

BASELINE, IDEA = "dense-baseline", "dense-tst"


def test_two_seeds_by_hand():
    """Log losses 0 and 0.02: s.d. 0.0141 from one degree of freedom; the slope's prior keeps the line
    flat."""
    runs = runs_table({BASELINE: 1.0}, seeds={"d2": 1, "d3": 2, "d4": 1, "d5": 1})
    runs.loc[1, "loss"] *= np.exp(0.02)
    noise = measure_noise(make_cells(runs))
    (at,) = (i for i, rung in enumerate(FLOPS) if rung == "d3")
    assert np.exp((noise.design() @ noise.coefficients)[at, 0] / 2) == pytest.approx(
        0.02 / np.sqrt(2), rel=0.01
    )
    assert noise.dof()[at, 0] == pytest.approx(1, rel=0.1)


def test_a_line_follows_noise_that_shrinks():
    """With many seeds the data decide; 0.01 at the smallest rung, 0.001 at the largest."""
    seeds = dict.fromkeys(FLOPS, 40)
    runs = runs_table({BASELINE: 1.0, IDEA: 1.2}, sigma=1.0, seeds=seeds, seed=3)
    x = np.log10(runs["flops"])
    sigma = 0.01 * 10 ** -((x - x.min()) / (x.max() - x.min()))
    clean = runs_table({BASELINE: 1.0, IDEA: 1.2}, seeds=seeds)["loss"]
    runs["loss"] = clean * np.exp(np.log(runs["loss"] / clean) * sigma)
    noise = measure_noise(make_cells(runs))
    np.testing.assert_allclose(noise.sd()[:, 0] / np.sort(sigma.unique())[::-1], 1, atol=0.2)
    assert noise.dof()[-1, 0] > 40
    assert noise.correlation[0, 1] == pytest.approx(0.5, abs=0.1)


def test_few_seeds_are_held_near_a_flat_line():
    runs = runs_table({BASELINE: 1.0, IDEA: 1.2}, sigma=0.004, seeds=dict.fromkeys(FLOPS, 2), seed=1)
    noise = measure_noise(make_cells(runs))
    assert abs(noise.coefficients[1]) < 1.5
    assert 2 < noise.dof()[-1, 0] < 8, "four rungs of two variants have eight degrees of freedom"


def test_one_variant_without_repeats_is_as_noisy_as_the_line():
    gains = {BASELINE: 1.0, IDEA: 1.2, "moe-baseline": 1.5}
    runs = runs_table(gains, sigma=0.004, seeds=dict.fromkeys(FLOPS, 2))
    single = runs[(runs["variant"] != "moe-baseline") | (runs["seed"] == 0)]
    noise = measure_noise(make_cells(single))
    assert noise.coefficients[-1] == pytest.approx(0, abs=1e-9)
    assert noise.sd()[0, 2] == pytest.approx(noise.sd()[0, :2].mean(), rel=0.3)


def test_stated_noise_stands_alone_or_adds_up():
    single = make_cells(runs_table({BASELINE: 1.0, IDEA: 1.2}, seeds=dict.fromkeys(FLOPS, 1)))
    assert not measure_noise(single).known
    stated = StatedNoise(sd=0.002, dof=200)
    noise = measure_noise(single, stated=stated)
    assert noise.known
    np.testing.assert_allclose(noise.sd()[1:3], 0.002, rtol=0.4)
    repeated = runs_table({BASELINE: 1.0}, sigma=0.02, seeds=dict.fromkeys(FLOPS, 3))
    alone = measure_noise(make_cells(repeated))
    both = measure_noise(make_cells(repeated), stated=StatedNoise(sd=0.002, dof=8))
    assert both.sd()[1, 0] < alone.sd()[1, 0]


def test_seeds_without_any_difference_leave_no_noise():
    noise = measure_noise(make_cells(runs_table({BASELINE: 1.0, IDEA: 1.2})))
    assert noise.known and (noise.sd() < 1e-10).all()


def test_only_common_seeds_cancel():
    """Noise in common to the variants of a seed: with other numbers nothing is."""
    runs = runs_table({BASELINE: 1.0, IDEA: 1.0}, sigma=0.005, seeds=dict.fromkeys(FLOPS, 4), seed=5)
    apart = runs.assign(seed=runs["seed"] + 2 * (runs["variant"] == IDEA))
    for table, common in ((runs, 4), (apart, 2)):
        cells = make_cells(table)
        noise = SeedNoise(np.zeros(4), np.zeros(4), np.zeros((4, 4)), np.array([[1.0, 0.99], [0.99, 1.0]]))
        scatter = Scatter(np.full((20_000, 4, 2), 1e-2), np.zeros(20_000), np.zeros((20_000, 8)))
        drawn = draw_losses(cells, noise, scatter, seed=0)
        difference = drawn[:, 0] - drawn[:, len(FLOPS)]
        # Of 4 + 4 runs, `common` pairs cancel all but 1 % of their variance.
        expected = 1e-4 * (2 * 4 - 2 * 0.99 * common) / 16
        assert difference.var() == pytest.approx(expected, rel=0.1)


def test_step_times_are_noise_of_the_time_axis_alone():
    runs = runs_table({BASELINE: 1.0}, seeds=dict.fromkeys(FLOPS, 2))
    runs["accelerator_seconds"] *= np.where(runs["seed"] == 0, np.exp(0.1), np.exp(-0.1))
    cells = make_cells(runs)
    np.testing.assert_allclose(cost_noise(cells, "seconds"), 0.1 * np.sqrt(2) / np.sqrt(2))
    assert not cost_noise(cells, "flops").any()


def test_a_ladder_of_single_runs_decides_by_stated_noise():
    """Without it there are no intervals, and nothing can be promoted."""
    runs = runs_table({BASELINE: 1.0, IDEA: 1.4}, sigma=0.0005, seeds=dict.fromkeys(FLOPS, 1))
    rule = {"axes": ("flops",)}
    blind = AnalysisConfig(baseline=BASELINE, bootstrap_draws=400, leave_one_out=False, verdict=rule)
    told = blind.model_copy(update={"noise": StatedNoise(sd=0.0005, dof=8)})
    (without,), (with_noise,) = (
        compare(runs, {"flops": fit(runs, "flops", config)}, config).comparisons for config in (blind, told)
    )
    assert without.verdict == "hold" and without.gains["flops"].at_largest.interval is None
    assert with_noise.verdict == "promote", with_noise.because
    low, high = with_noise.gains["flops"].at_largest.interval
    assert low < 1.4 < high
