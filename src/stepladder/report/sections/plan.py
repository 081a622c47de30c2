"""The plan in tables and sentences: what a ladder would run and what it would cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.record.plan import Plan, PlannedRun
from stepladder.report.sections.hyperparameters import hyperparameters_table
from stepladder.report.sections.mixture import mixture_table


def plan_context(plan: Plan) -> dict[str, Any]:
    """What plan.typ prints: sentences and tables; `tells` is what `sections.power` says, if anything."""
    return {
        "title": f"Plan of {name(plan)}",
        "name": name(plan),
        "question": plan.question,
        "tells": "",
        "answer": answer(plan),
        "trunks": trunk_sentence(plan),
        "passes": passes_sentence(plan),
        "notes": list(plan.notes),
        "over_epochs": plan.over_epochs,
        "over_limit": plan.over_limit,
        "tables": [
            totals_table(plan),
            rungs_table(plan),
            *mixture(plan),
            hyperparameters_table(plan),
            assumptions_table(plan),
        ],
    }


def name(plan: Plan) -> str:
    """The ladder with its version."""
    return f"{plan.ladder} · version {plan.version}"


def answer(plan: Plan) -> str:
    """The plan in a sentence: runs, compute, hours, price."""
    totals = plan.totals
    price = "" if totals.price is None else f", for {fmt.money(totals.price, totals.price_currency)}"
    return (
        f"{len(plan.runs)} runs would train {fmt.flops(totals.flops)} in "
        f"{fmt.significant(totals.accelerator_hours)} accelerator-hours, "
        f"{fmt.duration(3600 * totals.wall_hours)} on the clock{price}."
    )


def trunk_sentence(plan: Plan) -> str:
    """What trunks save; empty for a ladder without."""
    if not any(run.trunk for run in plan.runs):
        return ""
    whole, trained = plan.totals.flops_if_independent, plan.totals.flops
    return (
        f"Budgets share trunks: {fmt.flops(trained)} are trained in place of {fmt.flops(whole)}, "
        f"{fmt.percent(1 - trained / whole)} less. Each run counts in full in laws and gains."
    )


def passes_sentence(plan: Plan) -> str:
    """How often runs read their text, or that it is not known yet."""
    if any(run.passes is None for run in plan.runs if not run.mixed):
        return "How often each run reads its text is known when the data are prepared: then plan again."
    if plan.repeats is None:
        return "No run reads its training text more than once."
    return f"{plan.repeats}: gains of arms that repeat their text more than others are of repetition, too."


def mixture(plan: Plan) -> list[Table]:
    """The table of the mixture, if there is one."""
    found = mixture_table(plan)
    return [] if found is None else [found]


def totals_table(plan: Plan) -> Table:
    """What the ladder costs in all."""
    totals, assumed = plan.totals, plan.assumptions
    price = f"{fmt.MISSING} (no price_per_hour in configs/hardware.yaml, nor in the ladder's plan)"
    if totals.price is not None:
        price = fmt.money(totals.price, totals.price_currency)
    rows = [
        ["Runs", fmt.whole(totals.runs)],
        ["Model FLOPs (causal count)", fmt.flops(totals.flops)],
        [
            "Accelerator-hours",
            f"{fmt.significant(totals.accelerator_hours)} (limit {assumed.max_accelerator_hours:g})",
        ],
        ["Wall time", f"{fmt.duration(3600 * totals.wall_hours)} ({assumed.parallel_runs} runs at a time)"],
        ["Price", price],
        ["Disk for checkpoints", fmt.bytes_(totals.disk_bytes)],
    ]
    return table(["<", "<"], rows, title="What it costs")


def rungs_table(plan: Plan) -> Table:
    """One line per rung, variant and budget, in the order of rungs; seeds, learning rates of a sweep and
    mixtures of a swarm are added up."""
    groups: dict[tuple[str, str, str, int], list[PlannedRun]] = {}
    for run in plan.runs:
        budget = f"{run.budget} sweep" if run.sweep else run.budget
        variant = "drawn mixtures" if run.swarm else run.variant
        groups.setdefault((run.rung, variant, budget, run.steps), []).append(run)
    rungs = list(dict.fromkeys(run.rung for run in plan.runs))
    currency = plan.totals.price_currency if plan.totals.price is not None else None
    known = any(run.passes is not None for run in plan.runs)
    rows = []
    for (rung, variant, budget, _), members in sorted(groups.items(), key=lambda g: rungs.index(g[0][0])):
        first = members[0]
        row = [
            rung,
            variant,
            budget,
            fmt.whole(len(members)),
            fmt.count(first.parameters_total),
            fmt.count(first.parameters_active),
            fmt.count(first.parameters_active_non_embedding),
            fmt.count(first.tokens),
            *([fmt.significant(_most(run.passes for run in members), 2)] if known else []),
            fmt.whole(first.steps),
            fmt.flops(first.flops),
            fmt.significant(sum(run.accelerator_hours for run in members)),
        ]
        rows.append([*row, fmt.money(_sum(run.price for run in members), None)] if currency else row)
    price = [f"Price ({currency})"] if currency else []
    return table(
        [
            *("<Rung", "<Variant", "<Budget", "Runs", "~Total", "~Active", "N", "Tokens"),
            *(["Passes"] if known else []),
            *("Steps", "FLOPs", "Hours", *price),
        ],
        rows,
        title="Rungs",
        note="Total, active: parameters with embedding and head; N: active without them. Tokens (raw text "
        "read), passes over the text, steps and FLOPs (of all steps from the first on) are of one "
        "run; accelerator-hours" + (" and price are" if currency else " are") + " of all runs of the line.",
    )


def assumptions_table(plan: Plan) -> Table:
    """What times and prices rest on."""
    assumed = plan.assumptions
    per_run = assumed.accelerators_per_run
    counts = set(per_run.values())
    each = ", ".join(f"{count} at {rung}" for rung, count in per_run.items())
    if len(counts) == 1:
        each = str(counts.pop())
    rows = [
        ["Accelerator", assumed.accelerator],
        ["Accelerators per run", each],
        ["Speed", assumed.speed],
        ["FLOPs formula", assumed.flops_formula],
        ["Overhead per run", fmt.duration(assumed.overhead_seconds_per_run)],
        [
            "Price per accelerator-hour",
            fmt.money(assumed.price_per_accelerator_hour, plan.totals.price_currency),
        ],
    ]
    return table(["<", "<"], rows, title="Assumptions")


def _most(values: Iterable[float | None]) -> float | None:
    """The largest, or None when a value is unknown."""
    known = list(values)
    return None if None in known else max(value for value in known if value is not None)


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum, or None when a value is unknown."""
    known = list(values)
    return sum(value for value in known if value is not None) if None not in known else None
