"""A swarm of mixtures: what is drawn, who waits for it, and what the arm's runs become."""

import json
from pathlib import Path

import pytest

from stepladder.decision.choose_mixture import Swarm
from stepladder.ladder.climb import Climb
from stepladder.ladder.read import LadderError
from stepladder.ladder.swarm import draw, share_caps
from stepladder.record.swarm import DomainShare, Expectation, SwarmOutcome
from stepladder.schema import ranges
from stepladder.schema.accelerators import accelerators
from stepladder.schema.data import MAX_EPOCHS
from stepladder.schema.design import MixtureSwarm

HARDWARE = Path(__file__).parents[2] / "configs" / "hardware.yaml"
DESIGN = (
    ("budgets: [1]", "budgets: [1]\ndesign: {kind: mixture_swarm, runs: 8}"),
    ("recipes:", "corpora: {natural: {mixture: {code: 0.9, prose: 0.1}}, other: {}}\nrecipes:"),
    ("baseline: dense-baseline", "baseline: dense-baseline-natural"),
)


@pytest.fixture
def climb(edit, tmp_path, monkeypatch) -> Climb:
    monkeypatch.chdir(tmp_path)
    return Climb.open(str(edit(*DESIGN)))


def outcome(climb: Climb, **changes) -> SwarmOutcome:
    share = {"least": 0.0, "most": 1.0, "cap": None, "interval": (0.2, 0.4)}
    expected = Expectation(
        domain=None,
        weight=1,
        change=-0.01,
        law_interval=(-0.02, 0),
        interval=(-0.03, 0.01),
        left_out_error=0.001,
        spread=0.01,
    )
    return SwarmOutcome(
        made_from=climb.swarm_digest,
        made_at="2026-11-27T12:00:00+00:00",
        confidence=0.95,
        baseline="dense-baseline-natural",
        arm="predicted",
        variant="dense-baseline-predicted",
        rung="d2",
        budget="1x",
        n_arm=2,
        n_baseline=2,
        rank_correlation=0.9,
        domains=(
            DomainShare(domain="code", baseline=0.9, share=0.625, **share),
            DomainShare(domain="prose", baseline=0.1, share=0.375, **share),
        ),
        expectations=(expected,),
        profiles=(),
        runs=(),
        left_out=(),
    ).model_copy(update=changes)


def test_mixtures_are_drawn_about_the_baselines() -> None:
    shares = {"web": 0.6, "code": 0.3, "papers": 0.1}
    design = MixtureSwarm(kind="mixture_swarm", runs=1000, concentration=20.0)
    drawn = draw(shares, design)
    assert drawn == draw(shares, design) and drawn != draw(shares, design.model_copy(update={"seed": 1}))
    assert drawn[:8] == draw(shares, design.model_copy(update={"runs": 8})), "more runs keep those there are"
    for name, share in shares.items():
        values = [mixture[name] for mixture in drawn]
        mean = sum(values) / 1000
        spread = (sum((value - mean) ** 2 for value in values) / 1000) ** 0.5
        assert mean == pytest.approx(share, abs=0.015)
        assert spread == pytest.approx((share * (1 - share) / 21) ** 0.5, rel=0.1)


def test_the_swarm_runs_at_the_smallest_rung(climb: Climb) -> None:
    assert len(climb.swarm) == 8 and set(climb.swarm) <= set(climb.every_run) - set(climb.runs)
    assert {run.rung for run in climb.swarm.values()} == {"d2"}
    assert [run.seed for run in climb.swarm.values()] == [0, 1] * 4
    assert len({str(run.mixture) for run in climb.swarm.values()}) == 8
    natural = climb.runs["dense-baseline-natural/d2/1x/seed0"]
    for run in climb.swarm.values():
        assert run.data.prepared == natural.data.prepared, "one set of shards"
        changed = {"id", "variant", "seed", "data", "mixture"}
        assert run.model_dump(exclude=changed) == natural.model_dump(exclude=changed)
    beside = set(climb.swarm_rests_on) - set(climb.swarm)
    assert beside == {"dense-baseline-natural/d2/1x/seed0", "dense-baseline-natural/d2/1x/seed1"}


def test_it_may_run_elsewhere(edit) -> None:
    climb = Climb.open(
        str(
            edit(
                *DESIGN,
                ("runs: 8", "runs: 8, rung: d3"),
                ("baseline: dense-baseline-natural", "baseline: dense-baseline-natural\n  holdout_rungs: 0"),
            )
        )
    )
    assert {run.rung for run in climb.swarm.values()} == {"d3"}


def test_the_arm_waits(climb: Climb) -> None:
    assert len(climb.mixed) == 16, "2 rungs, 2 architectures, 2 recipes, 2 seeds"
    assert all("-predicted/" in run for run in climb.mixed)
    for run in climb.mixed:
        with pytest.raises(FileNotFoundError, match="not found yet"):
            climb.spec(run)
    assert climb.spec("moe-tst-natural/d3/1x/seed0") == climb.runs["moe-tst-natural/d3/1x/seed0"]


def test_the_arm_reads_what_was_found(climb: Climb) -> None:
    outcome(climb).write(climb.swarm_record)
    for run in climb.mixed:
        spec, twin = climb.spec(run), climb.runs[run.replace("predicted", "natural")]
        assert spec.id == run and all(
            stage.shares == {"code": 0.625, "prose": 0.375} for stage in spec.mixture
        )
        changed = {"id", "variant", "data", "mixture"}
        assert spec.model_dump(exclude=changed) == twin.model_dump(exclude=changed)


def test_a_mixture_of_another_ladder_is_not_taken(climb: Climb) -> None:
    outcome(climb, made_from="another").write(climb.swarm_record)
    with pytest.raises(FileNotFoundError):
        climb.spec(next(iter(climb.mixed)))


def test_the_digest_follows_what_the_mixture_rests_on(climb: Climb, edit) -> None:
    def digest(*changes: tuple[str, str]) -> str:
        return Climb.open(str(edit(*DESIGN, *changes))).swarm_digest

    assert digest() == climb.swarm_digest
    assert digest(("value: 1e-2", "value: 2e-2")) != climb.swarm_digest
    assert digest(("runs: 8", "runs: 9")) != climb.swarm_digest
    assert digest(("code: 0.9, prose: 0.1", "code: 0.8, prose: 0.2")) != climb.swarm_digest
    assert digest(("code: 0.5, prose: 0.5", "code: 0.6, prose: 0.4")) != climb.swarm_digest
    assert digest(("- {depth: 3}", "- {depth: 4}")) != climb.swarm_digest, "caps follow the longest run"
    assert digest(("A question?", "Another?")) == climb.swarm_digest


def test_the_plan_prices_it_and_says_what_is_not_known(climb: Climb) -> None:
    plan = climb.price(accelerators(HARDWARE))
    assert sum(run.swarm for run in plan.runs) == 8 and not any(run.proper for run in plan.runs if run.swarm)
    waiting = [run for run in plan.with_passes({None: {"code": 9, "prose": 1}}).runs if run.mixed]
    assert len(waiting) == 16
    assert all(run.spec_sha256 is None and run.passes is None and run.learning_rate for run in waiting)
    assert any("The mixture of corpus predicted comes from 8 runs" in note for note in plan.notes)


def test_caps_are_what_the_longest_run_may_read() -> None:
    tokens = {"web": 10_000, "code": 500, "papers": 100}
    assert share_caps(tokens, 10_000, 4.0, tokens) == {"code": 0.1998, "papers": 0.03996}
    assert share_caps(tokens, 10_000, {"code": 30.0, "papers": 1.0}, tokens) == {"papers": 0.00999}
    assert share_caps(["gone"], 10_000, 4.0, tokens) == {"gone": 0.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([("natural: {mixture: {code: 0.9, prose: 0.1}}", "natural: {}")], "corpus natural, which has none"),
        ([("{code: 0.9, prose: 0.1}", "{code: 1}")], "corpus natural, which is one domain"),
        (
            [("{code: 0.9, prose: 0.1}", "[{until: 0.5, code: 1}, {prose: 1}]")],
            "corpus natural, which changes within a run",
        ),
        ([("runs: 8", "runs: 8, arm: natural")], "arm 'natural' is one of corpora: rename one"),
        ([("runs: 8", "runs: 3")], "must be from 4 to 1024"),
        ([("runs: 8", "runs: 8, rung: d9")], "no rung 'd9'; this ladder has: d2, d3"),
        ([("runs: 8", "runs: 8, rung: d3")], "a swarm runs before what is held out"),
        ([("runs: 8", "runs: 8, concentration: 0")], "must be from 0.1"),
        ([("baseline: dense-baseline-natural", "baseline: dense-nothing")], "no variant 'dense-nothing'"),
        ([("optimizer:", "optimizer:\n  trunk: true")], "set optimizer.trunk to false"),
        (
            [("seeds: [0, 1]", "seeds: [0, 1]\nsweep: {rungs: [d2], learning_rate_factors: [0.5, 1, 2]}")],
            "sweep in a ladder of its own",
        ),
    ],
)
def test_what_does_not_go_with_it_is_refused(edit, changes, said: str) -> None:
    with pytest.raises(LadderError) as error:
        Climb.open(str(edit(*DESIGN, *changes)))
    assert said in str(error.value)


def test_a_ladder_without_corpora_is_told_how_to_name_one(edit) -> None:
    with pytest.raises(LadderError, match=r"add `corpora: \{natural: \{mixture"):
        Climb.open(str(edit(DESIGN[0])))


def test_more_domains_need_more_runs(edit) -> None:
    source = "{kind: text, domains: {a: [a.txt], b: [b.txt], c: [c.txt], code: [d.txt], prose: [e.txt]}}"
    with pytest.raises(LadderError, match="8 runs are too few for the mixture's 5 domains: at least 10"):
        Climb.open(
            str(
                edit(
                    *DESIGN,
                    ("{kind: python_stdlib}", source),
                    ("{code: 0.9, prose: 0.1}", "{a: 1, b: 1, c: 1, code: 1, prose: 1}"),
                )
            )
        )


def test_a_drawn_mixture_that_repeats_a_domain_stops_nothing(climb: Climb) -> None:
    """Whether it does is seen with the shards only: such runs are left out of the law."""
    limits = {run: json.loads(climb.max_epochs(run)) for run in climb.every_run}
    drawn = {run for run in limits if run in climb.swarm}
    assert drawn and {limits[run] for run in drawn} == {ranges.EPOCHS.most}
    assert {limits[run] for run in limits.keys() - drawn} == {MAX_EPOCHS}
    few = {"code": 10**9, "prose": 100}
    plan = climb.price(accelerators(HARDWARE)).with_passes({None: few})
    assert any(run.swarm and run.read.by_domain["prose"] > MAX_EPOCHS for run in plan.runs)
    assert plan.over_epochs is not None and "swarm" not in plan.over_epochs.partition(":")[0]

    asked = Swarm.of(
        climb.ladder, climb.swarm_rests_on.values(), [climb.runs[n] for n in climb.mixed], {None: few}
    )
    assert asked.repeating > drawn, "the baseline's, too"
