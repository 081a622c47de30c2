"""The plan in print: what a ladder would run and what it would cost."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stepladder.display import numbers as fmt
from stepladder.display.table import table
from stepladder.report.render.typst import typeset


def build_plan_pdf(plan: dict[str, Any], out: Path) -> Path:
    """Write the plan (the contents of plan.json) as a PDF of a page or two.

    Returns:
        `out`.
    """
    return typeset("plan.typ", plan_context(plan), {}, out)


def plan_context(plan: dict[str, Any]) -> dict[str, Any]:
    """What plan.typ prints, as strings."""
    totals, runs = plan["totals"], plan["runs"]
    currency = totals.get("price_currency")
    price, hours = fmt.money(totals.get("price"), currency), totals.get("accelerator_hours")
    name = f"{plan['ladder']} · version {plan['version']}"
    wall = totals.get("wall_hours")
    cost = (
        f"{fmt.significant(hours)} accelerator-hours"
        if fmt.is_number(hours)
        else "an unknown number of hours"
    )
    answer = f"{len(runs)} runs would train {fmt.flops(totals.get('flops'))} in {cost}"
    if fmt.is_number(wall):
        answer += f", {fmt.duration(3600 * wall)} on the clock"
    if price != fmt.MISSING:
        answer += f", for {price}"
    rows = [
        ["Runs", fmt.count(totals.get("runs", len(runs)))],
        ["Model FLOPs (causal count)", fmt.flops(totals.get("flops"))],
        ["Accelerator-hours", fmt.significant(hours)],
        ["Wall time", fmt.duration(3600 * wall) if fmt.is_number(wall) else fmt.MISSING],
        ["Price", price if price != fmt.MISSING else f"{price} (no price per hour is set)"],
        ["Disk", fmt.bytes_(totals.get("disk_bytes"))],
    ]
    return {
        "title": f"Plan of {name}",
        "name": name,
        "question": plan.get("question", ""),
        "stamp": plan.get("date", ""),
        "answer": answer + ".",
        "totals": table(["<", ""], rows),
        "rungs": _rungs(runs, currency),
        "assumptions": table(
            ["<Assumption", "<<Value"],
            [[_words(k), _value(v)] for k, v in plan.get("assumptions", {}).items()],
        ),
        "warnings": list(plan.get("warnings", [])),
    }


def _rungs(runs: list[dict[str, Any]], currency: str | None) -> dict[str, Any]:
    """One line per rung, variant and budget; seeds and learning rates of a sweep are added up."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for run in runs:
        budget = f"{run['budget']} sweep" if run["sweep"] else str(run["budget"])
        groups.setdefault((run["rung"], run["variant"], budget), []).append(run)
    rows = []
    rungs = list(dict.fromkeys(run["rung"] for run in runs))
    for (rung, variant, budget), members in sorted(groups.items(), key=lambda item: rungs.index(item[0][0])):
        first = members[0]
        rows.append(
            [
                rung,
                variant,
                budget,
                str(len(members)),
                fmt.count(first["parameters_total"]),
                fmt.count(first["parameters_active"]),
                fmt.count(first["parameters_active_non_embedding"]),
                fmt.count(first["tokens"]),
                fmt.whole(first["steps"]),
                fmt.flops(first["flops"]),
                fmt.significant(_sum(m.get("accelerator_hours") for m in members)),
                fmt.money(_sum(m.get("price") for m in members), None),
            ]
        )
    return table(
        [
            "<Rung",
            "<Variant",
            "Budget",
            "Runs",
            "Total",
            "Active",
            "N",
            "Tokens",
            "Steps",
            "FLOPs",
            "Hours",
            f"Price ({currency})" if currency else "Price",
        ],
        rows,
    )


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum, or None when a value is unknown."""
    known = list(values)
    return sum(known) if all(fmt.is_number(v) for v in known) else None


def _words(key: str) -> str:
    """A key of plan.json as a reader sees it."""
    return (key[0].upper() + key[1:]).replace("_", " ").replace("Flops", "FLOPs")


def _value(value: Any) -> str:
    if value is None:
        return f"{fmt.MISSING} (not set)"
    return fmt.significant(value) if isinstance(value, float) else str(value)
