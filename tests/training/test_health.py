"""Spikes and slow steps: found where they are, and nowhere else."""

import math

import numpy as np
import pytest

from stepladder.training.health import WINDOW, SlowStepDetector, SpikeDetector, slow_warning


@pytest.mark.parametrize("cuts", [[1000], [1, 63, 64, 65, 200, 607], [250] * 4])
def test_a_spike_is_found_however_the_stream_is_cut(cuts):
    losses = 3 + 0.1 * np.random.default_rng(0).normal(size=1000)
    losses[[500, 900]] = 5.0
    detector, found, start = SpikeDetector(), [], 0
    for count in cuts:
        found += [start + spike.number for spike in detector.find(losses[start : start + count].tolist())]
        start += count
    assert found == [500, 900]


def test_noise_and_decline_are_no_spikes():
    """A falling loss with noise over 50,000 steps, and one of heavier tails (Student's t, 5 degrees)."""
    generator = np.random.default_rng(0)
    decline = 3 + 2 * np.exp(-np.arange(50_000) / 5_000)
    assert SpikeDetector().find((decline + 0.1 * generator.normal(size=50_000)).tolist()) == []
    assert len(SpikeDetector().find((decline + 0.1 * generator.standard_t(5, size=50_000)).tolist())) <= 50


def test_a_phase_is_judged_by_itself():
    detector = SpikeDetector()
    assert detector.find([1.0] * 100) == []
    detector.begin_phase()
    assert detector.find([9.0] * 100) == []


@pytest.mark.parametrize(("factor", "found"), [(4.9, 0), (5.1, 1)])
def test_a_gradient_norm_must_be_a_multiple_of_its_median(factor, found):
    """Noise of 2 %, so that both factors are far beyond 8 standard deviations."""
    noise = 0.02 * np.random.default_rng(0).normal(size=WINDOW)
    detector = SpikeDetector(least_excess=math.log(5))
    assert detector.find(noise.tolist()) == []
    assert len(detector.find([float(np.median(noise)) + math.log(factor)])) == found


def test_z_by_hand():
    """Window of 1, 2, ..., 64: median 32.5, median deviation 16; 400 is (400 - 32.5) / (1.4826 * 16)
    above."""
    detector = SpikeDetector()
    detector.find([float(i) for i in range(1, WINDOW + 1)])
    (spike,) = detector.find([400.0])
    assert (spike.number, spike.value, spike.median) == (0, 400, 32.5)
    assert spike.z == pytest.approx(367.5 / (1.4826 * 16))


def test_slow_step_names_the_cause_with_the_largest_excess():
    watch = SlowStepDetector(rank=3)
    usual = {"stall": 0.001, "data": 0.01, "forward": 0.04, "backward": 0.08}
    assert watch.find([(step, usual) for step in range(40)]) == []
    (slow,) = watch.find([(40, usual), (41, usual | {"stall": 0.6}), (42, usual)])
    assert (slow.step, slow.rank, slow.cause, slow.cause_seconds) == (41, 3, "stall", 0.6)
    assert slow.median_seconds == pytest.approx(0.131)
    assert watch.find([(43, usual | {"data": 0.05})]) == []  # not three times as long


@pytest.mark.parametrize(
    ("lost", "said"), [(0.0, None), (20.0, None), (29.9, "over 20 %"), (34.0, "over 30 %")]
)
def test_much_time_lost_to_slow_steps_is_a_warning(lost, said):
    told = slow_warning(lost, 100.0)
    assert told is None if said is None else told.startswith(f"{said} of the seconds in steps")
    assert slow_warning(0.0, 0.0) is None
