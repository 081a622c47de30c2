"""Turn a validated ladder into its runs: one complete `RunSpec` each. Pure, and fast enough to be
done every time the workflow is parsed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from stepladder.ladder.hyperparameters import (
    resolve_optimizer,
    resolve_parametrization,
    resolve_schedule,
)
from stepladder.ladder.kinds import part_settings
from stepladder.ladder.load import error_at
from stepladder.ladder.mixture import resolve_mixture
from stepladder.ladder.read import LadderError, Location
from stepladder.ladder.resolved import check_model, check_run
from stepladder.ladder.shapes import resolve_model
from stepladder.ladder.trunk import share_trunk
from stepladder.record.cost import parameters, recipe_flops_per_position, training_flops_per_position
from stepladder.record.fingerprint import run_fingerprint
from stepladder.record.kinds import PhaseShape, load
from stepladder.record.spec import (
    DataSpec,
    ModelSpec,
    PhaseSpec,
    RecipeSpec,
    RunSpec,
)
from stepladder.schema import ranges
from stepladder.schema.budget import Budget, Flops, Steps, budget_label
from stepladder.schema.ladder import Ladder, Rung
from stepladder.schema.mixture import Mixture
from stepladder.schema.scale import Scale, Size

TOKENS_PER_PARAMETER = 20
"""Tokens per active non-embedding parameter at budget 1x (Hoffmann et al. 2022, arXiv 2203.15556)."""

BF16_FROM_D_MODEL = 128
"""On CPU bf16 matrix products win from this width on (benchmarks/train_step.py)."""


class Text(NamedTuple):
    """What is read."""

    spec: DataSpec
    mixture: Mixture | None
    domains: tuple[str, ...]
    """Of the training text."""


class Variant(NamedTuple):
    """One architecture with one recipe on one corpus, settings validated."""

    name: str
    architecture: str
    architecture_config: Any
    recipe: str
    recipe_config: Any
    text: Text


def expand(
    ladder: Ladder,
    path: str | Path = "ladder",
    where: Location | None = None,
    factors: Sequence[float] = (1.0,),
) -> list[RunSpec]:
    """All runs of `ladder`, in the order rung, variant, budget, learning-rate factor, seed.

    Args:
        path: the ladder's file, for error messages.
        where: key of the file that errors are about; by default the rung's.
        factors: on the ruled learning rate; a run each.

    Raises:
        LadderError: a rung's shape, recipe or budget is impossible.
    """
    path = Path(path)
    runs: list[RunSpec] = []
    for index, rung in enumerate(ladder.rungs):
        for variant in _variants(ladder):
            try:
                runs += _expand_rung(ladder, rung, variant, factors)
            except LadderError:
                raise
            except ValueError as error:
                message = f"rung {rung.label}, variant {variant.name}: {error}"
                raise error_at(path, where or ("rungs", index), message) from None
    return runs


def _variants(ladder: Ladder) -> list[Variant]:
    architectures = {k: part_settings("architectures", k, v) for k, v in ladder.architectures.items()}
    recipes = {k: part_settings("recipes", k, v) for k, v in ladder.recipes.items()}
    texts = {c: _text(ladder, c) for c in ladder.corpora or (None,)}
    return [
        Variant(name, *architectures[kind.architecture], *recipes[kind.recipe], texts[kind.corpus])
        for name, kind in ladder.kinds.items()
    ]


def _text(ladder: Ladder, corpus: str | None) -> Text:
    """What the runs on a corpus read."""
    data, scored = ladder.data_of(corpus), ladder.data.source
    spec = DataSpec(
        source=data.source.without_provenance().model_dump(mode="json"),
        tokenizer=data.tokenizer.model_dump(mode="json"),
        **data.model_dump(
            include={"validation_fraction", "max_validation_tokens", "domain_weights", "document_attention"}
        ),
        corpus=corpus,
        prepared=ladder.prepared_as(corpus),
        held_out=scored.without_provenance().model_dump(mode="json") if ladder.scored_apart(corpus) else None,
    )
    return Text(spec, data.mixture, data.source.domain_names)


def _expand_rung(ladder: Ladder, rung: Rung, variant: Variant, factors: Sequence[float]) -> list[RunSpec]:
    text = variant.text.spec
    model = resolve_model(ladder, rung, variant.architecture, variant.architecture_config, text.corpus)
    check_model(model, parameters(model).total)
    accelerators = ladder.execution_of(rung).accelerators_per_run
    first, *others = rung.seeds or ladder.seeds
    resolved = [
        _resolve_run(ladder, rung, variant, model, budget, factor, first)
        for budget in rung.budgets or ladder.budgets
        for factor in factors
    ]
    runs = []
    for spec in share_trunk(resolved) if ladder.optimizer.trunk else resolved:
        check_run(spec)
        _check_shares(spec, accelerators)
        runs.append(spec)
        stem = spec.id.rpartition("/")[0]
        runs += [spec.model_copy(update={"seed": seed, "id": f"{stem}/seed{seed}"}) for seed in others]
    return runs


def _check_shares(spec: RunSpec, accelerators: int) -> None:
    for phase in spec.recipe.phases:
        if phase.sequences % accelerators:
            raise ValueError(
                f"the batch of {phase.sequences} sequences (phase {phase.name}) cannot be shared equally "
                f"among accelerators_per_run {accelerators}: change one of them"
            )


def _resolve_run(
    ladder: Ladder,
    rung: Rung,
    variant: Variant,
    model: ModelSpec,
    budget: Budget,
    factor: float,
    seed: int,
) -> RunSpec:
    n = parameters(model).active_non_embedding
    per_position = training_flops_per_position(model)
    if isinstance(budget, Steps):
        # The batch may depend on D, so D is found with the batch that a budget of 1x would have.
        sequences = _sequences(ladder, rung, model, _size(n, TOKENS_PER_PARAMETER * n, per_position, model))
        positions = float(budget.steps * sequences * model.sequence_length)
    else:
        if isinstance(budget, Flops):
            positions = budget.flops / per_position
        else:
            positions = budget * TOKENS_PER_PARAMETER * n
        sequences = _sequences(ladder, rung, model, _size(n, positions, per_position, model))
    size = _size(n, positions, per_position, model)
    scale = Scale(**vars(size), batch=float(sequences * model.sequence_length))

    recipe = load("recipes", variant.recipe)
    shapes = recipe.phases(variant.recipe_config, model.sequence_length, sequences)
    options = variant.recipe_config.model_dump(mode="json")
    phases = resolve_phases(shapes, model, size.c, sequences, variant.recipe, options)
    steps = sum(phase.steps for phase in phases)

    rates, mixture = ladder.optimizer.learning_rate, variant.text.mixture
    rate = rung.set.learning_rate or rates.by_variant.get(variant.name, rates.default).learning_rate(scale)
    multiple = positions / (TOKENS_PER_PARAMETER * n)
    label = budget_label(budget)
    sweep = "" if factor == 1 else f"lr{factor:g}/"
    decays = getattr(recipe, "DECAYS", True)
    schedule = resolve_schedule(ladder.optimizer, scale, rate * factor, steps, decays)
    return RunSpec(
        id=f"{variant.name}/{rung.label}/{label}/{sweep}seed{seed}",
        variant=variant.name,
        rung=rung.label,
        budget=label,
        budget_multiple=multiple,
        seed=seed,
        model=model,
        recipe=RecipeSpec(name=variant.recipe, options=options, phases=phases),
        optimizer=resolve_optimizer(ladder.optimizer, scale, rate * factor),
        schedule=schedule,
        data=variant.text.spec,
        precision=_precision(ladder, model),
        learning_rate_factor=factor,
        parametrization=resolve_parametrization(ladder.optimizer.parametrization, model),
        mixture=resolve_mixture(mixture, variant.text.domains, steps, schedule) if mixture else None,
        overrides=tuple(rung.set.model_dump(exclude_none=True)),
        code=run_fingerprint(variant.architecture, variant.recipe),
    )


def resolve_phases(
    shapes: list[PhaseShape],
    model: ModelSpec,
    flops: float,
    sequences: int,
    recipe: str,
    options: dict[str, Any],
) -> tuple[PhaseSpec, ...]:
    """Steps per phase, such that all phases together cost `flops` (to the nearest step).

    Raises:
        ValueError: the budget is too small for the recipe's phases.
    """
    step_flops = [
        s.sequences * s.positions * recipe_flops_per_position(model, recipe, options, s.positions)
        for s in shapes
    ]
    mean = sum(shape.fraction * cost for shape, cost in zip(shapes, step_flops, strict=True))
    total = round(flops / mean)
    counts = [round(shape.fraction * total) for shape in shapes[:-1]]
    counts.append(total - sum(counts))
    for shape, count in zip(shapes, counts, strict=True):
        if count < 1:
            raise ValueError(
                f"the budget of {flops:.3g} FLOPs is {total} steps of {sequences} sequences: phase "
                f"{shape.name!r} gets {count}; raise `budgets` or lower the batch"
            )
    return tuple(
        PhaseSpec(
            name=s.name,
            steps=n,
            bag_size=s.bag_size,
            sequences=s.sequences,
            positions=s.positions,
            targets=s.targets or s.bag_size,
        )
        for s, n in zip(shapes, counts, strict=True)
    )


def _size(n: float, positions: float, per_position: float, model: ModelSpec) -> Size:
    return Size(n=n, d=positions, c=positions * per_position, d_model=model.d_model)


def _sequences(ladder: Ladder, rung: Rung, model: ModelSpec, size: Size) -> int:
    """The rung's own batch, or the ruled one to the nearest whole sequence, at least 1.

    Raises:
        ValueError: the rule does not hold at this size, or gives more than any machine could hold.
    """
    if rung.set.batch_sequences is not None:
        return rung.set.batch_sequences
    ruled = max(1.0, ladder.optimizer.batch.tokens(size, model.sequence_length) / model.sequence_length)
    if ruled not in ranges.SEQUENCES:
        raise ValueError(
            f"sequences per step come to {ranges.shown(ruled)}, and must be {ranges.SEQUENCES}: change "
            "optimizer.batch or set.batch_sequences"
        )
    return round(ruled)


def _precision(ladder: Ladder, model: ModelSpec) -> Literal["fp32", "bf16", "fp8"]:
    if ladder.optimizer.precision != "auto":
        return ladder.optimizer.precision
    if ladder.execution.accelerator != "cpu" or model.d_model >= BF16_FROM_D_MODEL:
        return "bf16"
    return "fp32"
