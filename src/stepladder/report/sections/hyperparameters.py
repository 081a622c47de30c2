"""What the rules of hyperparameters come to on each rung."""

from __future__ import annotations

from collections.abc import Mapping

from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.record.plan import Plan, PlannedRun


def hyperparameters_table(plan: Plan, rates: Mapping[str, float] | None = None) -> Table:
    """One line per rung, budget and numbers, in the order of the plan; seeds, and variants that train alike,
    are one line, and runs of a sweep or swarm are left out.

    Args:
        rates: peaks of finished runs by id; without them a rate that waited for a sweep is a dash.
    """
    found = rates or {}
    variants = {run.variant for run in plan.runs if run.proper}
    groups: dict[tuple[str, ...], list[str]] = {}
    for run in plan.runs:
        if run.proper:
            members = groups.setdefault(_numbers(run, found.get(run.id, run.learning_rate)), [])
            if run.variant not in members:
                members.append(run.variant)
    rows = [
        [rung, budget, "all" if set(members) == variants else ", ".join(members), *rest]
        for (rung, budget, *rest), members in groups.items()
    ]
    return table(
        [
            *("<Rung", "<Budget", "<Variants", "Peak LR", "Batch", "β₂", "ε", "Weight decay"),
            *("τ", "Warmup", "~Last LR"),
        ],
        rows,
        title="Hyperparameters",
        note="Batch: sequences per step. Warmup: steps, and their share of all. Last LR: over the peak. τ: "
        "share of a run that a weight averages its updates over, 1 / (peak LR × weight decay × steps). "
        f"{fmt.MISSING}: not known, or without decay.",
    )


def _numbers(run: PlannedRun, rate: float | None) -> tuple[str, ...]:
    """The line of a run but for its variant."""
    warmup = fmt.MISSING
    if run.warmup_steps is not None:
        warmup = f"{fmt.whole(run.warmup_steps)} ({fmt.significant(100 * run.warmup_steps / run.steps, 2)} %)"
    tau = None
    if rate and run.weight_decay:
        tau = 1 / (rate * run.weight_decay * run.steps)
    return (
        run.rung,
        run.budget,
        fmt.general(rate),
        fmt.whole(run.batch_sequences),
        fmt.significant(run.beta2, 6).rstrip("0") if run.beta2 else fmt.MISSING,
        fmt.general(run.epsilon),
        fmt.general(run.weight_decay),
        fmt.significant(tau),
        warmup,
        fmt.significant(run.final_share),
    )
