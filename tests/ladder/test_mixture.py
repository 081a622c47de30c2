"""`data.mixture`: what may be written, and what each run reads of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.ladder.climb import Climb
from stepladder.ladder.load import LadderError
from stepladder.ladder.mixture import in_words, resolve_mixture
from stepladder.ladder.trunk import common_steps, find_trunks, prefix
from stepladder.record.passes import passes
from stepladder.record.spec import MixtureStage, RunSpec, ScheduleSpec
from stepladder.report.sections.mixture import mixture_table
from stepladder.schema.accelerators import accelerators
from stepladder.schema.mixture import Stage

Edit = Callable[..., Path]
LINE = "  tokenizer: {kind: byte}\n"


def mixed(edit: Edit, written: str, further: str = "") -> Climb:
    return Climb.open(str(edit((LINE, f"{LINE}  mixture: {written}\n{further}"))))


def schedule(decay_steps: int = 20) -> ScheduleSpec:
    return ScheduleSpec(warmup_steps=1, decay_steps=decay_steps, decay_shape="linear", final=0.0)


def test_a_mixture_is_in_the_spec_and_absent_from_specs_without(edit: Edit) -> None:
    climb = mixed(edit, "{code: 1, prose: 3}")
    for spec in climb.runs.values():
        assert spec.mixture == (MixtureStage(steps=spec.recipe.steps, shares={"code": 0.25, "prose": 0.75}),)
        assert RunSpec.from_json(spec.to_json()) == spec
    plain = Climb.open(str(edit()))
    assert not any("mixture" in spec.to_json() for spec in plain.runs.values())
    assert plain.corpora == climb.corpora  # nothing is prepared again
    scaled = mixed(edit, "{code: 0.1, prose: 0.3}")
    assert [run.mixture for run in scaled.runs.values()] == [run.mixture for run in climb.runs.values()]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{code: 0}", "data.mixture: the weights sum to 0"),
        ("{}", "data.mixture: the weights sum to 0"),
        ("{until: 0.5}", "data.mixture: the weights sum to 0"),
        ("[]", "data.mixture: a list of at least 1"),
        ("5", "data.mixture = 5: a list is needed"),
        ("{code: -1}", r"data.mixture.code = -1: must be from 0 to 1e\+06"),
        ("{code: 1e300}", r"data.mixture.code = 1e\+300: must be"),
        ("{code: lots}", 'data.mixture.code = "lots": input should be a valid number'),
        ("{web: 1}", "the source has no domain 'web'; it has: code, prose"),
        ("[{until: 0.8, code: 1}, {web: 1}]", r"data.mixture\[1\].web = 1: the source has no domain"),
        ("[{until: 0.8, code: 1}]", "the last stage goes on to the end of the run"),
        ("[{code: 1}, {prose: 1}]", "every stage but the last needs `until`"),
        ("[{until: 2, code: 1}, {prose: 1}]", r"data.mixture\[0\].until = 2: must be above 0 to 1"),
        ("[{until: soon, code: 1}, {prose: 1}]", "data.mixture.*until = \"soon\": input should be 'decay'"),
        ("[{until: 0.8, code: 1}, {until: 0.8, prose: 1}, {code: 1}]", "stages end at 0.8, 0.8: put them"),
        ("[{until: decay, code: 1}, {until: 0.9, prose: 1}, {code: 1}]", "`decay` is the last"),
        ("[{until: 0.0001, code: 1}, {prose: 1}]", "the stage until 0.0001 has no steps"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_field(edit: Edit, written: str, said: str) -> None:
    with pytest.raises(LadderError, match=said):
        mixed(edit, written)


@pytest.mark.parametrize(
    ("limit", "said"),
    [("{web: 2}", "no domain 'web'"), ("{code: 0}", "data.max_epochs.code = 0: must be from 0.001")],
)
def test_limits_by_domain_are_checked(edit: Edit, limit: str, said: str) -> None:
    with pytest.raises(LadderError, match=said):
        mixed(edit, "{code: 1}", f"  max_epochs: {limit}\n")


@given(
    steps=st.integers(110, 10**6),
    ends=st.sets(st.integers(2, 78), min_size=1, max_size=4),
)
def test_stages_fill_the_run(steps: int, ends: set[int]) -> None:
    """Stages end more than a step apart: a hundredth of at least 110."""
    stages = [Stage(until=end / 100, weights={"web": 1.0}) for end in sorted(ends)]
    stages += [Stage(until="decay", weights={"code": 2.0, "web": 2.0}), Stage(weights={"math": 1.0})]
    found = resolve_mixture(stages, ["web", "code", "math", "unread"], steps, schedule(steps // 5))
    assert sum(stage.steps for stage in found) == steps
    assert found[-1].steps == steps // 5
    assert all(list(stage.shares) == ["web", "code", "math"] for stage in found)
    assert found[-2].shares == {"web": 0.5, "code": 0.5, "math": 0.0}


def test_a_mixture_in_words() -> None:
    stages = [
        Stage(until=0.5, weights={"web": 2.0, "code": 1.0}),
        Stage(until="decay", weights={"web": 1.0}),
        Stage(weights={"math": 3.0}),
    ]
    assert in_words(stages) == (
        "web 66.7 %, code 33.3 % until 50 % of the steps; then web 100 % until the learning rate decays; "
        "then math 100 %"
    )


def test_passes_are_counted_by_domain(edit: Edit) -> None:
    """A superposed phase reads more tokens in a step, so its stages weigh more."""
    stages = "[{until: decay, code: 1}, {code: 1, prose: 3}]"
    climb = mixed(edit, stages, "  max_epochs: {prose: 1.5}\n")
    tokens = {"code": 10_000, "prose": 1_000}
    plan = climb.price(accelerators("configs/hardware.yaml")).with_passes({None: tokens})
    for run in plan.runs:
        spec = climb.runs[run.id]
        last = spec.recipe.phases[-1]
        cooled = 0.75 * spec.schedule.decay_steps * last.sequences * last.positions
        assert run.tokens_by_domain == {"code": pytest.approx(spec.recipe.tokens - cooled), "prose": cooled}
        assert run.passes_by_domain is not None and run.read is not None
        assert run.passes_by_domain["prose"] == cooled / 1_000
        assert run.passes == max(run.passes_by_domain.values())
        assert passes(spec, tokens) == run.read
    assert plan.over_epochs is not None
    assert "it would read domain" in plan.over_epochs and "give " in plan.over_epochs
    table = mixture_table(plan)
    assert table is not None and len(table.rows) == 2 * len(climb.ladder.variants)
    assert mixture_table(Climb.open(str(edit())).price(accelerators("configs/hardware.yaml"))) is None


def cut(run: RunSpec, stages: str) -> RunSpec:
    """The run with stages `steps x share of code`."""
    parts = [part.split("x") for part in stages.split()]
    mixture = tuple(
        MixtureStage(steps=int(n), shares={"code": float(w), "prose": 1 - float(w)}) for n, w in parts
    )
    phase = run.recipe.phases[-1].model_copy(update={"steps": sum(stage.steps for stage in mixture)})
    return run.model_copy(
        update={
            "id": f"{run.variant}/{run.rung}/{phase.steps}",
            "mixture": mixture,
            "recipe": run.recipe.model_copy(update={"phases": (phase,)}),
            "schedule": schedule(mixture[-1].steps),
        }
    )


def test_budgets_share_a_trunk_until_their_mixtures_part(make_run: Callable[..., RunSpec]) -> None:
    run = make_run()
    short, long = cut(run, "80x0.3 20x0.9"), cut(run, "160x0.3 40x0.9")
    assert common_steps(short, long) == 80
    assert common_steps(short, cut(run, "160x0.4 40x0.9")) == 0
    assert common_steps(cut(run, "40x0.3 40x0.5 20x0.9"), cut(run, "80x0.3 80x0.5 40x0.9")) == 40
    assert [s.steps for s in prefix(cut(run, "40x0.3 40x0.5 20x0.9"), 50).mixture or ()] == [40, 10]
    trunks = find_trunks([short, long])
    assert [segment.spec.recipe.steps for segment in trunks.segments.values()] == [80, 160]
