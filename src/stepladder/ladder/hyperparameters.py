"""What the rules under `optimizer:` come to on one run, and what they were not meant to be mixed with."""

from __future__ import annotations

from stepladder.record.spec import ModelSpec, OptimizerSpec, ParametrizationSpec, ScheduleSpec
from stepladder.schema.complete import COMPLETE
from stepladder.schema.ladder import Ladder
from stepladder.schema.optimizer import OptimizerSettings, Parametrization
from stepladder.schema.scale import Scale


def resolve_optimizer(o: OptimizerSettings, scale: Scale, learning_rate: float) -> OptimizerSpec:
    """The optimizer of a run of this size and batch.

    Args:
        learning_rate: the peak, wherever it comes from: a weight decay may go with it.
    """
    return OptimizerSpec(
        name=o.name,
        learning_rate=learning_rate,
        beta1=o.beta1,
        beta2=o.beta2 if isinstance(o.beta2, float) else o.beta2.beta2(scale),
        epsilon=o.epsilon if isinstance(o.epsilon, float) else o.epsilon.epsilon(scale),
        weight_decay=o.weight_decay
        if isinstance(o.weight_decay, float)
        else o.weight_decay.weight_decay(scale, learning_rate),
        clip_norm=o.clip_norm,
    )


def resolve_parametrization(p: Parametrization | None, model: ModelSpec) -> ParametrizationSpec | None:
    """Width and depth of a model over those of the base model.

    Raises:
        ValueError: one matrix is both embedding and head, which are scaled in different ways.
    """
    if p is None:
        return None
    if model.tied_embeddings:
        raise ValueError("parametrization needs a head of its own: set shape.tied_embeddings to false")
    depth = model.n_layers / p.base_depth if p.kind == "completep" else 1.0
    return ParametrizationSpec(width=model.d_model / p.base_width, depth=depth)


def resolve_schedule(
    o: OptimizerSettings, scale: Scale, learning_rate: float, steps: int, decays: bool = True
) -> ScheduleSpec:
    """Warmup and decay of a run of `steps` steps.

    Args:
        decays: whether the recipe lets the rate fall at the end.

    Raises:
        ValueError: they do not fit into the run.
    """
    warmup, key = _warmup(o, scale, steps)
    decay = round(o.decay_fraction * steps) if decays else 0
    if warmup + decay > steps:
        raise ValueError(
            f"warmup of {warmup} and decay of {decay} steps do not fit into {steps} steps: "
            f"shorten {key} or decay_fraction, or raise the budget"
        )
    final = o.final if o.final_rate is None else o.final_rate / learning_rate
    return ScheduleSpec(warmup_steps=warmup, decay_steps=decay, decay_shape=o.decay_shape, final=final)


def _warmup(o: OptimizerSettings, scale: Scale, steps: int) -> tuple[int, str]:
    """Steps of warmup, and the key of the ladder file that they follow from."""
    if o.warmup is not None:
        return round(o.warmup.positions(scale) / scale.batch), "warmup"
    if o.warmup_steps is not None:
        return o.warmup_steps, "warmup_steps"
    return round(o.warmup_fraction * steps), "warmup_steps"


def mixed(ladder: Ladder) -> tuple[str, ...]:
    """Sentences on hyperparameters that were not tuned together: which part of a complete recipe the ladder
    replaces, or of which it has a part alone; and what the recipe leaves open."""
    o = ladder.optimizer
    if o.hyperparameters is None:
        return (*(_half(*half) for half in o.halves), *_scaled_twice(o))
    name, recipe = o.hyperparameters, COMPLETE[o.hyperparameters]
    own = [f"optimizer.{part}" for part in o.replaced]
    own += [
        f"{field} of rung {rung.label}"
        for rung in ladder.rungs
        for field in ("learning_rate", "batch_sequences")
        if getattr(rung.set, field) is not None
    ]
    if ladder.sweep is not None and ladder.sweep.apply != "none":
        own.append("the learning rates that the sweep finds")
    told = [f"Hyperparameters are those of {name} ({recipe.source})."]
    if own:
        told = [
            f"Hyperparameters are those of {name} ({recipe.source}) but for {listed(own)}, which the ladder "
            f"sets itself: the rest was tuned with what {'they replace' if len(own) > 1 else 'it replaces'}."
        ]
    return (*told, *([f"Of {name}: {recipe.caveat}."] if recipe.caveat else []), *_scaled_twice(o))


SMALL = Scale(n=1e6, d=1e9, c=1e16, d_model=64, batch=1e5)
LARGE = Scale(n=1e8, d=1e9, c=1e16, d_model=640, batch=1e5)


def _scaled_twice(o: OptimizerSettings) -> list[str]:
    """What is wrong with a rate that goes with size beside a parametrization."""
    rates = [o.learning_rate.default, *o.learning_rate.by_variant.values()]
    goes = any(rate.learning_rate(SMALL) != rate.learning_rate(LARGE) for rate in rates)
    if o.parametrization is None or not goes:
        return []
    return [
        f"optimizer.learning_rate goes with size, and optimizer.parametrization ({o.parametrization.kind}) "
        "scales rates with size as well: give the base model's rate, `rule: constant`."
    ]


def _half(name: str, taken: tuple[str, ...], rest: tuple[str, ...]) -> str:
    are, them = ("is", "it") if len(taken) == 1 else ("are", "them")
    return (
        f"{listed([f'optimizer.{part}' for part in taken])} {are} of {name}, without the {listed(rest)} that "
        f"{name} has with {them}: `optimizer: {{hyperparameters: {name}}}` takes all of them."
    )


def listed(parts: list[str] | tuple[str, ...]) -> str:
    """a, b and c."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
