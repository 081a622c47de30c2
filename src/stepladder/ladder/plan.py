"""What a ladder would cost, before anything runs."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stepladder import __version__
from stepladder.ladder.boundaries import boundary_notes
from stepladder.ladder.hyperparameters import mixed
from stepladder.ladder.mixture import in_words
from stepladder.record.checkpoints import kept_steps
from stepladder.record.cost import FLOPS_FORMULA, parameters, training_flops
from stepladder.record.passes import tokens_by_domain
from stepladder.record.plan import Assumptions, Plan, PlannedRun, Totals
from stepladder.record.spec import TRUNK, RunSpec
from stepladder.schema.accelerators import Accelerator
from stepladder.schema.design import MixtureSwarm
from stepladder.schema.execution import Execution
from stepladder.schema.ladder import Ladder
from stepladder.schema.optimizer import OptimizerSettings

CHECKPOINT_BYTES_PER_PARAMETER = 12
"""fp32 weights and AdamW's two fp32 moments."""


def flops_per_second(ladder: Ladder, table: dict[str, Accelerator]) -> tuple[float, str]:
    """Assumed model FLOP/s of one accelerator, and the assumption in words.

    Raises:
        ValueError: neither the ladder nor the hardware file says how fast the accelerator is.
    """
    name, plan = ladder.execution.accelerator, ladder.plan
    if plan.flops_per_second is not None:
        return plan.flops_per_second, f"{plan.flops_per_second / 1e9:g} GFLOP/s achieved per {name}"
    if name not in table:
        raise ValueError(
            f"execution.accelerator {name!r} is not in the hardware file (there are: {', '.join(table)}): "
            "add it there, or set plan.flops_per_second"
        )
    if "bf16" not in table[name].peaks:
        raise ValueError(
            f"the hardware file has no bf16 peak for {name!r}: add it there, or set plan.flops_per_second"
        )
    peak = table[name].peaks["bf16"]
    return peak * plan.mfu, f"{plan.mfu:.0%} MFU of {peak / 1e12:g} TFLOP/s (bf16, dense) per {name}"


def make_plan(ladder: Ladder, jobs: Sequence[JobCost], table: dict[str, Accelerator]) -> Plan:
    """Price every run: parameters, tokens, FLOPs, accelerator-hours, price, disk.

    Args:
        table: devices of configs/hardware.yaml.

    Raises:
        ValueError: the accelerator's speed is unknown.
    """
    rate, assumption = flops_per_second(ladder, table)
    price = ladder.plan.price_per_accelerator_hour
    if price is None and ladder.execution.accelerator in table:
        price = table[ladder.execution.accelerator].price_per_hour
    overhead = ladder.plan.overhead_seconds_per_run
    execution = {rung.label: ladder.execution_of(rung) for rung in ladder.rungs}
    rows = [_row(job, overhead, rate, price, execution[job.spec.rung], ladder.optimizer) for job in jobs]
    accelerators = {label: own.accelerators_per_run for label, own in execution.items()}
    hours = sum(row.accelerator_hours for row in rows)
    return Plan(
        ladder=ladder.name,
        version=ladder.version,
        question=ladder.question,
        stepladder=__version__,
        runs=tuple(rows),
        totals=Totals(
            runs=len(rows),
            flops=sum(row.flops_trained for row in rows),
            flops_if_independent=sum(row.flops for row in rows if row.budget != TRUNK),
            tokens=sum(row.tokens for row in rows),
            accelerator_hours=hours,
            wall_hours=_wall_hours(ladder.execution.parallel_runs, rows),
            price=None if price is None else hours * price,
            price_currency="USD",
            disk_bytes=sum(row.disk_bytes for row in rows),
        ),
        assumptions=Assumptions(
            accelerator=ladder.execution.accelerator,
            accelerators_per_run=accelerators,
            parallel_runs=ladder.execution.parallel_runs,
            speed=assumption,
            flops_formula=FLOPS_FORMULA + " (causal)",
            overhead_seconds_per_run=overhead,
            price_per_accelerator_hour=price,
            max_accelerator_hours=ladder.plan.max_accelerator_hours,
            max_epochs=ladder.data.max_epochs,
        ),
        notes=(
            *mixed(ladder),
            *boundary_notes(ladder),
            *_top_note(ladder, jobs),
            *_mixture_note(ladder),
            *_swarm_note(ladder, jobs),
        ),
    )


def _top_note(ladder: Ladder, jobs: Sequence[JobCost]) -> Iterator[str]:
    """What is not known of a rung that the laws of the others size."""
    tops = [job.spec for job in jobs if job.topped]
    if tops:
        layers = tops[0].model.n_layers
        yield (
            f"The size of rung {ladder.top} comes from the law of all other runs, when they are there: it is "
            f"planned with {layers} layers, which its FLOPs and its price do not depend on."
        )


def _mixture_note(ladder: Ladder) -> Iterator[str]:
    """In which proportion domains are read, and which are not."""
    arm = ladder.design.arm if isinstance(ladder.design, MixtureSwarm) else None
    for corpus in ladder.corpora or (None,):
        if arm is not None and corpus == arm:
            continue
        data = ladder.data_of(corpus)
        if stages := data.mixture:
            left = [n for n in data.source.domain_names if not any(s.weights.get(n) for s in stages)]
            not_read = f" Not read: {', '.join(left)}." if left else ""
            of = f" of corpus {corpus}" if corpus else ""
            yield f"Training text{of} is mixed: {in_words(stages)}.{not_read}"


def _swarm_note(ladder: Ladder, jobs: Sequence[JobCost]) -> Iterator[str]:
    """What is not known of an arm whose mixture other runs find."""
    if isinstance(ladder.design, MixtureSwarm):
        drawn = [job.spec for job in jobs if job.swarm]
        yield (
            f"The mixture of corpus {ladder.design.arm} comes from {len(drawn)} runs on drawn mixtures at "
            f"rung {drawn[0].rung}, when they are there; FLOPs and price do not depend on it."
        )


@dataclass(frozen=True)
class JobCost:
    """One job of a ladder that is to be priced: a run, or a segment of a trunk."""

    spec: RunSpec
    flops_trained: float
    """Model FLOPs that the job trains: less than the run's own if it branches off."""
    trunk: bool = False
    """Whether it is a segment of a trunk, which is trained but not evaluated."""
    sweep: bool = False
    """Whether it is of the sweep alone, and in no law."""
    tuned: bool = False
    """Whether its learning rate waits for the sweep."""
    swarm: bool = False
    """Whether it is of the swarm, and in no law of compute."""
    topped: bool = False
    """Whether its size waits for the laws of the other runs."""
    mixed: bool = False
    """Whether its mixture waits for the swarm."""


def _row(
    job: JobCost,
    overhead: float,
    rate: float,
    price: float | None,
    execution: Execution,
    o: OptimizerSettings,
) -> PlannedRun:
    run, n_accelerators = job.spec, execution.accelerators_per_run
    count = parameters(run.model)
    # Training at the assumed rate on all of the run's accelerators, which also wait through start-up.
    seconds = job.flops_trained / (rate * n_accelerators) + overhead
    hours = seconds * n_accelerators / 3600
    return PlannedRun(
        id=run.id,
        spec_sha256=None if job.tuned or job.topped or job.mixed else run.sha256,
        variant=run.variant,
        rung=run.rung,
        budget=run.budget,
        seed=run.seed,
        depth=run.model.n_layers,
        d_model=run.model.d_model,
        parameters_total=count.total,
        parameters_active=count.active,
        parameters_active_non_embedding=count.active_non_embedding,
        learning_rate=None if job.tuned or job.topped else run.optimizer.learning_rate,
        batch_sequences=run.recipe.phases[-1].sequences,
        steps=run.recipe.steps,
        positions=run.recipe.positions,
        tokens=run.recipe.tokens,
        corpus=run.data.corpus,
        prepared=run.data.prepared,
        tokens_by_domain=None if job.mixed else tokens_by_domain(run),
        flops=training_flops(run.model, run.recipe),
        flops_trained=job.flops_trained,
        accelerators=n_accelerators,
        seconds=seconds,
        accelerator_hours=hours,
        price=None if price is None else hours * price,
        disk_bytes=_checkpoints(run, execution) * CHECKPOINT_BYTES_PER_PARAMETER * count.total,
        trunk=job.trunk,
        sweep=job.sweep,
        swarm=job.swarm,
        mixed=job.mixed,
        **({} if job.topped else _followed(job, o)),
    )


def _checkpoints(run: RunSpec, execution: Execution) -> int:
    """How many lie on disk when a run has ended, at most."""
    return execution.keep_checkpoints + len(kept_steps(run, execution.keep)) - 1


def _followed(job: JobCost, o: OptimizerSettings) -> dict[str, float | None]:
    """Hyperparameters that follow by rule, where what they follow from is known."""
    run = job.spec
    return {
        "beta2": run.optimizer.beta2,
        "epsilon": run.optimizer.epsilon,
        "weight_decay": None if job.tuned and o.decay_follows_rate else run.optimizer.weight_decay,
        "warmup_steps": run.schedule.warmup_steps,
        "final_share": None if job.tuned and o.final_rate is not None else run.schedule.final,
    }


def _wall_hours(parallel_runs: int, rows: Sequence[PlannedRun]) -> float:
    """Longest runs first onto the machine slots that are free soonest."""
    slots = [0.0] * min(parallel_runs, len(rows))
    for row in sorted(rows, key=lambda row: row.seconds, reverse=True):
        heapq.heapreplace(slots, slots[0] + row.seconds)
    return max(slots) / 3600
