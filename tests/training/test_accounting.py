"""Arithmetic and time of runs, by hand."""

import math
import time

import pytest

from stepladder.record.cost import flops_until, step_flops, training_flops
from stepladder.record.pace import typical_pace
from stepladder.training.accounting import Throughput, TimeAccount, check_mfu, summarise_mfu
from stepladder.training.device import Hardware
from stepladder.training.evaluate import bits_per_byte


def test_rates_count_latent_positions(make_run):
    """A bag of four tokens is one position: four times the tokens per second, the same FLOPs and MFU."""
    spec = make_run(recipe="tst", bag_size=4)
    superposed, ordinary = spec.recipe.phases
    throughput = Throughput(spec, Hardware("cpu", "any", "fp32", 1e9, "stated"))
    fast, slow = (throughput.of_step(phase, 0.5) for phase in (superposed, ordinary))
    assert (fast["tokens_per_second"], slow["tokens_per_second"]) == (4 * 64 / 0.5, 64 / 0.5)
    assert fast["mfu"] == slow["mfu"] == step_flops(spec.model, spec.recipe, ordinary) / 0.5 / 1e9
    assert Throughput(spec, throughput.hardware, 4).of_step(ordinary, 0.5)["mfu"] == slow["mfu"] / 4
    assert flops_until(spec, spec.recipe.steps) == training_flops(spec.model, spec.recipe)


def test_accelerator_seconds_are_medians_times_steps(make_run):
    """3 superposed steps at 2 s and 9 ordinary ones at 1 s, however slow one of them was."""
    spec = make_run(recipe="tst", steps=12)
    seconds = [2.0, 2.0, 2.0, 50.0] + [1.0] * 8
    steps = [
        {
            "phase": "superposed" if i < 3 else "next_token",
            "step_seconds": s,
            "accelerators": 2,
            "mfu": 0.1 * i,
        }
        for i, s in enumerate(seconds)
    ]
    pace = typical_pace(spec, steps)
    assert pace.accelerator_seconds == (3 * 2 + 9 * 1) * 2
    assert spec.recipe.tokens == 3 * 4 * 64 + 9 * 64
    assert spec.recipe.positions == 12 * 64
    assert pace.tokens_per_second == spec.recipe.tokens / (3 * 2 + 9 * 1)
    assert pace.positions_per_second == spec.recipe.positions / (3 * 2 + 9 * 1)
    assert pace.median_step_seconds == {"superposed": 2, "next_token": 1}
    mfu = summarise_mfu(spec, Hardware("cpu", "any", "fp32", 1e9, "stated"), steps)
    assert mfu.median == pytest.approx(0.55)
    assert mfu.palm_median > mfu.median


def test_unknown_peak_gives_no_mfu(make_run):
    spec = make_run()
    unknown = Hardware("cpu", "any", "fp32", None, "not measured")
    steps = [{"phase": "next_token", "step_seconds": 1.0, "accelerators": 1, "mfu": None}]
    assert Throughput(spec, unknown).of_step(spec.recipe.phases[0], 1.0)["mfu"] is None
    assert summarise_mfu(spec, unknown, steps) is None


def test_steps_from_before_the_peak_was_known_have_no_mfu(make_run):
    steps = [
        {"phase": "next_token", "step_seconds": 1.0, "accelerators": 1, "mfu": mfu}
        for mfu in (None, 0.2, 0.4)
    ]
    known = Hardware("cpu", "any", "fp32", 1e9, "stated")
    assert summarise_mfu(make_run(), known, steps).median == pytest.approx(0.3)
    assert summarise_mfu(make_run(), known, steps[:1]) is None


def test_mfu_above_one_is_refused():
    hardware = Hardware("cuda", "NVIDIA X", "bf16", 1e12, "a wrong table")
    with pytest.raises(ValueError, match=r"MFU 1.05 is above 1: the peak of NVIDIA X in bf16"):
        check_mfu([{"mfu": 0.2}, {"mfu": 1.05}, {"mfu": 1.1}], hardware)


def test_seconds_carry_over_restarts():
    first = TimeAccount(began := 1000.0)
    first.add("data", 2.0)
    carried = first.totals() | {"total": 10.0, "other": 8.0}
    second = TimeAccount(began, carried)
    second.add("lost", 5.0)
    totals = second.totals()
    assert totals["data"] == totals["step"] == 2.0
    assert totals["total"] > 15.0
    assert sum(v for k, v in totals.items() if k not in ("step", "total")) == pytest.approx(totals["total"])


def test_seconds_lost_are_counted_once_however_often_a_run_resumes():
    carried = None
    for resumed in (1, 2, 3):
        account = TimeAccount(time.time(), carried)
        account.add("lost", 100.0)
        carried = account.totals()
        assert carried["total"] == pytest.approx(100 * resumed, abs=1)
        assert carried["other"] == pytest.approx(0, abs=1)


def test_bits_per_byte_by_hand():
    """2 nats per token, 3 bytes per token: 2 / (3 ln 2)."""
    assert bits_per_byte(2.0, tokens=100, n_bytes=300) == pytest.approx(2 / (3 * math.log(2)))
