"""Which sizes an IsoFLOP design trains, and what is refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.ladder.climb import Climb
from stepladder.ladder.grids import nearest
from stepladder.ladder.load import load_ladder
from stepladder.ladder.read import LadderError
from stepladder.record.cost import parameters, training_flops

RUNGS = "rungs:\n  - {depth: 2}\n  - {depth: 3}\n"
DESIGN = "design: {kind: isoflop, flops: [1e13, 1e14, 1e15], sizes: 5}"


@pytest.fixture
def climb(edit):
    """A ladder of every depth with a design in the place of its budgets."""

    def make(*changes: tuple[str, str], design: str = DESIGN, rungs: str = "") -> Climb:
        return Climb.open(str(edit((RUNGS, rungs), ("budgets: [1]", design), *changes)))

    return make


def test_profiles_lie_about_the_expected_optimum(climb) -> None:
    found = climb()
    assert found.ladder.profiles == [1e13, 1e14, 1e15] and found.ladder.places == 3
    for label in ("1e13flops", "1e14flops", "1e15flops"):
        runs = [run for run in found.runs.values() if (run.variant, run.budget) == ("dense-baseline", label)]
        sizes = sorted({parameters(run.model).active_non_embedding for run in runs})
        assert len(sizes) == 5 and len(runs) == 10
        ratios = sorted({round(20 * run.budget_multiple, 6) for run in runs})
        assert ratios[0] < 20 < ratios[-1] and 10 < ratios[2] < 40
        assert all(1.2 < large / small < 3.5 for small, large in pairwise(sizes))


def test_all_variants_train_the_same_sizes_with_the_same_flops(climb) -> None:
    found = climb()
    places = {
        v: {(r.rung, r.budget) for r in found.runs.values() if r.variant == v} for v in found.ladder.variants
    }
    assert len(places) == 4 and len({frozenset(mine) for mine in places.values()}) == 1
    for run in found.runs.values():
        wanted = float(run.budget.removesuffix("flops"))
        step = training_flops(run.model, run.recipe) / run.recipe.steps
        assert abs(training_flops(run.model, run.recipe) - wanted) <= step


def test_listed_rungs_are_chosen_from(climb) -> None:
    rungs = "rungs: [{depth: 2, name: a, set: {d_model: 32}}, {depth: 2, name: b, set: {d_model: 48}}, "
    rungs += "{depth: 2, name: c, set: {d_model: 64}}, {depth: 2, name: z, set: {d_model: 512}}]\n"
    design = "design: {kind: isoflop, flops: [5e11], sizes: 3}"
    assert [rung.label for rung in climb(design=design, rungs=rungs).ladder.rungs] == ["a", "b", "c"]


@given(st.lists(st.floats(0, 10), min_size=3, max_size=30, unique=True), st.data())
def test_nearest_are_different_and_ascend(there: list[float], data) -> None:
    there = sorted(there)
    wanted = sorted(data.draw(st.lists(st.floats(-2, 12), min_size=1, max_size=len(there))))
    chosen = nearest(there, wanted)
    assert len(chosen) == len(wanted) and all(a < b for a, b in pairwise(chosen))
    assert chosen[0] >= 0 and chosen[-1] < len(there)


def test_nearest_takes_what_is_there() -> None:
    assert nearest([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [1.1, 2.9, 5.2]) == [1, 3, 5]


@pytest.mark.parametrize(
    ("design", "said"),
    [
        (
            "design: {kind: isoflop, flops: [1e14, 1e13]}",
            "flops [1e14flops, 1e13flops]: write each budget once",
        ),
        ("design: {kind: isoflop, flops: [1e14, 1.00000001e14]}", "write each budget once, smallest first"),
        ("design: {kind: isoflop, flops: [1e14], sizes: 2}", "must be from 3 to 64"),
        ("design: {kind: isoflop, flops: []}", "a list of at least 1 is needed"),
        ("design: {kind: isoflop, flops: [1e14], ratio: 1}", "must be above 1 to 100"),
        (
            "design: {kind: isoflop, flops: [1e7]}",
            "at 1e+07 FLOPs the size with 20 tokens per parameter is none",
        ),
        (
            "design: {kind: other, flops: [1e14]}",
            "no kind is called 'other'; there are: 'isoflop', 'compute_optimal_top'",
        ),
        ("budgets: [1]\ndesign: {kind: isoflop, flops: [1e14]}", "design has budgets of its own"),
        ("", "no rungs: list them"),
    ],
)
def test_impossible_designs_are_refused(edit, design: str, said: str) -> None:
    with pytest.raises(LadderError) as error:
        load_ladder(edit((RUNGS, ""), ("budgets: [1]", design)))
    assert said in str(error.value)


def test_few_listed_sizes_are_refused(edit) -> None:
    with pytest.raises(LadderError, match="5 sizes are asked for at each budget, and the ladder has 2"):
        load_ladder(edit(("budgets: [1]", DESIGN)))


def test_what_needs_rungs_is_refused(edit) -> None:
    gates = ("baseline: dense-baseline", "baseline: dense-baseline\n  gates: [{after: d4}]")
    with pytest.raises(LadderError, match="gates look from rung to rung"):
        load_ladder(edit((RUNGS, ""), ("budgets: [1]", DESIGN), gates))
    held = ("baseline: dense-baseline", "baseline: dense-baseline\n  holdout_rungs: 3")
    with pytest.raises(LadderError, match="3 of 3 budgets leave nothing to predict them from"):
        load_ladder(edit((RUNGS, ""), ("budgets: [1]", DESIGN), held))


def test_budgets_of_flops_are_profiles_too(edit) -> None:
    """Written out, without a design: three sizes or more at the same FLOPs."""
    rungs = "rungs:\n  - {depth: 2}\n  - {depth: 3}\n  - {depth: 4}\n  - {depth: 5}\n"
    path = edit((RUNGS, rungs), ("budgets: [1]", "budgets: [{flops: 1e13}, {flops: 2e13}]"))
    found = Climb.open(str(path))
    assert found.ladder.profiles == [1e13, 2e13] and found.ladder.places == 2
    with pytest.raises(ValueError, match="predictions are written down for rungs"):
        _ = found.held_out_runs


def test_a_seed_at_too_few_sizes_is_refused_before_it_trains(edit) -> None:
    """A profile takes one curve of each seed (`decision/minima.py`)."""
    rungs = "rungs:\n  - {depth: 2, seeds: [0, 1, 2]}\n  - {depth: 3}\n  - {depth: 4}\n"
    with pytest.raises(LadderError, match="seed 2 is at 1 of the sizes with 1e13flops, which are an IsoFLOP"):
        load_ladder(edit((RUNGS, rungs), ("budgets: [1]", "budgets: [{flops: 1e13}, {flops: 2e13}]")))


def test_a_sweep_of_a_design_says_its_budget(edit) -> None:
    sweep = "{rungs: [d4], learning_rate_factors: [0.5, 1, 2], apply: none"
    at = ("budgets: [1]", f"{DESIGN}\nsweep: {sweep}}}")
    with pytest.raises(LadderError, match="say which to sweep: budget"):
        load_ladder(edit((RUNGS, ""), at))
    said = ("budgets: [1]", f"{DESIGN}\nsweep: {sweep}, budget: {{flops: 3e13}}}}")
    assert Climb.open(str(edit((RUNGS, ""), said))).sweep


def test_errors_of_a_design_name_its_place(edit) -> None:
    with pytest.raises(LadderError, match=r"design: flops \[2e13flops, 1e13flops\]: write each budget once"):
        load_ladder(edit((RUNGS, ""), ("budgets: [1]", "design: {kind: isoflop, flops: [2e13, 1e13]}")))


def test_sizes_are_priced_with_the_baselines_tokens(climb) -> None:
    """Whether its tokenizer is that of `data:` or of its corpus."""
    bpe = "{kind: bpe, vocab_size: 16384}"
    corpora = f"corpora: {{bytes: {{}}, bpe: {{tokenizer: {bpe}}}}}\n"
    one = climb(("tokenizer: {kind: byte}", f"tokenizer: {bpe}"))
    other = climb(
        ("recipes:", f"{corpora}recipes:"),
        ("baseline: dense-baseline", "metric: bits_per_byte\n  baseline: dense-baseline-bpe"),
    )
    for budget in ("1e13flops", "1e14flops"):
        rungs = [{run.rung for run in c.runs.values() if run.budget == budget} for c in (one, other)]
        assert rungs[0] == rungs[1]
