"""The sweep of a ladder: which runs it takes, which runs train at the rates that come out, and how those get
into their specs.

Until the sweep is analysed the specs of tuned runs hold the ruled rate; `with_rate` makes them final. What is
analysed, and how, is in `stepladder.tuning.tune`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple

from stepladder.ladder.expand import TOKENS_PER_PARAMETER, expand
from stepladder.ladder.hyperparameters import resolve_optimizer, resolve_schedule
from stepladder.ladder.load import error_at
from stepladder.ladder.outcome import read_outcome
from stepladder.record.cost import parameters, training_flops_per_position
from stepladder.record.learning_rates import Tuning
from stepladder.record.spec import RunSpec
from stepladder.schema.ladder import Ladder, Rung
from stepladder.schema.rules import DeepSeekRate, DelphiRate, PowerRate
from stepladder.schema.scale import Powers, Scale
from stepladder.schema.sweep import Sweep


class Rates(NamedTuple):
    """What the sweep's runs taught."""

    factors: dict[tuple[str, str, str], float]
    """(variant, rung, budget) to the factor on the ruled rate."""
    batch: float
    """Factor on the ruled batch; 1 unless the sweep applies another."""


@dataclass(frozen=True)
class SweepRun:
    """One run of the sweep. Its id is that of a run of the ladder where the two are the same."""

    spec: RunSpec
    factor: float
    """On the ruled learning rate."""
    batch_factor: float
    """On the ruled batch."""


def sweep_runs(ladder: Ladder, path: Path) -> list[SweepRun]:
    """All runs of the ladder's sweep; none without one.

    Raises:
        LadderError: the budget or a batch is impossible on a rung.
    """
    sweep = ladder.sweep
    if sweep is None:
        return []
    found: list[SweepRun] = []
    for rung in (rung for rung in ladder.rungs if rung.label in sweep.rungs):
        for architecture, recipe in product(ladder.architectures, ladder.recipes):
            narrow = _narrow(ladder, sweep, rung, architecture, recipe)
            batches: dict[int, float] = {}
            ruled = expand(narrow, path, ("sweep",))[0].recipe.phases[-1].sequences
            for factor in sweep.batch_factors:
                sequences = round(factor * ruled)
                if factor * ruled < 1:
                    raise error_at(
                        path,
                        ("sweep", "batch_factors"),
                        f"{factor:g} of the {ruled} sequences that rung {rung.label} has is less than one: "
                        "remove it, or sweep a rung with larger batches",
                    )
                if sequences in batches:
                    raise error_at(
                        path,
                        ("sweep", "batch_factors"),
                        f"{batches[sequences]:g} and {factor:g} are the same batch of {sequences} on rung "
                        f"{rung.label} (ruled: {ruled}): remove one, or sweep a rung with larger batches",
                    )
                batches[sequences] = factor
                found += _at_batch(ladder, narrow, path, sweep.learning_rate_factors, sequences, factor)
    return found


def _narrow(ladder: Ladder, sweep: Sweep, rung: Rung, architecture: str, recipe: str) -> Ladder:
    """The ladder of one rung and one variant, with the sweep's budget and seeds, and no trunk: runs of
    different rates have no step in common."""
    axes = {
        "budgets": (sweep.budget if sweep.budget is not None else ladder.budgets[0],),
        "seeds": sweep.seeds or ladder.seeds,
    }
    return ladder.model_copy(
        update={
            "rungs": (rung.model_copy(update=axes),),
            "architectures": {architecture: ladder.architectures[architecture]},
            "recipes": {recipe: ladder.recipes[recipe]},
            "optimizer": ladder.optimizer.model_copy(update={"trunk": False}),
        }
    )


def _at_batch(
    ladder: Ladder,
    narrow: Ladder,
    path: Path,
    factors: Sequence[float],
    sequences: int,
    batch_factor: float,
) -> list[SweepRun]:
    (rung,) = narrow.rungs
    if batch_factor != 1:
        own = rung.set.model_copy(update={"batch_sequences": sequences})
        narrow = narrow.model_copy(update={"rungs": (rung.model_copy(update={"set": own}),)})
    runs = []
    for spec in expand(narrow, path, ("sweep",), factors):
        factor = spec.learning_rate_factor
        head = f"{spec.variant}/{spec.rung}/{spec.budget}/"
        if batch_factor != 1:
            name = f"lr{factor:g}-batch{batch_factor:g}/"
        elif factor != 1 or takes_predicted_rate(ladder, rung) or ladder.optimizer.trunk:
            name = f"lr{factor:g}/"  # a branch has another warmup
        else:
            name = ""  # the ladder's own run
        spec = spec.model_copy(update={"id": f"{head}{name}seed{spec.seed}"})
        runs.append(SweepRun(spec, factor, batch_factor))
    return runs


def takes_predicted_rate(ladder: Ladder, rung: Rung) -> bool:
    """Whether runs of this rung train at the rate that the sweep predicts."""
    sweep = ladder.sweep
    if sweep is None or sweep.apply == "none" or rung.set.learning_rate is not None:
        return False
    return sweep.apply == "all" or rung.label not in sweep.rungs


def quantity_name(ladder: Ladder) -> Literal["n", "d", "c", "d_model"]:
    """The measure of scale along which the optimum is fitted: that of the ladder's default rule, N where it
    has several."""
    rule = ladder.optimizer.learning_rate.default
    match rule:
        case PowerRate():
            return rule.of
        case Powers():
            sizes = [name for name in rule.of if name != "batch"]
            return sizes[0] if len(sizes) == 1 else "n"
        case DeepSeekRate():
            return "c"
        case DelphiRate():
            return "d"
    return "n"


def at_batch(
    ladder: Ladder, label: str, ruled: Iterable[RunSpec], factor: float, path: Path
) -> dict[str, RunSpec]:
    """Runs of one rung, by id, at `factor` times their ruled batch, with all that follows from it but the
    learning rate: steps, warmup, beta2 and so on.

    Raises:
        LadderError: the recipe or the batch is impossible.
    """
    (rung,) = (rung for rung in ladder.rungs if rung.label == label)
    found: dict[str, RunSpec] = {}
    by_batch: dict[int, list[RunSpec]] = {}
    for run in ruled:  # the rule may give each budget or variant a batch of its own
        by_batch.setdefault(run.recipe.phases[-1].sequences, []).append(run)
    for sequences, runs in by_batch.items():
        own = rung.set.model_copy(update={"batch_sequences": max(1, round(factor * sequences))})
        alone = ladder.model_copy(update={"rungs": (rung.model_copy(update={"set": own}),)})
        made = {run.id: run for run in expand(alone, path, ("sweep",))}
        found |= {run.id: made[run.id].model_copy(update={"overrides": run.overrides}) for run in runs}
    return found


def check_batch(ladder: Ladder, path: Path) -> None:
    """A batch that the sweep applies must leave the ruled rate alone, which its rates are factors on.

    Raises:
        LadderError: it does not, or rungs and trunks have batches of their own.
    """
    if not (ladder.sweep and ladder.sweep.apply_batch):
        return
    rates = ladder.optimizer.learning_rate
    one, other = (Scale(n=1e6, d=1e9, c=1e16, d_model=64, batch=batch) for batch in (1e5, 2e5))
    if any(
        r.learning_rate(one) != r.learning_rate(other) for r in (rates.default, *rates.by_variant.values())
    ):
        message = (
            "the rate's rule goes with the batch: give one that does not, as the sweep finds both together"
        )
    elif ladder.optimizer.trunk:
        message = "a trunk is laid out with the ruled batch: set optimizer.trunk to false, or apply_batch"
    elif any(rung.set.batch_sequences for rung in ladder.rungs):
        message = "a rung has a batch of its own (set.batch_sequences): remove it, or apply_batch"
    else:
        return
    raise error_at(path, ("sweep", "apply_batch"), message)


def check_trunk(ladder: Ladder, path: Path) -> None:
    """A trunk has one rate for all budgets, so the sweep's rates must not go with the budget.

    Raises:
        LadderError: they would.
    """
    name = quantity_name(ladder)
    if ladder.sweep and ladder.sweep.apply != "none" and ladder.optimizer.trunk and name in ("d", "c"):
        message = (
            f"rates that the sweep predicts go with {name}, which is another at each budget, and a trunk has "
            "one rate: use a rule of n or d_model, set sweep.apply to none, or optimizer.trunk to false"
        )
        raise error_at(path, ("sweep",), message)


def quantity(spec: RunSpec, name: str) -> float:
    """A run's value of `n`, `d`, `c` or `d_model`; see `stepladder.schema.scale.Size`."""
    return float(getattr(size_of(spec), name))


def rule_rate(ladder: Ladder, spec: RunSpec) -> float:
    """The learning rate that the ladder's rule gives a run, whatever its rung overrides."""
    rates = ladder.optimizer.learning_rate
    return rates.by_variant.get(spec.variant, rates.default).learning_rate(size_of(spec))


def size_of(spec: RunSpec) -> Scale:
    """What rules may depend on, of a resolved run."""
    n = parameters(spec.model).active_non_embedding
    positions = spec.budget_multiple * TOKENS_PER_PARAMETER * n
    flops = positions * training_flops_per_position(spec.model)
    batch = float(spec.recipe.phases[-1].sequences * spec.model.sequence_length)
    return Scale(n=n, d=positions, c=flops, d_model=spec.model.d_model, batch=batch)


def sweep_digest(ladder: Ladder, sweep: list[SweepRun], runs: list[RunSpec]) -> str:
    """Changes when anything does that the predicted rates depend on: 16 hex digits."""
    parts = [] if ladder.sweep is None else [ladder.sweep.model_dump_json()]
    parts += [f"learning_rates.json {Tuning.VERSION}"]  # a file of another version is made anew
    parts += [f"{run.spec.sha256} {run.factor} {run.batch_factor}" for run in sweep]
    parts += [f"{run.id} {run.optimizer.learning_rate!r} {run.model.model_dump_json()}" for run in runs]
    parts += [quantity_name(ladder), str(ladder.analysis.confidence)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def read_rates(path: Path, digest: str) -> Rates:
    """The factors that `stepladder tune` found, of the sweep with this digest.

    Raises:
        FileNotFoundError: the sweep is not analysed yet; what there is may be of another one.
    """
    return read_outcome(path, digest, _read_rates, "the ladder's sweep is not analysed yet")


def _read_rates(path: Path) -> tuple[str, Rates]:
    found = Tuning.read(path)
    rows = [row for row in found.rates if row.applied]
    factors = {(row.variant, row.rung, row.budget): row.factor for row in rows if row.factor is not None}
    applied = found.batch.applied if found.batch is not None else None
    return found.made_from, Rates(factors, applied or 1.0)


def with_rate(ladder: Ladder, spec: RunSpec, factor: float) -> RunSpec:
    """The spec at `factor` times its ruled learning rate, with what follows from the rate: a weight decay of
    constant timescale, a last rate as a share of the peak."""
    rate, scale = spec.optimizer.learning_rate * factor, size_of(spec)
    final = resolve_schedule(ladder.optimizer, scale, rate, spec.recipe.steps).final
    return spec.model_copy(
        update={
            "optimizer": resolve_optimizer(ladder.optimizer, scale, rate),
            "schedule": spec.schedule.model_copy(update={"final": final}),
            "learning_rate_factor": factor,
        }
    )
