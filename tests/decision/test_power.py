"""What a plan says that a ladder will tell: the simulation draws what it says, and judges as the ladder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ladders import ALPHA, FLOPS, A, E, runs_table
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.decision.assumptions import NoiseLine, Truth, assume
from stepladder.decision.chances import Simulation, plan_cells
from stepladder.decision.design import affordable, designs
from stepladder.decision.plan_power import plan_power, planned_table
from stepladder.decision.power import DECISIVE, Power
from stepladder.ladder.climb import Climb
from stepladder.laws.invert import ComputeLaw, log_invert
from stepladder.report.sections import power as section
from stepladder.schema.accelerators import accelerators
from stepladder.schema.analysis import AnalysisConfig

LAW = ComputeLaw(E, A, ALPHA, 1e12)
PAIR = ("dense-idea", "dense-baseline")
PAIR_OF_PLAN = ("dense-tst", "dense-baseline")
EXACT = {"exactly": 0.0, "share": 0.0}


def simulation(sd: float, seeds: int = 2, correlation: float = 0.0, misfit: dict | None = None) -> Simulation:
    runs = runs_table({"dense-baseline": 1.0, "dense-idea": 1.0}, seeds=dict.fromkeys(FLOPS, seeds))
    config = AnalysisConfig.model_validate(
        {"baseline": "dense-baseline", "bootstrap_draws": 100, "misfit": EXACT if misfit is None else misfit}
    )
    truth = Truth(LAW, NoiseLine(sd, at=1e12, per_decade=1.0, correlation=correlation))
    return Simulation(plan_cells(runs.drop(columns="loss")), truth, config, (PAIR,), whole=2, climbs=60)


def test_losses_are_drawn_as_assumed() -> None:
    made = simulation(0.01, seeds=4, correlation=0.5)
    cells = made.cells
    gains = np.where(cells.variant == 1, 1.3, 1.0)
    losses = made.run_losses(4000, gains, 1)
    runs = cells.runs.reset_index(drop=True)
    for variant, gain in (("dense-baseline", 1.0), ("dense-idea", 1.3)):
        mine = runs.index[(runs["variant"] == variant) & (runs["rung"] == "d5")]
        found = log_invert(LAW, np.exp(losses[:, mine].mean())) - np.log(FLOPS["d5"])
        assert found == pytest.approx(np.log(gain), abs=0.01)
        assert losses[:, mine[0]].std() == pytest.approx(0.01, rel=0.05)
    one = runs.index[(runs["rung"] == "d5") & (runs["seed"] == 0)]
    assert np.corrcoef(losses[:, one].T)[0, 1] == pytest.approx(0.5, abs=0.05), "common seeds share noise"
    top = (runs["rung"] == "d5") & (runs["variant"] == "dense-idea")
    other = runs.index[top & runs["seed"].isin([0, 1])]
    assert np.corrcoef(losses[:, other].T)[0, 1] == pytest.approx(0.0, abs=0.05)


def test_misfit_is_that_of_the_ladders_prior() -> None:
    made = simulation(1e-9, misfit={"exactly": 0.0, "share": 0.25, "by": 0.004})
    off = made.run_losses(4000, np.ones(len(made.cells.table)), 1) - np.log(
        E + A * (made.cells.runs["flops"].to_numpy() / 1e12) ** -ALPHA
    )
    assert (off > 1e-6).mean() == pytest.approx(0.25, abs=0.01)
    assert off[off > 1e-6].mean() == pytest.approx(0.004 * np.sqrt(2 / np.pi), rel=0.05)
    assert off.min() > -1e-7


def test_without_noise_every_gain_is_known() -> None:
    chances = simulation(1e-5).prospect(PAIR, (1.0, 1.1)).chances
    assert chances[1.1]["promote"] > 0.95  # one fit in sixty may not converge: it is not promoted
    assert chances[1.0]["reject"] == 1.0, "all of the interval is below the smallest gain worth having"


def test_noise_widens_and_seeds_narrow() -> None:
    quiet, loud = (simulation(sd).prospect(PAIR, (1.2,)) for sd in (0.002, 0.02))
    many = simulation(0.02, seeds=8).prospect(PAIR, (1.2,))
    assert quiet.largest < many.largest < loud.largest
    assert quiet.chances[1.2]["promote"] > many.chances[1.2]["promote"] > loud.chances[1.2]["promote"]
    assert all(sum(shares.values()) == pytest.approx(1) for shares in loud.chances.values())


def test_a_gain_that_is_not_there_is_hardly_promoted() -> None:
    made = replace(simulation(0.01, seeds=3, misfit={}), climbs=400)
    assert made.prospect(PAIR, (1.0,)).chances[1.0]["promote"] <= 0.05


def test_noise_and_law_are_those_of_earlier_runs() -> None:
    config = AnalysisConfig(baseline="dense-baseline")
    five = dict.fromkeys(FLOPS, 5)
    earlier = runs_table({"dense-baseline": 1.0, "dense-idea": 1.2}, sigma=0.004, seeds=five)
    truth, told = assume(plan_cells(earlier), config, earlier)
    assert truth.noise.sd == pytest.approx(0.004, rel=0.3) and "40 earlier runs" in told.noise_source
    assert truth.noise.correlation == pytest.approx(0.5, abs=0.25)
    assert truth.law.alpha == pytest.approx(ALPHA, rel=0.3) and "dense-baseline" in told.law_source


def test_without_runs_noise_is_stated_or_published() -> None:
    config = AnalysisConfig.model_validate({"baseline": "dense-baseline", "noise": {"sd": 0.003}})
    cells = plan_cells(runs_table({"dense-baseline": 1.0, "dense-idea": 1.0}))
    stated, told = assume(cells, config, None)
    assert (stated.noise.sd, stated.noise.per_decade) == (0.003, 1.0)
    assert told.noise_source == "analysis.noise"
    published, told = assume(cells, AnalysisConfig(baseline="dense-baseline"), None)
    assert "OLMo" in told.noise_source
    assert float(published.noise.sd_at(1e12)) == pytest.approx(0.01)
    assert float(published.noise.sd_at(7e19)) == pytest.approx(0.00016)


@pytest.fixture(scope="module")
def power(plan, laptop: Climb) -> Power:
    return plan_power(plan, planned_table(plan, laptop.runs), laptop.ladder.analysis, gains=(1.0, 3.0))


@pytest.fixture(scope="module")
def laptop() -> Climb:
    return Climb.open("configs/ladders/laptop.yaml")


@pytest.fixture(scope="module")
def plan(laptop: Climb):
    return laptop.price(accelerators())


def test_a_plan_names_every_comparison_and_prices_it(power: Power, plan) -> None:
    assert [(pair.candidate, pair.reference) for pair in power.pairs] == [
        ("dense-tst", "dense-baseline"),
        ("dense-multi_token", "dense-baseline"),
    ]
    wanted = sum(run.accelerator_hours for run in plan.runs if run.variant in PAIR_OF_PLAN)
    assert power.pairs[0].accelerator_hours == pytest.approx(wanted)
    assert all(pair.tells == 3.0 for pair in power.pairs), "threefold gains are seen in any noise"
    assert section.verdict(power).startswith(
        "This ladder can decide dense-tst against dense-baseline from EG 3"
    )
    drops = {change.what for change in power.changes}
    assert drops == {"drop dense-tst", "drop dense-multi_token"}, "the baseline is compared with"


def test_a_ladder_that_cannot_decide_says_so_first(power: Power) -> None:
    blind = tuple(
        pair.model_copy(
            update={
                "chances": tuple(c.model_copy(update={"promote": 0.1, "hold": 0.9}) for c in pair.chances)
            }
        )
        for pair in power.pairs
    )
    told = section.verdict(power.model_copy(update={"pairs": blind}))
    assert told.startswith(
        "This ladder cannot decide: a true gain of 3 would be promoted with a chance of 10 %"
    )


def test_one_seed_and_no_stated_noise_cannot_decide(plan, laptop: Climb) -> None:
    planned = planned_table(plan, laptop.runs)
    power = plan_power(plan, planned[planned["seed"] == 0], laptop.ladder.analysis)
    assert "analysis.noise" in (power.reason or "") and not power.pairs
    assert section.verdict(power).startswith("This ladder cannot decide: no seed is repeated")


def test_changes_are_priced_and_end_where_they_suffice(plan, laptop: Climb) -> None:
    planned = planned_table(plan, laptop.runs)
    two = planned[planned["variant"].isin(PAIR_OF_PLAN)]
    power = plan_power(plan, two, laptop.ladder.analysis, gains=(1.0, 1.6))
    tried = [change for change in power.changes if change.promote is not None]
    assert power.goal == 1.6 or not tried
    hours = [change.accelerator_hours for change in power.changes]
    assert hours == sorted(hours)
    assert all((change.promote or 0) < DECISIVE for change in tried[:-1])


def test_designs_keep_to_the_budget(laptop: Climb) -> None:
    table = accelerators()
    for climb in affordable(laptop, table, 0.2):
        assert climb.price(table).totals.accelerator_hours <= 0.2
        assert len(climb.ladder.rungs) >= 3
        assert all(len(rung.seeds) >= 2 for rung in climb.ladder.rungs)
    with pytest.raises(ValueError, match=r"--hours 0\.001: three rungs with two seeds each do not fit"):
        designs(laptop, table, 1.2, 0.001)


def test_commands_say_what_is_wrong(tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.json", tmp_path / "power.json"
    Climb.open("configs/ladders/smoke.yaml").price(accelerators()).write(plan)
    other = CliRunner().invoke(app, ["power", "configs/ladders/laptop.yaml", str(plan), "--out", str(out)])
    assert other.exit_code == 1 and "the plan is of ladder 'smoke'" in other.output and not out.exists()
    dear = CliRunner().invoke(app, ["design", "--decide", "1.2", "--hours", "0.001"])
    assert dear.exit_code == 1 and "three rungs with two seeds each do not fit" in dear.output
