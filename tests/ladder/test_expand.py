"""From ladder to runs: identity, matched FLOPs, and what an edit changes."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.ladder.expand import expand
from stepladder.ladder.load import find_ladder, load_ladder
from stepladder.record.cost import parameters, training_flops, training_flops_per_position
from stepladder.record.spec import RunSpec


def test_every_combination_once(runs):
    ids = list(runs())
    assert len(ids) == len(set(ids)) == 2 * 2 * 2 * 2
    assert "moe-tst/d3/1x/seed1" in ids


def test_spec_survives_json(runs):
    for run in runs().values():
        assert RunSpec.from_json(run.to_json()) == run


def test_specs_differ_between_runs(runs):
    assert max(Counter(run.sha256 for run in runs().values()).values()) == 1


def test_recipes_cost_the_same_flops(runs):
    """TST's superposed steps cost what ordinary steps cost, and read bag_size times the tokens."""
    all_runs = runs()
    for architecture in ("dense", "moe"):
        baseline = all_runs[f"{architecture}-baseline/d3/1x/seed0"]
        tst = all_runs[f"{architecture}-tst/d3/1x/seed0"]
        assert training_flops(tst.model, tst.recipe) == training_flops(baseline.model, baseline.recipe)
        assert tst.recipe.positions == baseline.recipe.positions
        superposed, recovery = tst.recipe.phases
        assert superposed.steps == round(0.25 * tst.recipe.steps)
        expected = (superposed.steps * 4 + recovery.steps) * 8 * 128
        assert tst.recipe.tokens == expected


def test_superposing_the_batch_matches_flops_to_a_step(runs):
    """Shorter sequences attend less, so the steps differ; the FLOPs may differ by less than one step."""
    all_runs = runs(("bag_size: 4,", "bag_size: 4, superpose: batch,"))
    baseline, tst = all_runs["dense-baseline/d3/1x/seed0"], all_runs["dense-tst/d3/1x/seed0"]
    assert tst.recipe.phases[0].sequences == 32 and tst.recipe.phases[0].positions == 32
    step = 8 * 128 * training_flops_per_position(baseline.model)
    gap = training_flops(tst.model, tst.recipe) - training_flops(baseline.model, baseline.recipe)
    assert abs(gap) <= step


def test_budget_is_twenty_tokens_per_parameter(runs):
    run = runs()["dense-baseline/d3/1x/seed0"]
    wanted = 20 * parameters(run.model).active_non_embedding
    assert abs(run.recipe.positions - wanted) <= 8 * 128
    assert run.budget_multiple == pytest.approx(1.0)


def test_moe_matches_dense_active_parameters(runs):
    all_runs = runs()
    dense = parameters(all_runs["dense-baseline/d3/1x/seed0"].model)
    moe = parameters(all_runs["moe-baseline/d3/1x/seed0"].model)
    assert moe.feed_forward_active == dense.feed_forward_active
    assert moe.feed_forward_total == 4 * dense.feed_forward_total
    assert moe.active - dense.active == moe.router


def test_one_rungs_rate_changes_that_rung_only(runs):
    before = runs()
    after = runs(("{depth: 3}", "{depth: 3, set: {learning_rate: 0.5}}"))
    changed = {run for run in before if before[run].sha256 != after[run].sha256}
    assert changed == {run for run in before if "/d3/" in run}
    assert after["dense-baseline/d3/1x/seed0"].overrides == ("learning_rate",)


def test_by_variant_rate_changes_that_variant_only(runs):
    rule = "    by_variant:\n      moe-tst: {rule: constant, value: 0.125}\n  batch:"
    before, after = runs(), runs(("  batch:", rule))
    changed = {run for run in before if before[run].sha256 != after[run].sha256}
    assert changed == {run for run in before if run.startswith("moe-tst/")}


def test_growing_an_axis_keeps_finished_runs(runs):
    before = runs()
    after = runs(("seeds: [0, 1]", "seeds: [0, 1, 2]"), ("  - {depth: 3}", "  - {depth: 3}\n  - {depth: 4}"))
    assert all(after[run] == before[run] for run in before)


def test_execution_is_not_identity(runs):
    assert runs() == runs(("plan:", "execution: {threads: 2, checkpoint_seconds: 5, memory_mb: 1}\nplan:"))


def test_labels_and_kinds(runs):
    """Two settings of one recipe stand side by side under labels of their own."""
    long = "  tst: {bag_size: 4, superposed_fraction: 0.25}"
    both = f"{long}\n  tst8: {{kind: tst, bag_size: 8, superposed_fraction: 0.25}}"
    run = runs((long, both))["dense-tst8/d2/1x/seed0"]
    assert run.recipe.name == "tst" and run.recipe.phases[0].bag_size == 8


def test_sweep_runs_have_paths_of_their_own(edit):
    ladder = load_ladder(edit(("seeds: [0, 1]", "seeds: [0]")))
    swept = {run.id: run for run in expand(ladder, factors=(0.5, 1))}
    half, one = swept["moe-tst/d2/1x/lr0.5/seed0"], swept["moe-tst/d2/1x/seed0"]
    assert half.optimizer.learning_rate == pytest.approx(one.optimizer.learning_rate / 2)


def test_flops_as_budget(runs):
    """Every size and recipe gets the same FLOPs, to within half a step: an IsoFLOP profile."""
    found = runs(("budgets: [1]", "budgets: [{flops: 2.0e11}, 1]"))
    profile = [run for run in found.values() if run.budget == "2e11flops"]
    assert {run.rung for run in profile} == {run.rung for run in found.values()} and len(profile) > 4
    for run in profile:
        spent = training_flops(run.model, run.recipe)
        assert abs(spent - 2e11) <= 0.5 * spent / run.recipe.steps + 1
        n = parameters(run.model).active_non_embedding
        per_position = training_flops_per_position(run.model)
        assert run.budget_multiple == pytest.approx(2e11 / per_position / 20 / n)


def test_steps_as_budget(runs):
    run = runs(("budgets: [1]", "budgets: [{steps: 77}]"))["dense-tst/d2/77steps/seed0"]
    assert run.recipe.steps == 77


def test_published_tst_scales():
    """arXiv 2605.06546, table 1: raw tokens of the TST arms: 105B dense; 2T MoE (1.99T by its steps)."""
    path = find_ladder("tst-dense")
    runs = {run.id: run for run in expand(load_ladder(path), path)}
    for rung, total in (("270M", 254e6), ("600M", 561e6), ("3B", 3.34e9)):
        run = runs[f"dense-tst/{rung}/20000steps/seed0"]
        assert run.recipe.phases[0].steps == 6000 and run.recipe.phases[0].bag_size == 6
        assert run.recipe.tokens == pytest.approx(105e9, rel=0.01)
        assert parameters(run.model).total == pytest.approx(total, rel=0.01)
    path = find_ladder("tst-moe")
    moe = {run.id: run for run in expand(load_ladder(path), path)}["moe-tst/10B-A1B/50000steps/seed0"]
    assert moe.recipe.tokens == pytest.approx(1.99e12, rel=0.01)
    assert parameters(moe.model).total == pytest.approx(10e9, rel=0.05)
    assert parameters(moe.model).active == pytest.approx(1e9, rel=0.2)


@given(depth=st.integers(1, 64), per_layer=st.integers(8, 128), head=st.sampled_from([8, 16, 64]))
def test_heads_always_divide_the_width(depth, per_layer, head):
    from stepladder.ladder.shapes import _n_heads

    d_model = depth * per_layer
    if d_model >= head:
        n_heads = _n_heads(d_model, head)
        assert d_model % n_heads == 0 and d_model // n_heads >= head
