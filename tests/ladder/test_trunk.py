"""Trunks: what runs of several budgets have in common, exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.ladder.trunk import common_steps, find_trunks, prefix, share_trunk
from stepladder.record.cost import flops_until, training_flops


def at_budget(spec, steps, superposed=0):
    """The run with so many steps in all, decaying over the last fifth."""
    phases = spec.recipe.phases
    counts = [superposed, steps - superposed] if len(phases) > 1 else [steps]
    new = tuple(p.model_copy(update={"steps": n}) for p, n in zip(phases, counts, strict=True))
    return spec.model_copy(
        update={
            "id": f"{spec.variant}/{spec.rung}/{steps}/seed{spec.seed}",
            "budget": str(steps),
            "recipe": spec.recipe.model_copy(update={"phases": new}),
            "schedule": spec.schedule.model_copy(update={"decay_steps": steps // 5}),
        }
    )


@pytest.fixture(scope="module")
def dense(make_run):
    return make_run()


@pytest.fixture(scope="module")
def tst(make_run):
    return make_run(recipe="tst")


def test_baseline_forks_where_it_begins_to_decay(dense):
    runs = [at_budget(dense, steps) for steps in (50, 100, 200)]
    trunks = find_trunks(reversed(runs))
    stem = "dense-baseline/d2/seed0"
    assert {name: (s.spec.recipe.steps, s.start) for name, s in trunks.segments.items()} == {
        f"{stem}/step40": (40, None),
        f"{stem}/step80": (80, f"{stem}/step40"),
        f"{stem}/step160": (160, f"{stem}/step80"),
    }
    assert [trunks.parents[run.id] for run in runs] == [f"{stem}/step{k}" for k in (40, 80, 160)]
    # 160 steps of trunk, and 10 + 20 + 40 of branches, in place of 350
    step = training_flops(dense.model, dense.recipe) / 12
    jobs = [*runs, *(segment.spec for segment in trunks.segments.values())]
    assert sum(trunks.flops_trained(job) for job in jobs) == pytest.approx(230 * step)


def test_superposed_phases_are_shared_and_no_more(tst):
    """A quarter of the steps is superposed: budgets of 40, 80 and 160 steps part after 10, 20 and 40."""
    runs = [at_budget(tst, steps, steps // 4) for steps in (40, 80, 160)]
    trunks = find_trunks(runs)
    assert [s.spec.recipe.steps for s in trunks.segments.values()] == [10, 20, 40]
    assert [trunks.parent(run.id).recipe.steps for run in runs] == [10, 20, 40]
    assert all([p.name for p in s.spec.recipe.phases] == ["superposed"] for s in trunks.segments.values())


def test_a_longer_budget_leaves_what_is_there_as_it_is(dense):
    few, more = (find_trunks(at_budget(dense, n) for n in budgets) for budgets in ((50, 100), (50, 100, 200)))
    assert few.segments.items() < more.segments.items()
    assert few.parents.items() < more.parents.items()


def test_different_runs_share_nothing(dense):
    hot = dense.model_copy(update={"optimizer": dense.optimizer.model_copy(update={"learning_rate": 0.02})})
    warm = dense.model_copy(update={"schedule": dense.schedule.model_copy(update={"warmup_steps": 3})})
    other = dense.model_copy(update={"seed": 1})
    for changed in (hot, warm, other):
        assert common_steps(at_budget(dense, 50), at_budget(changed, 100)) == 0
    segments = find_trunks([at_budget(dense, 50), at_budget(hot, 100), at_budget(other, 70)]).segments
    assert [segment.start for segment in segments.values()] == [None] * 3


@given(st.lists(st.integers(20, 400), min_size=1, max_size=6, unique=True), st.booleans())
def test_every_run_goes_on_from_its_own_beginning(dense, tst, budgets, superposes):
    runs = [at_budget(tst, n, n // 4) if superposes else at_budget(dense, n) for n in budgets]
    trunks = find_trunks(runs)
    for run in runs:
        if parent := trunks.parent(run.id):
            assert prefix(run, parent.recipe.steps) == parent
            assert parent.recipe.steps <= run.recipe.steps - run.schedule.decay_steps
    for segment in trunks.segments.values():
        if start := trunks.parent(segment.spec.id):
            assert prefix(segment.spec, start.recipe.steps) == start
            assert start.recipe.steps < segment.spec.recipe.steps
    jobs = [*runs, *(segment.spec for segment in trunks.segments.values())]
    alone = sum(training_flops(run.model, run.recipe) for run in runs)
    trained = sum(trunks.flops_trained(job) for job in jobs)
    longest = max(training_flops(run.model, run.recipe) for run in runs)
    assert longest <= trained * (1 + 1e-9) and trained <= alone * (1 + 1e-9)


def test_flops_until_the_end_are_the_runs(tst):
    run = at_budget(tst, 80, 20)
    assert flops_until(run, 80) == pytest.approx(training_flops(run.model, run.recipe))
    assert flops_until(run, 0) == 0


def test_warmup_is_that_of_the_shortest_and_rates_must_agree(dense):
    short = at_budget(dense, 50)
    long = at_budget(dense, 100)
    long = long.model_copy(update={"schedule": long.schedule.model_copy(update={"warmup_steps": 9})})
    assert [run.schedule.warmup_steps for run in share_trunk([short, long])] == [2, 2]
    hot = long.model_copy(update={"optimizer": dense.optimizer.model_copy(update={"learning_rate": 0.02})})
    with pytest.raises(ValueError, match=r"one learning rate.*0.01 at 50, 0.02 at 100.*optimizer.trunk"):
        share_trunk([short, hot])
