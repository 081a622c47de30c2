"""Every number of a ladder has a range: checked, stated and documented, also once rules are applied."""

import math
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from stepladder.ladder import resolved
from stepladder.ladder.climb import Climb
from stepladder.ladder.read import LadderError
from stepladder.record.kinds import available, load
from stepladder.record.spec import ModelSpec, OptimizerSpec, PhaseSpec, RunSpec, ScheduleSpec
from stepladder.schema import ranges
from stepladder.schema.ladder import Ladder
from stepladder.schema.ranges import Range

DOCS = Path(__file__).parents[2] / "docs" / "ladders.md"

SETTINGS = {
    "seed": ("seeds: [0, 1]", "seeds: [{}]", "seeds[0]"),
    "budget": ("budgets: [1]", "budgets: [{}]", "budgets[0]"),
    "rate": ("value: 1e-2", "value: {}", "value"),
    "exponent": ("exponent: -1", "exponent: {}", "exponent"),
    "epsilon": ("  batch:", "  epsilon: {}\n  batch:", "optimizer.epsilon"),
    "clip": ("  batch:", "  clip_norm: {}\n  batch:", "optimizer.clip_norm"),
    "weight decay": ("  batch:", "  weight_decay: {}\n  batch:", "optimizer.weight_decay"),
    "beta": ("  batch:", "  beta2: {}\n  batch:", "optimizer.beta2"),
    "domain weight": ("{code: 0.5, prose: 0.5}", "{{code: {}, prose: 0.5}}", "domain_weights.code"),
    "loss weight": ("top_k: 2", "top_k: 2, balance_loss_weight: {}", "moe.balance_loss_weight"),
    "factor": (
        "shape:",
        "sweep: {{rungs: [d2], learning_rate_factors: [{}, 1, 2]}}\nshape:",
        "learning_rate_factors[0]",
    ),
    "speed": ("flops_per_second: 1e10", "flops_per_second: {}", "plan.flops_per_second"),
    "price": ("max_acc", "price_per_accelerator_hour: {}\n  max_acc", "plan.price_per_accelerator_hour"),
    "hours": ("hours: 1", "hours: {}", "plan.max_accelerator_hours"),
    "mfu": ("max_acc", "mfu: {}\n  max_acc", "plan.mfu"),
    "rope": ("d_head: 16", "d_head: 16\n  rope_theta: {}", "shape.rope_theta"),
}
ZERO_IS_FINE = {"seed", "exponent", "weight decay", "beta", "loss weight", "price"}

# A setting in its range, and what the rules make of it: change -> texts of the error
RESOLVED = {
    "rate too small": (
        ("value: 1e-2, exponent: -1", "value: 1e-9, exponent: -9"),
        ["rungs[1]", "rung d3, variant dense-baseline", "learning rate comes to", "from 1e-09 to 10"],
    ),
    "rate too large": (
        ("value: 1e-2, exponent: -1", "value: 1e3, exponent: 1"),
        ["learning rate comes to 1000"],
    ),
    "rate overflows": (
        ("at: 32, value: 1e-2, exponent: -1", "at: 1e40, value: 1, exponent: -10"),
        ["learning rate"],
    ),
    "decay above the weights": (
        ("value: 1e-2, exponent: -1}", "value: 9, exponent: -1}\n  weight_decay: 1"),
        ["learning rate times weight decay", "comes to 9", "from 0 to 0.5"],
    ),
    "one step at no rate": (
        ("budgets: [1]\nseeds: [0, 1]", "budgets: [{steps: 1}]\nseeds: [0, 1]"),
        ["raise `budgets`"],
    ),
}


@pytest.mark.parametrize("value", ["0", ".inf", "-.inf", ".nan", "-1e-3", "1e300", "1e999"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_out_of_range_is_told_its_range(edit, name, value):
    old, new, key = SETTINGS[name]
    if (value == "0" and name in ZERO_IS_FINE) or (name, value) == ("exponent", "-1e-3"):
        return
    with pytest.raises(LadderError) as error:
        Climb.open(str(edit((old, new.format(value)))))
    assert key in str(error.value)
    said = ("must be from", "valid integer", "greater than or equal to 0")
    assert any(text in str(error.value) for text in said), error.value


@pytest.mark.parametrize("name", RESOLVED)
def test_what_the_rules_make_is_checked(edit, name):
    change, expected = RESOLVED[name]
    with pytest.raises(LadderError) as error:
        Climb.open(str(edit(change)))
    for text in expected:
        assert text in str(error.value), f"{text!r} not in: {error.value}"


def test_a_width_beyond_any_machine_is_refused_at_once(edit):
    with pytest.raises(LadderError, match="d_model comes to 6e\\+06, and must be from 1 to 1048576"):
        Climb.open(str(edit(("{depth: 2}", "{depth: 100}"), ("per_layer: 16", "per_layer: 60000, base: 0"))))


def models() -> list[type[BaseModel]]:
    """Every section of a ladder file, and the settings of all kinds."""
    found: list[type[BaseModel]] = []
    todo: list[object] = [Ladder]
    todo += [load(kind, name).Config for kind in ("architectures", "recipes") for name in available(kind)]
    while todo:
        kind = todo.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind not in found:
                found.append(kind)
                todo += [field.annotation for field in kind.model_fields.values()]
        else:
            todo += typing.get_args(kind)
    return found


def unbounded(annotation: object, metadata: list[object]) -> bool:
    """Whether some number of an annotation has neither a range nor two bounds."""
    if annotation in (int, float):
        bounds = {name for item in metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)}
        both = bounds & {"ge", "gt"} and bounds & {"le", "lt"}
        return not both and not any(isinstance(item, Range) for item in metadata)
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Annotated:
        return unbounded(parts[0], [*metadata, *parts[1:]])
    inner = metadata if type(None) in parts else []
    return any(unbounded(part, inner) for part in parts)


def test_every_number_of_a_ladder_file_has_a_range():
    missing = [
        f"{model.__name__}.{name}"
        for model in models()
        for name, field in model.model_fields.items()
        if unbounded(field.annotation, list(field.metadata))
    ]
    assert len(models()) > 30 and not missing


def test_every_number_of_a_spec_has_a_range():
    tables = {
        ModelSpec: resolved.MODEL,
        OptimizerSpec: resolved.OPTIMIZER,
        ScheduleSpec: resolved.SCHEDULE,
        PhaseSpec: resolved.PHASE,
        RunSpec: resolved.RUN,
    }
    for spec, table in tables.items():
        numbers = {name for name, field in spec.model_fields.items() if field.annotation in (int, float)}
        assert numbers == set(table), spec.__name__


def test_ranges_are_finite():
    found = [value for value in vars(ranges).values() if isinstance(value, Range)]
    assert len(found) > 50
    assert all(-math.inf < item.least < item.most < math.inf for item in found)


def test_every_range_is_documented():
    text = DOCS.read_text()
    for name, item in vars(ranges).items():
        if isinstance(item, Range):
            assert str(item).removeprefix("from ") in text, f"{name}: {item}"
