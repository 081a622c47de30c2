"""Checks of resolved specs: what the rules of a ladder have made of its numbers.

A setting may be in its range and what follows from it not: a power law that gives a rate of 1e-30, a shape
rule that gives a width of a billion. Such a run would learn nothing, or no machine could hold it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from stepladder.record.spec import ModelSpec, PhaseSpec, RunSpec
from stepladder.schema import ranges
from stepladder.schema.ranges import Range


class Number(NamedTuple):
    """A number of a spec, and what it must be."""

    what: str
    """The field, as messages name it."""
    range: Range
    remedy: str
    """Key of the ladder file that it follows from."""


MODEL = {
    "n_layers": Number("layers", ranges.DEPTH, "the rung's depth"),
    "d_model": Number("d_model", ranges.WIDTH, "shape.d_model or the rung's set.d_model"),
    "n_heads": Number("heads", ranges.HEADS, "shape.d_head or the rung's set.n_heads"),
    "n_kv_heads": Number(
        "key/value heads", ranges.HEADS, "shape.queries_per_key or the rung's set.n_kv_heads"
    ),
    "d_head": Number("d_head", ranges.WIDTH, "shape.d_head or the rung's set.d_head"),
    "d_ff": Number("d_ff", ranges.WIDTH, "shape.d_ff or the rung's set.d_ff"),
    "vocab_size": Number("vocabulary", ranges.VOCABULARY, "data.tokenizer"),
    "sequence_length": Number("sequence_length", ranges.SEQUENCE_LENGTH, "shape.sequence_length"),
    "rope_theta": Number("rope_theta", ranges.ROPE_THETA, "shape.rope_theta"),
}
OPTIMIZER = {
    "learning_rate": Number(
        "learning rate", ranges.LEARNING_RATE, "optimizer.learning_rate or the rung's set.learning_rate"
    ),
    "beta1": Number("beta1", ranges.BETA, "optimizer.beta1"),
    "beta2": Number("beta2", ranges.BETA, "optimizer.beta2"),
    "epsilon": Number("epsilon", ranges.EPSILON, "optimizer.epsilon"),
    "weight_decay": Number("weight decay", ranges.WEIGHT_DECAY, "optimizer.weight_decay"),
    "clip_norm": Number("clip_norm", ranges.CLIP_NORM, "optimizer.clip_norm"),
}
SCHEDULE = {
    "warmup_steps": Number(
        "warmup", ranges.WARMUP_STEPS, "optimizer.warmup, warmup_steps or warmup_fraction"
    ),
    "decay_steps": Number("decay", ranges.WARMUP_STEPS, "optimizer.decay_fraction"),
    "final": Number("last learning rate over the peak", ranges.SHARE, "optimizer.final or final_rate"),
}
PHASE = {
    "steps": Number("steps", ranges.STEPS, "budgets"),
    "bag_size": Number("bag_size", ranges.BAG_SIZE, "the recipe's bag_size"),
    "sequences": Number("sequences per step", ranges.SEQUENCES, "optimizer.batch or set.batch_sequences"),
    "positions": Number("positions", ranges.SEQUENCE_LENGTH, "shape.sequence_length"),
    "targets": Number("targets per position", ranges.BAG_SIZE, "the recipe"),
}
RUN = {
    "seed": Number("seed", ranges.SEED, "seeds"),
    "learning_rate_factor": Number("factor on the ruled rate", ranges.FACTOR, "sweep.learning_rate_factors"),
    "budget_multiple": Number("budget", ranges.BUDGET, "budgets"),
}
DATA = {
    "validation_fraction": Number("held-out share", ranges.HELD_OUT_SHARE, "data.validation_fraction"),
    "max_validation_tokens": Number("held-out tokens", ranges.HELD_OUT_TOKENS, "data.max_validation_tokens"),
}


def check_model(model: ModelSpec, parameters: int) -> None:
    """Refuse a shape that no machine could hold.

    Args:
        parameters: stored ones.

    Raises:
        ValueError: a number is out of its range; the message says which, the range, and where it comes from.
    """
    _check(model, MODEL)
    _check_value(parameters, Number("parameters", ranges.PARAMETERS, "shape or depth"))
    for name, value in _leaves(model.options):
        _check_value(value, Number(f"option {name}", ranges.OPTION, "architectures"))


def check_run(spec: RunSpec) -> None:
    """Refuse a run that would learn nothing, whatever made its numbers so.

    Raises:
        ValueError: as above.
    """
    _check(spec, RUN)
    _check(spec.optimizer, OPTIMIZER)
    _check(spec.schedule, SCHEDULE)
    _check(spec.data, DATA)
    for phase in spec.recipe.phases:
        _check(phase, PHASE)
    for name, value in _leaves(spec.recipe.options):
        _check_value(value, Number(f"option {name}", ranges.OPTION, "recipes"))
    _check_value(spec.recipe.tokens, Number("tokens read", ranges.TOKENS, "budgets"))
    decay = spec.optimizer.learning_rate * spec.optimizer.weight_decay
    both = Number(
        "learning rate times weight decay, the share of each weight that a step takes away,",
        ranges.DECAY_PER_STEP,
        "optimizer.weight_decay or optimizer.learning_rate",
    )
    _check_value(decay, both)
    if spec.recipe.steps == spec.schedule.decay_steps == 1 and spec.schedule.final == 0:
        raise ValueError("its one step is at a learning rate of 0: raise `budgets` or optimizer.final")


def _check(part: ModelSpec | PhaseSpec | Any, numbers: dict[str, Number]) -> None:
    for field, number in numbers.items():
        _check_value(getattr(part, field), number)


def _check_value(value: float, number: Number) -> None:
    if value not in number.range:
        raise ValueError(
            f"{number.what} comes to {ranges.shown(value)}, and must be {number.range}: "
            f"change {number.remedy}"
        )


def _leaves(options: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Numbers of a kind's own options, at any depth, by dotted name."""
    for name, value in options.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", leaf) for inner, leaf in _leaves(value))
        elif isinstance(value, list | tuple):
            yield from _leaves({f"{name}[{i}]": part for i, part in enumerate(value)})
        elif isinstance(value, int | float):
            yield name, value
