"""Complete recipes of hyperparameters: what they set, and what a file sets in their place."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stepladder.schema.complete import COMPLETE, EITHER
from stepladder.schema.optimizer import OptimizerSettings
from stepladder.schema.rules import NANOCHAT_D12
from stepladder.schema.scale import Scale


def settings(**given):
    return OptimizerSettings.model_validate_json(json.dumps(given))


def test_the_schema_knows_every_recipe():
    assert [name for name in COMPLETE if settings(hyperparameters=name).replaced] == []
    with pytest.raises(ValidationError) as error:
        settings(hyperparameters="olm")
    (problem,) = error.value.errors()
    assert problem["loc"] == ("hyperparameters",) and all(name in problem["msg"] for name in COMPLETE)


@pytest.mark.parametrize("name", COMPLETE)
def test_a_recipe_is_its_fields_written_out(name):
    whole, written = settings(hyperparameters=name), settings(**COMPLETE[name].settings)
    assert whole.model_copy(update={"hyperparameters": None}) == written
    assert not list(written.halves), "nothing of it is missing"


@pytest.mark.parametrize("name", COMPLETE)
def test_an_explicit_field_replaces_that_part_alone(name):
    whole, other = settings(hyperparameters=name), settings(hyperparameters=name, clip_norm=7)
    assert other == whole.model_copy(update={"clip_norm": 7.0})
    assert other.replaced == (("clip_norm",) if "clip_norm" in COMPLETE[name].settings else ())
    batch = settings(hyperparameters=name, batch={"rule": "constant", "sequences": 3})
    assert batch.replaced == ("batch",) and batch.learning_rate == whole.learning_rate


def test_what_is_as_the_recipe_has_it_replaces_nothing():
    assert settings(hyperparameters="olmo", weight_decay=0.1, warmup={"rule": "parameters"}).replaced == ()
    assert settings(hyperparameters="olmo", warmup_steps=None).warmup is not None


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("olmo", {"warmup_steps": 10}, {"warmup": None, "warmup_steps": 10}),
        ("olmo", {"warmup_fraction": 0.1}, {"warmup": None, "warmup_steps": None, "warmup_fraction": 0.1}),
        ("nanochat", {"warmup": {"rule": "parameters"}}, {"warmup_steps": None}),
        ("delphi", {"warmup_steps": 10}, {"warmup_steps": 10}),
        ("step_law", {"final": 0.1}, {"final": 0.1, "final_rate": None}),
        ("olmo", {"final_rate": 1e-5}, {"final": 0.0, "final_rate": 1e-5}),
    ],
)
def test_one_way_to_say_it_takes_the_place_of_the_others(name, given, expected):
    found = settings(hyperparameters=name, **given)
    assert {field: getattr(found, field) for field in expected} == expected
    (part,) = found.replaced
    assert part in {names[0] for names in EITHER}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"warmup": {"rule": "parameters"}, "warmup_steps": 3}, "warmup and warmup_steps both.*remove one"),
        ({"final": 0.1, "final_rate": 1e-5}, "final and final_rate both.*remove one"),
    ],
)
def test_two_ways_to_say_it_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        settings(hyperparameters="olmo", **given)


def test_half_of_a_recipe_is_named():
    """What ladders with `rule: olmo` alone have: the rate without the beta2 and warmup of its tuning."""
    rate = {"default": {"rule": "olmo"}}
    given = settings(learning_rate=rate, batch={"rule": "constant", "sequences": 8})
    ((name, taken, rest),) = given.halves
    assert (name, taken) == ("olmo", ("learning_rate",)) and {"batch", "beta2", "warmup"} <= set(rest)
    power = {"default": {"rule": "constant", "value": 0.01}}
    assert not list(settings(learning_rate=power, batch={"rule": "constant", "sequences": 8}).halves)


@given(
    st.floats(1e6, 1e13),
    st.floats(2**14, 2**24),
    st.sampled_from([256, 768, 2048]),
)
def test_nanochats_decay_per_step_is_its_own(tokens, batch, d_model):
    """nanochat: rate 0.02 (B / B0)^(1/2) times decay 0.28 (B / B0)^(1/2) D12 / D."""
    o = settings(hyperparameters="nanochat")
    scale = Scale(n=1e8, d=tokens, c=1.0, d_model=d_model, batch=batch)
    rate = o.learning_rate.default.learning_rate(scale)
    ours = rate * o.weight_decay.weight_decay(scale, rate)
    assert ours == pytest.approx(0.02 * 0.28 * batch / 2**19 * NANOCHAT_D12 / tokens, rel=1e-3)


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (160, 64), (24, 64)])
def test_nanochats_rate_takes_steps_of_the_same_size(rows, columns):
    """Its Muon scales by max(1, rows / columns)^(1/2), torch's `original`; the engine's to AdamW's size."""
    rate = settings(hyperparameters="nanochat").learning_rate.default.learning_rate(
        Scale(n=1e8, d=1e9, c=1.0, d_model=columns, batch=2.0**19)
    )
    steps = []
    for learning_rate, adjusted in ((0.02, "original"), (rate, "match_rms_adamw")):
        weight = torch.nn.Parameter(torch.zeros(rows, columns))
        weight.grad = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
        torch.optim.Muon([weight], lr=learning_rate, weight_decay=0.0, adjust_lr_fn=adjusted).step()
        steps.append(weight.detach())
    torch.testing.assert_close(*steps)
