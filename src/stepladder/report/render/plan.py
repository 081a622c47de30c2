"""The plan as a table in the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from stepladder.display.numbers import si
from stepladder.display.terminal import MIN_WIDTH
from stepladder.ladder.plan import over_limit


def print_plan(plan: dict[str, Any]) -> None:
    """Print one line per rung, variant and budget, then the totals and what they assume."""
    terminal = Console()
    console = Console(width=max(terminal.width, MIN_WIDTH))
    console.print(f"[bold]{plan['ladder']}[/] v{plan['version']}: {plan['question']}", highlight=False)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("rung")
    table.add_column("variant")
    for name in ("budget", "runs", "N active", "N total", "steps", "tokens", "FLOPs/run", "acc.-hours"):
        table.add_column(name, justify="right")
    for rows in _groups(plan["runs"]):
        row = rows[0]
        table.add_row(
            row["rung"],
            row["variant"],
            row["budget"] + (" sweep" if row["sweep"] else ""),
            str(len(rows)),
            si(row["parameters_active_non_embedding"]),
            si(row["parameters_total"]),
            f"{row['steps']:,}",
            si(row["tokens"]),
            f"{row['flops']:.2e}",
            f"{sum(r['accelerator_hours'] for r in rows):,.3g}",
        )
    console.print(table)
    totals, assumptions = plan["totals"], plan["assumptions"]
    price = "price unset (price_per_hour in configs/hardware.yaml, or plan.price_per_accelerator_hour)"
    if totals["price"] is not None:
        price = f"{totals['price']:,.2f} {totals['price_currency']}"
    console.print(
        f"{totals['runs']} runs, {totals['flops']:.3e} FLOPs, {totals['accelerator_hours']:,.3g} "
        f"accelerator-hours (limit {assumptions['max_accelerator_hours']:g}), about "
        f"{duration(totals['wall_hours'])} with {assumptions['parallel_runs']} runs at a time, {price}, "
        f"{si(totals['disk_bytes'])}B of checkpoints",
        highlight=False,
    )
    whole = totals["flops_if_independent"]
    if whole > totals["flops"] * 1.000001:
        console.print(
            f"Trunks are trained once: {1 - totals['flops'] / whole:.0%} less than the {whole:.3e} FLOPs of "
            "independent runs. FLOPs/run: of all steps from the first on.",
            highlight=False,
        )
    console.print(
        f"Assumed: {assumptions['speed']}, {assumptions['overhead_seconds_per_run']:g} s overhead a run. "
        "N active: parameters one token uses, without embedding and head.",
        highlight=False,
        style="dim",
    )
    if problem := over_limit(plan):
        console.print(f"[bold red]It will not start:[/] {problem}", highlight=False)


def duration(hours: float) -> str:
    """Hours as minutes below two hours, as days above two days."""
    if hours < 2:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def _groups(runs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Seeds and learning rates together."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        key = (run["rung"], run["variant"], run["budget"], run["sweep"], run["steps"])
        groups.setdefault(key, []).append(run)
    return list(groups.values())
