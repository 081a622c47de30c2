"""A rung that the laws of the others size: who waits for it, and what its runs become."""

from pathlib import Path

import pytest

from stepladder.ladder.climb import Climb
from stepladder.ladder.read import LadderError
from stepladder.ladder.top import depths
from stepladder.record.cost import parameters, training_flops
from stepladder.record.top import TopPrediction, TopRung
from stepladder.schema.accelerators import accelerators

HARDWARE = Path(__file__).parents[2] / "configs" / "hardware.yaml"
DESIGN = ("budgets: [1]", "budgets: [1, 4]\ndesign: {kind: compute_optimal_top, flops: 1e14, seeds: [0]}")


@pytest.fixture
def climb(edit, tmp_path, monkeypatch) -> Climb:
    monkeypatch.chdir(tmp_path)
    return Climb.open(str(edit(DESIGN)))


def record(climb: Climb, depth: int, **changes) -> TopRung:
    expected = TopPrediction(variant="dense-baseline", tokens=1e7, loss=2.0, interval=(1.9, 2.1))
    return TopRung(
        made_from=climb.top_digest,
        made_at="2026-11-26T12:00:00+00:00",
        flops=1e14,
        confidence=0.95,
        baseline="dense-baseline",
        best_parameters=1e6,
        best_parameters_interval=(9e5, 1.1e6),
        best_tokens=1e7,
        best_tokens_interval=(9e6, None),
        depth=depth,
        parameters=depths(climb.ladder)[depth],
        n_runs=32,
        rows_sha256="0",
        predictions=(expected,),
    ).model_copy(update=changes)


def test_its_runs_are_known_before_its_size_is(climb: Climb) -> None:
    assert climb.topped == {f"{v}/top/1e14flops/seed0" for v in climb.ladder.variants}
    assert climb.ladder.ascending == ["d2", "d3", "top"]
    expected = climb.runs["dense-baseline/top/1e14flops/seed0"]
    assert 10 < 20 * expected.budget_multiple < 40, "around 20 tokens per parameter"
    for run in climb.topped:
        with pytest.raises(FileNotFoundError, match="not chosen yet"):
            climb.spec(run)
    assert climb.spec("dense-baseline/d2/1x/seed0") == climb.runs["dense-baseline/d2/1x/seed0"]


def test_specs_have_the_chosen_size(climb: Climb) -> None:
    record(climb, 9).write(climb.top_record)
    for run in climb.topped:
        spec = climb.spec(run)
        assert spec.id == run and spec.model.n_layers == 9 and spec.rung == "top"
        step = training_flops(spec.model, spec.recipe) / spec.recipe.steps
        assert abs(training_flops(spec.model, spec.recipe) - 1e14) <= step
    assert parameters(spec.model).active_non_embedding > 0


def test_a_choice_of_another_ladder_is_not_taken(climb: Climb) -> None:
    record(climb, 9, made_from="another").write(climb.top_record)
    with pytest.raises(FileNotFoundError):
        climb.spec(next(iter(climb.topped)))


def test_the_digest_follows_what_the_choice_rests_on(climb: Climb, edit) -> None:
    def digest(*changes: tuple[str, str]) -> str:
        return Climb.open(str(edit(DESIGN, *changes))).top_digest

    assert digest() == climb.top_digest
    assert digest(("value: 1e-2", "value: 2e-2")) != climb.top_digest
    assert digest(("flops: 1e14", "flops: 2e14")) != climb.top_digest
    assert digest(("A question?", "Another?")) == climb.top_digest
    assert digest(("baseline: dense", "metric: bits_per_byte\n  baseline: dense")) != climb.top_digest


def test_the_plan_prices_it_and_says_what_is_not_known(climb: Climb) -> None:
    plan = climb.price(accelerators(HARDWARE))
    tops = [run for run in plan.runs if run.rung == "top"]
    assert len(tops) == 4 and all(run.spec_sha256 is None and run.learning_rate is None for run in tops)
    assert all(run.flops == pytest.approx(1e14, rel=0.01) for run in tops)
    assert any("comes from the law of all other runs" in note for note in plan.notes)


def test_a_choice_is_kept_where_it_comes_out_the_same(climb: Climb, tmp_path) -> None:
    path, first = tmp_path / "top.json", record(climb, 9)
    assert first.kept_from(path) == first, "none is there"
    first.write(path)
    later = record(climb, 9, made_at="2026-11-27T12:00:00+00:00")
    assert later.kept_from(path) == first
    rounded = later.model_copy(update={"best_parameters": 1e6 * (1 + 1e-9)})
    assert rounded.kept_from(path) == first, "another machine rounds otherwise"
    other = later.model_copy(update={"best_parameters": 1e6 * (1 + 1e-4)})
    assert other.kept_from(path) == other
    assert record(climb, 8, made_at=later.made_at).kept_from(path).made_at == later.made_at


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([("budgets: [1, 4]", "budgets: [1]")], "one budget at every rung tells no law"),
        ([("optimizer:", "optimizer:\n  trunk: true")], "a trunk is laid out before any law is known"),
        ([("- {depth: 3}", "- {depth: 3, name: top}")], "the rung that the law sizes is called 'top'"),
        (
            [("seeds: [0, 1]", "seeds: [0, 1]\nsweep: {rungs: [d2], learning_rate_factors: [0.5, 1, 2]}")],
            "set sweep.apply to none",
        ),
        ([("flops: 1e14", "flops: -1")], "must be from 1e+06 to 1e+30"),
        (
            [("flops: 1e14", "flops: 1e11")],
            "the top rung must have more than all others, and moe-baseline/d3/4x",
        ),
        (
            [
                (
                    "seeds: [0, 1]",
                    "seeds: [0, 1]\nsweep: {rungs: [top], learning_rate_factors: [0.5, 1, 2], apply: none}",
                )
            ],
            "take it out of sweep.rungs",
        ),
    ],
)
def test_what_does_not_go_with_it_is_refused(edit, changes, said: str) -> None:
    with pytest.raises(LadderError) as error:
        Climb.open(str(edit(DESIGN, *changes)))
    assert said in str(error.value)
