"""Looks between rungs: who ends, who goes on, and what looking costs."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from ladders import FLOPS, runs_table

from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.decision.gates import Look, left_over, look, spending, with_gates
from stepladder.decision.rule_record import changes
from stepladder.ladder.climb import Climb
from stepladder.ladder.load import LadderError, load_ladder
from stepladder.record.gates import GateRecord, runs_left
from stepladder.report.sections.gates import gate_sentences, gates_table
from stepladder.schema.accelerators import accelerators
from stepladder.schema.analysis import AnalysisConfig, Gate

SEEDS = dict.fromkeys(FLOPS, 3)
UP_TO = ("d2", "d3", "d4")
GAINS = {"dense-baseline": 1.0, "dense-good": 1.4, "dense-bad": 0.6}


def config_of(**gate: object) -> AnalysisConfig:
    return AnalysisConfig.model_validate(
        {
            "baseline": "dense-baseline",
            "bootstrap_draws": 300,
            "verdict": {"axes": ("flops",)},
            "gates": ({"after": "d4", **gate},),
        }
    )


def look_at(runs: pd.DataFrame, spent: float = 0.0, **gate: object) -> GateRecord:
    config = config_of(**gate)
    planned = runs.drop(columns="loss").assign(price=None)
    return look(Look(runs[runs["rung"].isin(UP_TO)], planned, UP_TO, config, config.gates[0], spent))


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return runs_table(GAINS, sigma=0.003, seeds=SEEDS)


@pytest.fixture(scope="module")
def record(runs: pd.DataFrame) -> GateRecord:
    return look_at(runs)


def fates(record: GateRecord) -> dict[str, str]:
    return {arm.variant: arm.fate for arm in record.arms}


def test_the_hopeless_stop_and_the_others_go_on(record: GateRecord) -> None:
    assert fates(record) == {"dense-baseline": "goes on", "dense-good": "goes on", "dense-bad": "stopped"}
    bad, good = record.arm("dense-bad"), record.arm("dense-good")
    assert bad and good and bad.chance < 0.05 < 0.9 < good.chance
    assert (bad.runs_saved, good.runs_saved) == (3, 0)
    assert bad.flops_saved == pytest.approx(3 * FLOPS["d5"])
    assert bad.hours_saved == pytest.approx(3 * FLOPS["d5"] / 3e10 / 3600)
    assert record.information is None and record.spent == 0, "nobody was promoted early"
    told = " ".join(gate_sentences([record]))
    assert (
        "dense-bad stopped: the chance that this ladder promotes it is 0 %" in told
        and "Saved: 3 runs" in told
    )
    table = gates_table([record])
    assert table and [row[:3] for row in table.rows] == [
        ("d4", "dense-good", "goes on"),
        ("d4", "dense-bad", "stopped"),
    ]


def test_where_nobody_is_left_the_baseline_ends_too() -> None:
    record = look_at(runs_table({"dense-baseline": 1.0, "dense-bad": 0.5}, sigma=0.003, seeds=SEEDS))
    assert fates(record) == {"dense-baseline": "not needed", "dense-bad": "stopped"}


def test_a_hopeless_arm_that_others_are_compared_with_goes_on() -> None:
    gains = {"dense-baseline": 1.0, "dense-tst": 1.4, "moe-baseline": 0.6, "moe-tst": 1.4}
    record = look_at(runs_table(gains, sigma=0.003, seeds=SEEDS))
    assert fates(record)["moe-baseline"] == "goes on", "moe-tst is held against it"


OFF = {"d2": 0.03, "d3": 0.015, "d4": 0.003, "d5": -0.009}
"""Of log loss: an idea that costs compute at first and saves some later."""


@pytest.mark.parametrize(("off", "fate"), [(OFF, "goes on"), (dict.fromkeys(OFF, 0.003), "stopped")])
def test_a_gain_that_grows_with_scale_goes_on(off: dict[str, float], fate: str) -> None:
    """Even where this ladder will not be sure enough to promote it: only the larger rungs tell."""
    runs = runs_table({"dense-baseline": 1.0, "dense-late": 1.0}, sigma=0.002, seeds=SEEDS)
    late = runs["variant"] == "dense-late"
    runs.loc[late, "loss"] *= np.exp(runs.loc[late, "rung"].map(off))
    record = look_at(runs)
    arm = record.arm("dense-late")
    assert arm and arm.fate == fate and arm.chance < 0.1
    assert arm.because.startswith("its gain grows with scale, × 1.") == (fate == "goes on")
    assert f"dense-late {fate}: {arm.because}" in gate_sentences([record])[0]


def test_unknown_noise_stops_nobody() -> None:
    record = look_at(runs_table(GAINS, seeds=dict.fromkeys(FLOPS, 1)))
    assert set(fates(record).values()) == {"goes on"}
    assert all(arm.chance is None for arm in record.arms)


def test_no_futility_stops_nobody(runs: pd.DataFrame) -> None:
    record = look_at(runs, futility=0.0)
    assert set(fates(record).values()) == {"goes on"} and record.arms[1].because == "nobody is stopped here"


def test_spending_has_the_shape_of_obrien_and_fleming() -> None:
    """By hand: alpha 0.05 and half of the information, 2 - 2 Phi(1.96 / sqrt(0.5)) = 0.0056."""
    phi = NormalDist().cdf
    assert 0.05 * spending(0.5, 0.05) == pytest.approx(2 - 2 * phi(1.959964 / 0.5**0.5), rel=1e-5)
    assert 0.05 * spending(0.5, 0.05) == pytest.approx(0.00557, abs=5e-5)
    assert spending(1.0, 0.05) == pytest.approx(1)
    assert spending(0.0, 0.05) == 0
    shares = [spending(t / 10, 0.05) for t in range(1, 11)]
    assert shares == sorted(shares) and shares[0] < 1e-6


def test_what_is_sure_is_promoted_early_and_the_end_has_less() -> None:
    runs = runs_table({"dense-baseline": 1.0, "dense-good": 2.0}, sigma=0.0005, seeds=SEEDS)
    record = look_at(runs, success=True, futility=0.0)
    assert fates(record) == {"dense-baseline": "not needed", "dense-good": "promoted"}
    assert record.information and 0 < record.information < 1 and 0 < record.spent < 1
    left = left_over(config_of(success=True), [record])
    assert left.verdict.alpha == pytest.approx(0.05 * (1 - record.spent), rel=0.01)
    assert fates(look_at(runs, spent=1.0, success=True, futility=0.0))["dense-good"] == "goes on", (
        "nothing is left to spend"
    )


def test_a_stopped_arm_is_judged_where_it_stopped(runs: pd.DataFrame, record: GateRecord) -> None:
    left = runs[(runs["variant"] != "dense-bad") | runs["rung"].isin(UP_TO)]
    config = config_of()
    found = with_gates(compare(left, {"flops": fit(left, "flops", config)}, config), [record])
    bad = next(pair for pair in found.comparisons if pair.candidate == "dense-bad")
    assert (bad.verdict, bad.gate) == ("reject", "d4")
    assert "; stopped at the gate after d4: the chance that this ladder" in bad.because
    assert bad.because.startswith("EG on FLOPs is below 1.02 with all of its interval"), (
        "by the rule itself, too"
    )
    good = next(pair for pair in found.comparisons if pair.candidate == "dense-good")
    assert good.gate is None and found.gates == (record,)


def test_a_stopped_arm_is_on_hold_unless_the_rule_rejects_it(runs: pd.DataFrame, record: GateRecord) -> None:
    """Nor is it promoted by what ran: the larger rungs were not asked."""
    config, there = config_of(), runs[runs["rung"].isin(UP_TO)]
    found = compare(there, {"flops": fit(there, "flops", config)}, config)
    assert found.comparisons[0].verdict == "promote"
    arms = tuple(arm.model_copy(update={"fate": "stopped"}) for arm in record.arms)
    stopped = with_gates(found, [record.model_copy(update={"arms": arms})])
    assert [pair.verdict for pair in stopped.comparisons] == ["hold", "reject"]
    assert stopped.comparisons[0].because.startswith("stopped at the gate after d4: the chance")


def test_runs_of_ended_arms_are_not_asked_for(record: GateRecord) -> None:
    proper = Climb.open("configs/ladders/laptop.yaml").price(accelerators()).runs
    arm = record.arm("dense-bad").model_copy(update={"variant": "dense-tst"})
    record = record.model_copy(update={"rungs": ("d1", "d2"), "arms": (arm,)})
    left = set(runs_left(proper, [record]))
    spared = {run.id for run in proper if run.id not in left}
    assert spared == {run.id for run in proper if run.variant == "dense-tst" and run.rung in ("d3", "d4")}
    assert runs_left(proper, []) == [run.id for run in proper]


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ('[{after: "d9"}]', "gates.*no such rung; this ladder has: d1, d2, d3,? (and )?d4"),
        ('[{after: "d2"}]', "2 rungs show no law to look at: the first gate is after d3"),
        ('[{after: "d4"}]', "after the largest rung there is nothing left to stop"),
        ('[{after: "d3"}, {after: "d3"}]', "gates stand in the order of rungs"),
        ('[{after: "d3", futility: 0.9}]', "from 0 to 0.5"),
    ],
)
def test_gates_that_see_nothing_are_refused(tmp_path, gates: str, message: str) -> None:
    text = Path("configs/ladders/laptop.yaml").read_text()
    path = tmp_path / "laptop.yaml"
    path.write_text(text.replace("[{after: d3, futility: 0.05}]", gates))
    with pytest.raises(LadderError, match=message):
        load_ladder(path)


def test_a_gate_is_read_with_its_defaults() -> None:
    assert Gate(after="d4") == Gate(after="d4", futility=0.1, success=False)


def test_climbing_whole_changes_no_rule_unless_looks_have_spent_of_it() -> None:
    whole = config_of().model_copy(update={"gates": ()})
    assert changes(config_of().model_dump(mode="json"), whole) == ()
    spent = changes(config_of(success=True).model_dump(mode="json"), whole)
    assert [change.field for change in spent] == ["gates"]
    later = changes(whole.model_dump(mode="json"), config_of())
    assert [change.field for change in later] == ["gates"], "gates that come later are a new rule"
