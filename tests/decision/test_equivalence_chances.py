"""What a plan says of a ladder whose rule asks for equal losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ladders import FLOPS, runs_table
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.decision.assumptions import NoiseLine
from stepladder.decision.cells import make_cells
from stepladder.decision.chances import plan_cells
from stepladder.decision.equivalence import equivalence
from stepladder.decision.equivalence_chances import DIFFERENCES, EquivalenceSimulation, shifted
from stepladder.decision.noise import measure_noise
from stepladder.decision.plan_power import plan_power, planned_table
from stepladder.decision.power import DECISIVE, Power
from stepladder.ladder.climb import Climb
from stepladder.report.render.plan import build_plan_pdf, print_plan
from stepladder.report.sections import power as section
from stepladder.schema.accelerators import accelerators
from stepladder.schema.analysis import AnalysisConfig, VerdictRule

PAIR = ("dense-fast", "dense-baseline")
SD = 0.0005


def rule_of(margin: float) -> VerdictRule:
    return VerdictRule(kind="equivalent", margin=margin)


def simulation(margin: float, seeds: int = 3, sd: float = SD, climbs: int = 100) -> EquivalenceSimulation:
    runs = runs_table({PAIR[1]: 1.0, PAIR[0]: 1.0}, seeds=dict.fromkeys(FLOPS, seeds))
    config = AnalysisConfig(baseline=PAIR[1], verdict=rule_of(margin))
    noise = NoiseLine(sd, at=1e12, per_decade=1.0, correlation=1 / 3)
    return EquivalenceSimulation(plan_cells(runs.drop(columns="loss")), noise, config, climbs)


def test_chances_are_those_of_ladders_that_are_judged_whole() -> None:
    """`benchmarks/equivalence.py` found 72 % of such ladders equivalent if nothing differs, of 300."""
    made = simulation(0.002, seeds=2, climbs=300)
    found = made.chances([PAIR])[PAIR]
    assert found[0.0]["equivalent"] == pytest.approx(0.72, abs=0.12), "three standard errors of either"
    assert found[1.0]["equivalent"] <= 0.05, "at the margin it is an error of the first kind"
    assert [found[size]["equivalent"] for size in DIFFERENCES] == sorted(
        (found[size]["equivalent"] for size in DIFFERENCES), reverse=True
    )
    assert all(sum(shares.values()) == pytest.approx(1) for shares in found.values())


def test_little_noise_tells_everything_and_much_noise_nothing() -> None:
    quiet, loud = (simulation(0.002, sd=sd, climbs=20).chances([PAIR])[PAIR] for sd in (1e-5, 0.01))
    assert quiet[0.0]["equivalent"] == quiet[0.5]["equivalent"] == quiet[2.0]["not equivalent"] == 1
    assert loud[0.0]["equivalent"] == 0 and loud[0.0]["unknown"] > 0.9


def test_seeds_show_more() -> None:
    few, many = (simulation(0.001, seeds=seeds).chances([PAIR])[PAIR] for seeds in (2, 6))
    assert few[0.0]["equivalent"] < 0.2 < 0.6 < many[0.0]["equivalent"]


def test_a_difference_moves_the_intervals_and_nothing_else() -> None:
    runs = runs_table({PAIR[1]: 1.0, PAIR[0]: 1.0}, sigma=SD)
    off = runs.assign(loss=np.where(runs["variant"] == PAIR[0], np.exp(0.001), 1.0) * runs["loss"])
    plain, moved = (
        equivalence(cells, measure_noise(cells), *PAIR, rule_of(0.002))
        for cells in map(make_cells, (runs, off))
    )
    for mine, theirs in zip(shifted(plain, np.full(4, 0.001)).rungs, moved.rungs, strict=True):
        assert mine.difference == pytest.approx(theirs.difference, abs=1e-9)
        assert mine.interval == pytest.approx(theirs.interval, abs=1e-9)
        assert mine.sure == pytest.approx(theirs.sure, abs=1e-9)


@pytest.fixture(scope="module")
def climb(tmp_path_factory: pytest.TempPathFactory) -> Climb:
    """The laptop ladder as if it were there to show equal losses."""
    text = Path("configs/ladders/laptop.yaml").read_text()
    head, _, _ = text.partition("analysis:\n")
    path = tmp_path_factory.mktemp("ladder") / "laptop.yaml"
    verdict = "verdict: {kind: equivalent, margin: 1 %}"
    path.write_text(f"{head}analysis:\n  baseline: dense-baseline\n  {verdict}\n  noise: {{sd: 0.006}}\n")
    return Climb.open(str(path))


@pytest.fixture(scope="module")
def power(climb: Climb) -> Power:
    plan = climb.price(accelerators())
    return plan_power(plan, planned_table(plan, climb.runs), climb.ladder.analysis)


def test_a_plan_tells_chances_of_equivalence(climb: Climb, power: Power, tmp_path: Path, capsys) -> None:
    assert power.reason is None and power.margin == 0.01 and power.goal is None
    assert [(pair.candidate, pair.reference) for pair in power.pairs] == [
        ("dense-tst", "dense-baseline"),
        ("dense-multi_token", "dense-baseline"),
    ]
    for pair in power.pairs:
        assert [row.margins for row in pair.same] == list(DIFFERENCES) and not pair.chances
        assert not pair.shows_same
    told = section.verdict(power)
    assert "cannot decide: variants that do not differ would be found equivalent within ± 1" in told
    plan = climb.price(accelerators())
    print_plan(plan, power)
    printed = " ".join(capsys.readouterr().out.split())
    assert "No difference" in printed and "2 × margin" in printed and "EG" not in printed.split("Rung")[0]
    assert build_plan_pdf(plan, tmp_path / "plan.pdf", power).read_bytes().startswith(b"%PDF")
    power.write(tmp_path / "power.json")
    assert Power.read(tmp_path / "power.json") == power


def test_seeds_are_tried_until_they_suffice(power: Power) -> None:
    tried = [change for change in power.changes if change.promote is not None]
    assert all("seed" in change.what for change in tried), "a learning rate is the same for both"
    assert tried[-1].promote >= DECISIVE > max(change.promote for change in tried[:-1])
    assert power.cheapest == tried[-1]
    assert f"Cheapest way to show equal losses for {power.weakest[0]}" in section.verdict(power)
    head = [column.title for column in section.changes_table(power).columns]
    assert head[-1] == "Equivalent, if nothing differs"


def test_a_ladder_that_shows_enough_says_so(climb: Climb) -> None:
    plan, config = climb.price(accelerators()), climb.ladder.analysis
    wide = config.model_copy(update={"verdict": rule_of(0.05)})
    found = plan_power(plan, planned_table(plan, climb.runs), wide)
    assert found.weakest is None and all(change.promote is None for change in found.changes)
    assert section.verdict(found).startswith("This ladder can show equal losses, within ± 5")


def test_gains_are_not_asked_of_it(climb: Climb, tmp_path: Path) -> None:
    out = tmp_path / "power.json"
    plan = tmp_path / "plan.json"
    climb.price(accelerators()).write(plan)
    told = CliRunner().invoke(app, ["power", str(climb.path), str(plan), "--out", str(out), "--gain", "1.2"])
    assert told.exit_code == 1 and "asks for equal losses" in told.output and not out.exists()
    told = CliRunner().invoke(app, ["design", str(climb.path), "--decide", "1.2", "--hours", "1"])
    assert told.exit_code == 1 and "designs are for gains" in told.output
