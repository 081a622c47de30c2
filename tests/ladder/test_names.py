"""No two runs share a name: whatever would make them is refused, and both origins are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.ladder.climb import Climb
from stepladder.ladder.names import check_ids
from stepladder.ladder.read import LadderError
from stepladder.schema.budget import budget_label

RECIPES = "  baseline: {}\n  tst: {bag_size: 4, superposed_fraction: 0.25}"
TST = "{kind: tst, bag_size: 4, superposed_fraction: 0.25}"
SWEEP = "sweep: {rungs: [d2], learning_rate_factors: [0.5, 1, 2]}\nshape:"

# changes to the valid ladder -> texts that the error must hold
COLLISIONS = {
    "budgets alike in six digits": (
        [("budgets: [1]", "budgets: [1.0, 1.0000001]")],
        ["line 12", "budgets[1] = 1.0000001", "budgets[0] (line 12) = 1.0", "both budget '1x'"],
    ),
    "budgets of a rung": (
        [("{depth: 3}", "{depth: 3, budgets: [2, 2.0000001]}")],
        ["line 5", "rungs[1].budgets[1]", "rungs[1].budgets[0]", "'2x'"],
    ),
    "steps twice": (
        [("budgets: [1]", "budgets: [{steps: 9}, {steps: 9}]")],
        ["budgets[1]", "twice", "9steps"],
    ),
    "keys 7 and '7'": (
        [(RECIPES, f"{RECIPES}\n  7: {TST}\n  '7': {TST}")],
        ["line 13", "the key recipes.7 is a duplicate", "line 12"],
    ),
    "variants of other parts": (
        [
            ("  dense: {}", "  dense: {}\n  dense-tst: {kind: dense}"),
            (RECIPES, f"{RECIPES}\n  tst-tst: {TST}"),
        ],
        ["recipes.", "architecture 'dense-tst' with recipe 'tst'", "'dense-tst-tst'", "(line 13)"],
    ),
    "variants in another case": (
        [(RECIPES, f"{RECIPES}\n  TST: {TST}")],
        ["recipes.TST", "'dense-TST' differs in case alone from recipes.tst (line 11)"],
    ),
    "rungs of one name": (
        [("{depth: 3}", "{depth: 3, name: d2}")],
        ["line 5", "rungs[1]", "second rung 'd2'", "rungs[0] (line 4)"],
    ),
    "rungs in another case": (
        [("{depth: 3}", "{depth: 3, name: D2}")],
        ["rungs[1]", "case alone", "rungs[0]"],
    ),
    "seeds twice": (
        [("seeds: [0, 1]", "seeds: [1, 0, 1]")],
        ["line 13", "seeds[2] = 1", "seeds[0]", "twice"],
    ),
    "seeds of a rung": ([("{depth: 3}", "{depth: 3, seeds: [4, 4]}")], ["rungs[1].seeds[1]", "twice"]),
    "seeds of the sweep": (
        [("shape:", SWEEP.replace("}\n", ", seeds: [4, 4]}\n"))],
        ["sweep.seeds[1]", "sweep.seeds[0]", "twice"],
    ),
    "factors alike in six digits": (
        [("shape:", SWEEP.replace("[0.5,", "[0.5, 0.50000001,"))],
        ["sweep.learning_rate_factors[1]", "0.50000001", "0.5", "factor '0.5'"],
    ),
    "a sweep's budget like the ladder's": (
        [("shape:", SWEEP.replace("}\n", ", budget: 1.0000001}\n"))],
        ["sweep", "dense-baseline/d2/1x/seed0", "budget_multiple"],
    ),
    "a name that is taken": ([("name: tiny", "name: Machine.json")], ["line 1", "results/ holds a file"]),
    "domains in another case": (
        [
            ("{kind: python_stdlib}", "{kind: text, domains: {code: [a], Code: [b]}}"),
            ("{code: 0.5, prose: 0.5}", "{code: 0.5, Code: 0.5}"),
        ],
        ["data.source.domains.Code", "case alone", "data.source.domains.code"],
    ),
}

UNSAFE = [
    "../up",
    "a/b",
    "a b",
    "",
    ".",
    "..",
    "-x",
    "a--b",
    "$(touch x)",
    "{run}",
    "é",
    "a\\nb",
    "x" * 65,
    "a;b",
]


@pytest.mark.parametrize("name", COLLISIONS)
def test_a_shared_name_is_refused_with_both_origins(edit, name):
    changes, expected = COLLISIONS[name]
    path = edit(*changes)
    with pytest.raises(LadderError) as error:
        Climb.open(str(path))
    for text in [str(path), *expected]:
        assert text in str(error.value), f"{text!r} not in: {error.value}"


@pytest.mark.parametrize("label", UNSAFE)
@pytest.mark.parametrize("old", ["name: tiny", "  - {depth: 3}", "  tst: {bag"])
def test_labels_that_are_no_part_of_a_path_are_refused(edit, old, label):
    new = {
        "name: tiny": f'name: "{label}"',
        "  - {depth: 3}": f'  - {{depth: 3, name: "{label}"}}',
        "  tst: {bag": f'  "{label}": {{kind: tst, bag',
    }[old]
    with pytest.raises(LadderError, match=r"line \d+: (name|rungs|recipes)"):
        Climb.open(str(edit((old, new))))


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6))
def test_budgets_are_accepted_exactly_if_their_labels_differ(tmp_path_factory, budgets):
    from stepladder.ladder.names import same_names
    from stepladder.schema.ladder import Ladder

    ladder = Ladder.model_construct(
        rungs=(), architectures={}, recipes={}, sweep=None, seeds=(0,), budgets=tuple(budgets), data=_Data
    )
    labels = [budget_label(budget) for budget in budgets]
    assert (len(set(labels)) == len(labels)) == (not list(same_names(ladder)))


class _Data:
    class source:
        domain_names = ()


def test_ids_are_compared_whatever_made_them(runs):
    one, other = list(runs().values())[:2]
    check_ids([one, other], [one])  # the sweep may take runs of the ladder
    with pytest.raises(ValueError, match=r"would share a folder, and differ in seed \(0 and 1\)"):
        check_ids([one, other.model_copy(update={"id": one.id.upper()})], [])
