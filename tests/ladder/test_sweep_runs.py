"""A sweep within a ladder: which runs it takes, which wait for it, and what their specs become."""

from pathlib import Path

import pytest

from stepladder.ladder.climb import Climb, LadderError
from stepladder.ladder.sweep import quantity, quantity_name, read_rates
from stepladder.ladder.trunk import prefix
from stepladder.record.cost import training_flops
from stepladder.record.learning_rates import BatchChoice, RungRate, Tuning
from stepladder.schema.accelerators import accelerators

HARDWARE = Path(__file__).parents[2] / "configs" / "hardware.yaml"
SWEEP = "sweep:\n  rungs: [d2]\n  learning_rate_factors: [0.5, 1, 2]\nshape:"


@pytest.fixture
def climb(edit):
    """Open the ladder with a sweep of rung d2, further edited."""

    def open_(*changes: tuple[str, str]) -> Climb:
        return Climb.open(str(edit(("shape:", SWEEP), *changes)))

    return open_


@pytest.fixture
def tuned(climb, tmp_path, monkeypatch):
    """A climb whose sweep said: three halves of the rule at d3."""
    monkeypatch.chdir(tmp_path)
    found = climb()
    write_rates(found)
    return found


def write_rates(climb, factor=1.5, made_from=None, budgets=("1x",), batch=None):
    rows = [
        RungRate(
            variant=variant,
            rung=rung,
            budget=budget,
            quantity=32.0,
            rule_rate=0.01,
            ruled_rate=0.01,
            applied=rung == "d3" or batch is not None,
            factor=factor,
            learning_rate=0.01 * factor,
            interval=None,
            beyond=1.0,
            used=0.01,
            off=None,
        )
        for variant in climb.ladder.variants
        for rung in ("d2", "d3")
        for budget in budgets
    ]
    tuning = Tuning(
        made_from=made_from or climb.sweep_digest,
        quantity="d_model",
        budget="1x",
        confidence=0.95,
        noise={},
        bowls=(),
        law=None,
        rates=tuple(rows),
        batch=batch and BatchChoice(each=(), fitted=batch, spread=None, applied=batch),
        warnings=(),
        problems=(),
    )
    tuning.write(climb.learning_rates)


def test_every_combination_of_the_swept_rung(climb):
    found = climb()
    assert len(found.sweep) == 4 * 3 * 2 and {run.spec.rung for run in found.sweep.values()} == {"d2"}
    base = found.runs["moe-tst/d2/1x/seed1"].optimizer.learning_rate
    twice = found.sweep["moe-tst/d2/1x/lr2/seed1"]
    assert twice.factor == 2 and twice.spec.optimizer.learning_rate == 2 * base


def test_the_ruled_runs_are_the_ladders_own(climb):
    found = climb()
    shared = set(found.sweep) & set(found.runs)
    assert shared == {name for name in found.runs if "/d2/" in name}
    assert all(found.sweep[name].spec == found.runs[name] for name in shared)
    assert len(found.every_run) == len(found.runs) + len(found.sweep) - len(shared)


def test_a_sweep_changes_nothing_of_the_ladders_runs(climb, edit):
    with_sweep = climb().runs
    assert with_sweep == Climb.open(str(edit())).runs


@pytest.mark.parametrize(("choice", "rungs"), [("unswept", {"d3"}), ("all", {"d2", "d3"}), ("none", set())])
def test_which_rungs_train_at_the_prediction(climb, choice, rungs):
    found = climb(("2]\nshape", f"2]\n  apply: {choice}\nshape"))
    assert {found.runs[name].rung for name in found.tuned} == rungs
    ruled = "dense-tst/d2/1x/lr1/seed0" if "d2" in rungs else "dense-tst/d2/1x/seed0"
    assert ruled in found.sweep, "a run at the prediction is another one than that at the ruled rate"


def test_a_rate_of_its_own_is_kept(climb):
    found = climb(("{depth: 3}", "{depth: 3, set: {learning_rate: 0.5}}"))
    assert not found.tuned


def test_seeds_and_budget_of_the_sweep(climb):
    found = climb(("2]\nshape", "2]\n  seeds: [7]\n  budget: 0.5\nshape"))
    assert len(found.sweep) == 4 * 3 and not set(found.sweep) & set(found.runs)
    assert {(run.spec.seed, run.spec.budget) for run in found.sweep.values()} == {(7, "0.5x")}


def test_batches_keep_the_compute(climb):
    found = climb(("2]\nshape", "2]\n  batch_factors: [0.5, 1, 2]\nshape"))
    assert len(found.sweep) == 4 * 3 * 3 * 2
    half, one = (found.sweep[f"dense-baseline/d2/1x/{lr}seed0"].spec for lr in ("lr1-batch0.5/", ""))
    assert (half.recipe.phases[0].sequences, one.recipe.phases[0].sequences) == (4, 8)
    assert half.recipe.positions == pytest.approx(one.recipe.positions, rel=0.01)
    assert half.optimizer == one.optimizer


def test_a_batch_below_one_sequence_is_not_taken_for_one(climb):
    with pytest.raises(LadderError, match=r"0.01 of the 8 sequences that rung d2 has is less than one"):
        climb(("2]\nshape", "2]\n  batch_factors: [0.01, 1, 2]\nshape"))


def test_batches_that_are_one_are_explained(climb):
    with pytest.raises(LadderError, match=r"sweep.batch_factors.*0.96 and 1 are the same batch of 8.*d2"):
        climb(("2]\nshape", "2]\n  batch_factors: [0.96, 1]\nshape"))


def test_an_impossible_sweep_points_at_the_sweep(climb):
    with pytest.raises(LadderError, match=r"line 14: sweep: rung d2, variant dense-.*raise `budgets`"):
        climb(("2]\nshape", "2]\n  budget: 0.0001\nshape"))


def test_a_tuned_spec_has_the_rate(tuned):
    ruled, spec = tuned.runs["dense-tst/d3/1x/seed0"], tuned.spec("dense-tst/d3/1x/seed0")
    assert spec.optimizer.learning_rate == 1.5 * ruled.optimizer.learning_rate
    assert spec.learning_rate_factor == 1.5 and spec.sha256 != ruled.sha256
    assert tuned.spec("dense-tst/d2/1x/seed0") == tuned.runs["dense-tst/d2/1x/seed0"]


def test_a_rate_is_not_known_before_the_sweep(climb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = climb()
    with pytest.raises(FileNotFoundError) as error:
        found.spec("dense-tst/d3/1x/seed0")
    assert error.value.filename == str(found.learning_rates), "Snakemake looks for its input's path"


def test_rates_of_another_sweep_are_not_taken(tuned):
    write_rates(tuned, made_from="0" * 16)
    with pytest.raises(FileNotFoundError, match="not analysed"):
        tuned.spec("dense-tst/d3/1x/seed0")
    write_rates(tuned, factor=1.75)
    assert tuned.spec("dense-tst/d3/1x/seed0").learning_rate_factor == 1.75, "the file is read anew"


def test_a_file_of_another_version_is_as_good_as_none(tuned):
    text = tuned.learning_rates.read_text()
    tuned.learning_rates.write_text(text.replace('"schema_version": 1', '"schema_version": 12'))
    with pytest.raises(FileNotFoundError, match="not analysed"):
        tuned.spec("dense-tst/d3/1x/seed0")


def test_rates_are_read_for_what_they_are_applied_to(tuned):
    rates = read_rates(tuned.learning_rates, tuned.sweep_digest).factors
    assert set(rates) == {(variant, "d3", "1x") for variant in tuned.ladder.variants}


@pytest.mark.parametrize(
    "change",
    [
        ("[0.5, 1, 2]", "[0.5, 1, 4]"),
        ("value: 1e-2", "value: 2e-2"),
        ("{depth: 3}", "{depth: 4}"),
        ("2]\nshape", "2]\n  max_uncertainty: 2\nshape"),
    ],
)
def test_what_the_rates_depend_on_changes_the_digest(climb, change):
    assert climb().sweep_digest != climb(change).sweep_digest


def test_what_they_do_not_depend_on_does_not(climb):
    assert (
        climb().sweep_digest == climb(("max_accelerator_hours: 1", "max_accelerator_hours: 2")).sweep_digest
    )


def test_the_plan_prices_the_sweep_and_knows_no_tuned_rate(climb):
    plan = climb().price(accelerators("configs/hardware.yaml"))
    rows = {run.id: run for run in plan.runs}
    assert sum(run.sweep for run in rows.values()) == 4 * 2 * 2
    assert rows["dense-tst/d2/1x/lr2/seed0"].sweep and not rows["dense-tst/d2/1x/seed0"].sweep
    assert rows["dense-tst/d3/1x/seed0"].learning_rate is None
    assert rows["dense-tst/d2/1x/seed0"].learning_rate == 0.01
    assert plan.totals.runs == len(rows)


def test_the_sweep_runs_first(climb):
    found = climb()
    swept = min(found.priority(name) for name in found.sweep)
    assert swept > max(found.priority(name) for name in found.tuned)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("{rule: power, of: d_model, at: 32, value: 1e-2, exponent: -1}", "d_model"),
        ("{rule: constant, value: 1e-2}", "n"),
        ("{rule: deepseek}", "c"),
    ],
)
def test_the_law_is_over_what_the_rule_is_over(climb, rule, name):
    found = climb(("{rule: power, of: d_model, at: 32, value: 1e-2, exponent: -1}", rule))
    assert quantity_name(found.ladder) == name
    small, large = (quantity(found.runs[f"dense-tst/{rung}/1x/seed0"], name) for rung in ("d2", "d3"))
    assert small < large
    if name == "d_model":
        assert (small, large) == (32, 48)


def test_a_predicted_rate_out_of_range_is_not_trained(tuned):
    write_rates(tuned, factor=1e-9)
    with pytest.raises(
        LadderError, match=r"learning_rates.json predicts: factor on the ruled rate comes to 1e-09"
    ):
        tuned.spec("dense-tst/d3/1x/seed0")


TRUNK = ("optimizer:", "optimizer:\n  trunk: true")
BUDGETS = ("budgets: [1]", "budgets: [1, 2]")


def test_a_trunk_trains_at_the_predicted_rate(climb, tmp_path, monkeypatch):
    """Segments wait as their branches do, and are the beginning of each of them."""
    monkeypatch.chdir(tmp_path)
    found = climb(TRUNK, BUDGETS)
    waiting = [name for name in found.trunks.segments if name in found.tuned]
    assert {found.trunks.segments[name].spec.rung for name in waiting} == {"d3"}
    with pytest.raises(FileNotFoundError):
        found.spec(waiting[0])
    write_rates(found, budgets=("1x", "2x"))
    for name in waiting:
        segment = found.spec(name)
        ruled = found.trunks.segments[name].spec
        assert segment.optimizer.learning_rate == pytest.approx(1.5 * ruled.optimizer.learning_rate)
        assert segment.id == ruled.id and segment.schedule == ruled.schedule
        for run in found.trunks.branches(name):
            assert prefix(found.spec(run), segment.recipe.steps) == segment
    swept = [run.spec for run in found.sweep.values()]
    assert all("/lr" in spec.id for spec in swept), "no run of the sweep is a branch"
    assert not {spec.id for spec in swept} & set(found.runs)
    plan = found.price(accelerators(HARDWARE))
    assert all(run.spec_sha256 is None for run in plan.runs if run.trunk and run.rung == "d3")


def test_rates_that_go_with_the_budget_do_not_go_with_a_trunk(climb):
    rule = "{rule: power, of: d_model, at: 32, value: 1e-2, exponent: -1}"
    by_tokens = (rule, "{rule: power, of: d, at: 1e6, value: 1e-2, exponent: -0.1}")
    with pytest.raises(LadderError, match="go with d, which is another at each budget"):
        climb(TRUNK, BUDGETS, by_tokens)


BATCHES = (
    "learning_rate_factors: [0.5, 1, 2]",
    "learning_rate_factors: [0.5, 1, 2]\n  batch_factors: [0.5, 1, 2]\n  apply: all\n  apply_batch: true",
)


def test_every_rung_trains_with_the_batch_that_is_applied(climb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = climb(BATCHES)
    assert set(found.tuned) == set(found.runs)
    write_rates(found, batch=2.0)
    for name, ruled in found.runs.items():
        final = found.spec(name)
        assert final.id == name and final.overrides == ruled.overrides
        assert final.recipe.phases[-1].sequences == 2 * ruled.recipe.phases[-1].sequences
        assert final.optimizer.learning_rate == pytest.approx(1.5 * ruled.optimizer.learning_rate)
        step = training_flops(final.model, final.recipe) / final.recipe.steps
        gap = training_flops(final.model, final.recipe) - training_flops(ruled.model, ruled.recipe)
        assert abs(gap) <= step


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([TRUNK], "a trunk is laid out with the ruled batch"),
        ([("{depth: 3}", "{depth: 3, set: {batch_sequences: 4}}")], "a rung has a batch of its own"),
        ([("apply: all", "apply: unswept")], "apply_batch needs apply: all"),
        ([("batch_factors: [0.5, 1, 2]", "batch_factors: [1, 2]")], "three batch_factors or more"),
        (
            [
                (
                    "{rule: power, of: d_model, at: 32, value: 1e-2, exponent: -1}",
                    "{rule: powers, value: 1e-2, of: {batch: {at: 1024, exponent: 0.5}}}",
                )
            ],
            "the rate's rule goes with the batch",
        ),
    ],
)
def test_what_does_not_go_with_an_applied_batch_is_refused(climb, changes, said):
    with pytest.raises(LadderError, match=said):
        climb(BATCHES, *changes)
