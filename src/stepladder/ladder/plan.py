"""What a ladder would cost, before anything runs."""

from __future__ import annotations

from typing import Any

from stepladder import __version__
from stepladder.record.cost import FLOPS_FORMULA, parameters, training_flops
from stepladder.record.spec import TRUNK, RunSpec
from stepladder.schema.accelerators import Accelerator
from stepladder.schema.ladder import Ladder

CHECKPOINT_BYTES_PER_PARAMETER = 12
"""fp32 weights and AdamW's two fp32 moments; training keeps two checkpoints."""
CHECKPOINTS_KEPT = 2


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
    peak = table[name].peaks["bf16"]
    return peak * plan.mfu, f"{plan.mfu:.0%} MFU of {peak / 1e12:g} TFLOP/s (bf16, dense) per {name}"


def make_plan(
    ladder: Ladder, runs: list[RunSpec], table: dict[str, Accelerator], trained: dict[str, float]
) -> dict[str, Any]:
    """Price every run: parameters, tokens, FLOPs, accelerator-hours, price, disk.

    Args:
        trained: run id to the model FLOPs that its job trains: less than the run's own if it branches off.

    Raises:
        ValueError: the accelerator's speed is unknown.
    """
    rate, assumption = flops_per_second(ladder, table)
    price = ladder.plan.price_per_accelerator_hour
    if price is None and ladder.execution.accelerator in table:
        price = table[ladder.execution.accelerator].price_per_hour
    accelerators = {rung.label: ladder.execution_of(rung).accelerators_per_run for rung in ladder.rungs}
    rows = [_row(ladder, run, rate, price, accelerators[run.rung], trained[run.id]) for run in runs]
    hours = sum(row["accelerator_hours"] for row in rows)
    return {
        "ladder": ladder.name,
        "version": ladder.version,
        "question": ladder.question,
        "stepladder": __version__,
        "runs": rows,
        "totals": {
            "runs": len(rows),
            "flops": sum(row["flops_trained"] for row in rows),
            "flops_if_independent": sum(row["flops"] for row in rows if row["budget"] != TRUNK),
            "tokens": sum(row["tokens"] for row in rows),
            "accelerator_hours": hours,
            "wall_hours": _wall_hours(ladder, rows),
            "price": None if price is None else hours * price,
            "price_currency": "USD",
            "disk_bytes": sum(row["disk_bytes"] for row in rows),
        },
        "assumptions": {
            "accelerator": ladder.execution.accelerator,
            "accelerators_per_run": accelerators,
            "parallel_runs": ladder.execution.parallel_runs,
            "speed": assumption,
            "flops_formula": FLOPS_FORMULA + " (causal)",
            "overhead_seconds_per_run": ladder.plan.overhead_seconds_per_run,
            "price_per_accelerator_hour": price,
            "max_accelerator_hours": ladder.plan.max_accelerator_hours,
        },
    }


def over_limit(plan: dict[str, Any]) -> str | None:
    """The guard: what to tell the owner if the plan is dearer than allowed, else None."""
    hours, limit = plan["totals"]["accelerator_hours"], plan["assumptions"]["max_accelerator_hours"]
    if hours <= limit:
        return None
    return (
        f"ladder {plan['ladder']!r} needs {hours:,.2f} accelerator-hours, its plan.max_accelerator_hours is "
        f"{limit:g}: make it smaller (rungs, budgets, seeds), or raise plan.max_accelerator_hours"
    )


def _row(
    ladder: Ladder, run: RunSpec, rate: float, price: float | None, n_accelerators: int, trained: float
) -> dict[str, Any]:
    count = parameters(run.model)
    flops = training_flops(run.model, run.recipe)
    # Training at the assumed rate on all of the run's accelerators, which also wait through start-up.
    seconds = trained / (rate * n_accelerators) + ladder.plan.overhead_seconds_per_run
    hours = seconds * n_accelerators / 3600
    return {
        "id": run.id,
        "variant": run.variant,
        "rung": run.rung,
        "budget": run.budget,
        "seed": run.seed,
        "depth": run.model.n_layers,
        "d_model": run.model.d_model,
        "parameters_total": count.total,
        "parameters_active": count.active,
        "parameters_active_non_embedding": count.active_non_embedding,
        "learning_rate": run.optimizer.learning_rate,
        "batch_sequences": run.recipe.phases[-1].sequences,
        "steps": run.recipe.steps,
        "positions": run.recipe.positions,
        "tokens": run.recipe.tokens,
        "flops": flops,
        "flops_trained": trained,
        "accelerators": n_accelerators,
        "seconds": seconds,
        "accelerator_hours": hours,
        "price": None if price is None else hours * price,
        "disk_bytes": CHECKPOINTS_KEPT * CHECKPOINT_BYTES_PER_PARAMETER * count.total,
    }


def _wall_hours(ladder: Ladder, rows: list[dict[str, Any]]) -> float:
    """Longest runs first onto the machine slots that are free soonest."""
    slots = [0.0] * ladder.execution.parallel_runs
    for row in sorted(rows, key=lambda row: row["seconds"], reverse=True):
        slots[slots.index(min(slots))] += row["seconds"]
    return max(slots) / 3600
