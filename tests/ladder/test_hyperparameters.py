"""Rules of hyperparameters on a ladder: what its runs get, what follows from what, what is said of mixing."""

import re
from pathlib import Path

import pytest

from stepladder.ladder.climb import Climb
from stepladder.ladder.expand import expand
from stepladder.ladder.hyperparameters import mixed
from stepladder.ladder.load import load_ladder
from stepladder.ladder.read import LadderError
from stepladder.ladder.sweep import quantity_name, size_of, with_rate
from stepladder.record.cost import parameters
from stepladder.schema.accelerators import accelerators

RATE = "  learning_rate:\n    default: {rule: power, of: d_model, at: 32, value: 1e-2, exponent: -1}\n"
BATCH = "  batch: {rule: constant, sequences: 8}\n"
DOCS = Path(__file__).parents[2] / "docs" / "ladders.md"


def recipe(name, *beside):
    """The edit that gives the ladder a complete recipe."""
    return (RATE + BATCH, "\n".join([f"  hyperparameters: {name}", *(f"  {line}" for line in beside), ""]))


def rule(line):
    """The edit that adds a line to the optimizer's section."""
    return (BATCH, f"{BATCH}  {line}\n")


def test_olmo_sets_all_of_it(runs):
    run = runs(recipe("olmo"))["dense-baseline/d3/1x/seed0"]
    n = parameters(run.model).active_non_embedding
    batch = round(2048 * 160 * (n / 108e6) ** (2 / 3) / 128)
    assert run.recipe.phases[0].sequences == batch
    o, s = run.optimizer, run.schedule
    assert o.learning_rate == pytest.approx(0.0047 * (n / 108e6) ** (-1 / 3) / 2)
    assert (o.beta1, o.beta2, o.epsilon, o.weight_decay, o.clip_norm) == (0.9, 0.99, 1e-8, 0.1, 1)
    assert s.warmup_steps == round(n / (128 * batch)), "a token per parameter"
    assert s.decay_steps == round(run.recipe.steps / 10) and (s.decay_shape, s.final) == ("linear", 0)


def test_step_law_keeps_the_last_rate(runs):
    found = runs(recipe("step_law"))
    rates = {run.optimizer.learning_rate for run in found.values()}
    assert len(rates) > 1
    for run in found.values():
        assert run.optimizer.learning_rate * run.schedule.final == pytest.approx(1e-5)


def at_scale(edit, depth, d_model, *changes):
    """The one run of the ladder with a single rung of this size, baseline alone."""
    path = edit(
        *changes,
        ("{depth: 2}", f"{{depth: {depth}, set: {{d_model: {d_model}}}}}"),
        ("  - {depth: 3}\n", ""),
        ("  moe: {n_experts: 8, top_k: 2}\n", ""),
        ("  tst: {bag_size: 4, superposed_fraction: 0.25}\n", ""),
        ("seeds: [0, 1]", "seeds: [0]"),
    )
    (run,) = Climb.open(str(path)).runs.values()
    return run


def test_nanochat_at_its_own_width(edit):
    """1.6e9 tokens are 1.3 times those of its reference: 2^19 per step, the rate as it is at 768."""
    run = at_scale(edit, 12, 768, recipe("nanochat"))
    scale, o, s = size_of(run), run.optimizer, run.schedule
    assert 1.2e9 < scale.d < 2.1e9 and scale.batch == 2**19
    assert (o.name, o.beta1, o.beta2, o.epsilon) == ("muon", 0.8, 0.96, 1e-10)
    assert o.learning_rate == pytest.approx(0.00361, rel=1e-3)
    assert scale.batch / (o.learning_rate * o.weight_decay * scale.d) == pytest.approx(0.0709)
    assert (s.warmup_steps, s.decay_steps, s.final) == (40, round(0.65 * run.recipe.steps), 0.05)


def test_delphi_on_a_ladder_that_it_is_for(edit):
    """1.9e9 tokens: 8 sequences of 4096 are 256 of 128."""
    run = at_scale(edit, 20, 640, recipe("delphi"))
    d, o, s = size_of(run).d, run.optimizer, run.schedule
    assert 1.6e9 < d < 2.15e9 and run.recipe.phases[0].sequences == 256
    assert o.learning_rate == pytest.approx(0.0063 * (8 / 64) ** 0.5 * (2.5e9 / d) ** 0.3)
    assert o.epsilon == pytest.approx(1.85e-8 * (64 / 8 * d / 2.5e9) ** 0.5)
    assert (o.beta2, o.weight_decay, o.clip_norm) == (0.9999, 0, 0.1)
    assert s.warmup_steps == round(run.recipe.steps / 10) and s.decay_steps == round(run.recipe.steps / 5)


def test_delphi_says_where_its_batch_ends(edit):
    with pytest.raises(LadderError, match=r"rung d2.*Delphi's batch rule is for .*optimizer.batch"):
        Climb.open(str(edit(recipe("delphi"))))
    assert Climb.open(str(edit(recipe("delphi", "batch: {rule: constant, sequences: 8}")))).runs


def test_a_decay_of_constant_timescale_follows_every_rate(edit, runs):
    """Rule, override and sweep alike: 8 sequences of 128 over tau 0.1 of the run's tokens."""
    changes = [rule("weight_decay: {rule: timescale, value: 0.1}")]
    sweep = ("shape:", "sweep:\n  rungs: [d2]\n  learning_rate_factors: [0.5, 1, 2]\nshape:")
    own = ("{depth: 3}", "{depth: 3, set: {learning_rate: 0.005}}")
    ladder = load_ladder(edit(*changes, sweep, own))
    climb = Climb.open(str(edit(*changes, sweep, own)))
    tuned = with_rate(ladder, climb.runs["moe-tst/d3/1x/seed1"], 3.0)
    assert tuned.optimizer.learning_rate == 0.015 and tuned.learning_rate_factor == 3
    for run in (*climb.every_run.values(), tuned):
        o, scale = run.optimizer, size_of(run)
        assert scale.batch == 8 * 128
        assert o.learning_rate * o.weight_decay * scale.d / scale.batch == pytest.approx(10)


def test_the_last_rate_follows_a_predicted_peak(edit):
    path = edit(rule("final_rate: 1e-4"))
    ladder, run = load_ladder(path), Climb.open(str(path)).runs["dense-tst/d3/1x/seed0"]
    for factor in (0.5, 2.0):
        found = with_rate(ladder, run, factor)
        assert found.optimizer.learning_rate * found.schedule.final == pytest.approx(1e-4)
        assert found.recipe == run.recipe and found.schedule.warmup_steps == run.schedule.warmup_steps


def test_a_rule_written_as_a_number_is_the_same_run(runs):
    """A law in one variable, `power` or `powers`; a warmup in tokens or in steps."""
    powers = "default: {rule: powers, value: 1e-2, of: {d_model: {at: 32, exponent: -1}}}"
    one = ("default: {rule: power, of: d_model, at: 32, value: 1e-2, exponent: -1}", powers)
    assert runs(one) == runs()
    assert runs(rule("warmup: {rule: tokens, tokens: 10240}")) == runs(rule("warmup_steps: 10"))


def test_a_rungs_own_batch_moves_what_goes_with_the_batch(runs):
    half_life = rule("beta2: {rule: half_life, value: 0.999, at: 1024}")
    own = ("{depth: 3}", "{depth: 3, set: {batch_sequences: 16}}")
    found = runs(half_life, own)
    d2, d3 = (found[f"dense-baseline/{rung}/1x/seed0"].optimizer.beta2 for rung in ("d2", "d3"))
    assert (d2, d3) == pytest.approx((0.999, 0.999**2))


ERRORS = {
    "no such recipe": (recipe("olm"), ["optimizer.hyperparameters", "'olmo'", "'step_law'"]),
    "no such rule": (rule("beta2: {rule: half}"), ["optimizer.beta2", "did you mean 'half_life'?"]),
    "no rule": (rule("epsilon: {value: 1e-8}"), ["optimizer.epsilon", "required key 'rule' is missing"]),
    "no number": (rule("weight_decay: high"), ["optimizer.weight_decay", "valid number"]),
    "no such quantity": (
        rule("epsilon: {rule: powers, value: 1e-8, of: {tokens: {at: 1, exponent: 1}}}"),
        ["epsilon", "'d_model'", "'batch'"],
    ),
    "no quantity": (
        rule("epsilon: {rule: powers, value: 1e-8, of: {}}"),
        ["optimizer.epsilon.of", "at least 1"],
    ),
    "limits the wrong way round": (
        rule("epsilon: {rule: powers, value: 1e-8, of: {d: {at: 1, exponent: 1}}, least: 1, most: 0.1}"),
        ["optimizer.epsilon", "least 1 is above most 0.1: swap them"],
    ),
    "tau of nothing": (
        rule("weight_decay: {rule: timescale, value: 0}"),
        ["weight_decay.value", "0.0001 to 10000"],
    ),
    "decay too strong": (
        rule("weight_decay: {rule: timescale, value: 0.0001}"),
        ["rung d2", "weight decay comes to", "from 0 to 10", "optimizer.weight_decay"],
    ),
    "epsilon beyond all use": (
        rule("epsilon: {rule: powers, value: 1e-8, of: {d: {at: 1, exponent: 9}}}"),
        ["epsilon comes to", "from 1e-30 to 1", "change optimizer.epsilon"],
    ),
    "a batch that no machine holds": (
        ("{rule: constant, sequences: 8}", "{rule: power, at: 1, value: 1e12, exponent: 9}"),
        ["sequences per step come to", "from 1 to 16777216", "optimizer.batch or set.batch_sequences"],
    ),
    "a warmup longer than the run": (
        rule("warmup: {rule: parameters, tokens_per_parameter: 25}"),
        ["do not fit into", "shorten warmup or decay_fraction"],
    ),
    "warmup twice": (
        rule("warmup_steps: 3\n  warmup: {rule: parameters}"),
        ["warmup and warmup_steps both", "remove one"],
    ),
    "a last rate above the first": (
        rule("final_rate: 1"),
        ["last learning rate over the peak comes to", "optimizer.final or final_rate"],
    ),
    "no batch and no recipe": ((BATCH, ""), ["'batch' is missing"]),
    "a trunk of many decays": (
        rule("weight_decay: {rule: timescale, value: 0.5}\n  trunk: true"),
        ["optimizer.trunk needs one weight decay", "0.25x", "set optimizer.trunk to false"],
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_is_wrong_is_said_with_key_and_fix(edit, name):
    change, expected = ERRORS[name]
    with pytest.raises(LadderError) as error:
        Climb.open(str(edit(("budgets: [1]", "budgets: [0.25, 1]"), change)))
    for text in expected:
        assert text in str(error.value), f"{text!r} not in: {error.value}"


def test_a_misspelt_recipe_is_one_problem(edit):
    with pytest.raises(LadderError) as error:
        load_ladder(edit(recipe("olm")))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([recipe("olmo")], r"^Hyperparameters are those of olmo \(OLMo-core.*\)\.$"),
        ([recipe("olmo", "beta2: 0.95")], r"but for optimizer\.beta2, which .* with what it replaces"),
        (
            [recipe("olmo", "beta2: 0.95"), ("{depth: 3}", "{depth: 3, set: {batch_sequences: 4}}")],
            r"but for optimizer\.beta2 and batch_sequences of rung d3, which .* what they replace",
        ),
        (
            [
                recipe("olmo"),
                ("shape:", "sweep:\n  rungs: [d2]\n  learning_rate_factors: [0.5, 1, 2]\nshape:"),
            ],
            r"but for the learning rates that the sweep finds",
        ),
        (
            [(RATE, "  learning_rate:\n    default: {rule: olmo}\n")],
            r"^optimizer\.learning_rate is of olmo, without the batch, beta2, .*warmup.* that olmo has with "
            r"it: `optimizer: \{hyperparameters: olmo\}` takes all of them\.$",
        ),
        (
            [recipe("nanochat", "warmup_steps: 0", "weight_decay: 0")],
            r"but for optimizer\.weight_decay and optimizer\.warmup, which",
        ),
        (
            [recipe("nanochat", "warmup_steps: 0", "weight_decay: 0")],
            r"^Of nanochat: one rate serves all weights",
        ),
    ],
)
def test_what_is_mixed_is_said(edit, changes, said):
    climb = Climb.open(str(edit(*changes)))
    plan = climb.price(accelerators())
    assert plan.notes == mixed(climb.ladder) and any(re.search(said, note) for note in plan.notes), plan.notes


def test_nothing_is_said_of_rules_of_ones_own(edit):
    assert mixed(load_ladder(edit())) == ()


def test_a_plan_is_made_anew_when_what_is_said_of_it_changes(edit):
    """The same specs, by a recipe and written out."""
    whole = "weight_decay: 0.1"
    by_recipe = Climb.open(str(edit(recipe("step_law", whole))))
    rates = "learning_rate: {default: {rule: step_law}}", "batch: {rule: step_law}", "final_rate: 1e-5"
    written = Climb.open(str(edit((RATE + BATCH, "\n".join(f"  {line}" for line in rates) + "\n"))))
    assert by_recipe.runs == written.runs and by_recipe.digest != written.digest


def test_the_plan_has_the_numbers(edit):
    changes = [rule("weight_decay: {rule: timescale, value: 0.5}"), rule("epsilon: 1e-10")]
    sweep = ("shape:", "sweep:\n  rungs: [d2]\n  learning_rate_factors: [0.5, 1, 2]\nshape:")
    climb = Climb.open(str(edit(*changes)))
    for row in climb.price(accelerators()).runs:
        spec = climb.runs[row.id]
        assert (row.beta2, row.epsilon, row.final_share) == (0.95, 1e-10, 0)
        assert row.weight_decay == spec.optimizer.weight_decay
        assert row.warmup_steps == spec.schedule.warmup_steps
    tuned = [
        row for row in Climb.open(str(edit(*changes, sweep))).price(accelerators()).runs if row.rung == "d3"
    ]
    assert {row.weight_decay for row in tuned} == {None}, "it waits for the rate"


def test_the_documented_rules_are_rules(edit):
    """The example of docs/ladders.md that has one of each."""
    blocks = re.findall(r"```yaml\noptimizer:\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        ladder = load_ladder(edit((RATE + BATCH, block)))
        assert not ladder.optimizer.replaced or ladder.optimizer.replaced == ("weight_decay",)


@pytest.mark.parametrize(
    ("default", "quantity"),
    [
        ("{rule: power, of: c, at: 1e12, value: 1e-2, exponent: -0.1}", "c"),
        (
            "{rule: powers, value: 1e-2, of: {d_model: {at: 32, exponent: -1}, batch: {at: 1, exponent: 1}}}",
            "d_model",
        ),
        (
            "{rule: powers, value: 1e-2, of: {d_model: {at: 32, exponent: -1}, d: {at: 1e6, exponent: -1}}}",
            "n",
        ),
        ("{rule: delphi}", "d"),
        ("{rule: deepseek}", "c"),
        ("{rule: olmo}", "n"),
    ],
)
def test_a_sweeps_law_goes_with_what_the_rule_goes_with(edit, default, quantity):
    path = edit((RATE, f"  learning_rate:\n    default: {default}\n"))
    assert quantity_name(load_ladder(path)) == quantity


def test_a_rate_that_goes_with_size_is_told_of_beside_a_parametrization(edit):
    parametrized = ("optimizer:", "optimizer:\n  parametrization: {kind: mup, base_width: 32}")
    assert any("scales rates with size as well" in told for told in mixed(load_ladder(edit(parametrized))))
    constant = (
        "{rule: power, of: d_model, at: 32, value: 1e-2, exponent: -1}",
        "{rule: constant, value: 1e-2}",
    )
    assert not any("parametrization" in told for told in mixed(load_ladder(edit(parametrized, constant))))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            [("optimizer:", "optimizer:\n  name: muon\n  parametrization: {kind: mup, base_width: 32}")],
            "for adamw",
        ),
        (
            [("optimizer:", "optimizer:\n  parametrization: {kind: mup, base_width: 33}")],
            "base_width 33: heads have an even width",
        ),
        (
            [("optimizer:", "optimizer:\n  parametrization: {kind: mup, base_width: 32, base_depth: 2}")],
            "mup leaves depth alone: remove base_depth",
        ),
        (
            [("optimizer:", "optimizer:\n  parametrization: {kind: sp, base_width: 32}")],
            "'mup' or 'completep'",
        ),
    ],
)
def test_what_does_not_go_with_a_parametrization_is_refused(edit, changes, said):
    with pytest.raises(LadderError, match=said):
        load_ladder(edit(*changes))


def test_a_parametrization_is_of_every_run_and_of_none_without(edit):
    line = ("optimizer:", "optimizer:\n  parametrization: {kind: completep, base_width: 16, base_depth: 1}")
    path = edit(line)
    for run in expand(load_ladder(path), path):
        assert run.parametrization.width == run.model.d_model / 16
        assert run.parametrization.depth == run.model.n_layers
    path = edit()
    assert all("parametrization" not in run.to_json() for run in expand(load_ladder(path), path))
    tied = edit(line, ("shape:", "shape:\n  tied_embeddings: true"))
    with pytest.raises(LadderError, match="parametrization needs a head of its own"):
        expand(load_ladder(tied), tied)
