"""The ledger of MFU as tables in the terminal."""

from __future__ import annotations

import time
from itertools import groupby

from rich.console import Console
from rich.table import Table

from stepladder.display import numbers as fmt
from stepladder.display.numbers import si
from stepladder.display.terminal import MIN_WIDTH
from stepladder.status.versions import Version

COLUMNS = (
    "first run (UTC)",
    "commit",
    "runs",
    "MFU [p10, p90]",
    "PaLM",
    "tokens/s",
    "ms/step",
    "goodput",
    "memory",
    "change",
)


def print_ledger(versions: list[Version], silent: int) -> None:
    """Print a table per variant, rung and machine.

    Args:
        silent: runs whose logs tell no figures.
    """
    console = Console(highlight=False, soft_wrap=True, width=max(Console().width, MIN_WIDTH))
    for (variant, rung, machine), group in groupby(versions, lambda v: (v.variant, v.rung, v.machine)):
        console.print(f"[bold]{variant} {rung}[/] on {machine}")
        console.print(_table(list(group)))
    if not versions:
        console.print("no run that ended tells its figures")
    if silent:
        text = f"{silent} runs of older versions told no figures: left out"
        console.print(text, style="dim")
    if any(version.mfu is None for version in versions):
        console.print(
            "No MFU where no peak is known: tokens/s are compared there. The peak of a GPU belongs into "
            "configs/hardware.yaml; that of a CPU is measured by `stepladder calibrate`.",
            style="yellow",
        )
    console.print(
        "MFU: causal count, median over steps, then over runs; PaLM: with the full square of attention. "
        "change: factor on MFU, or on tokens/s where no peak is known. +: uncommitted changes.",
        style="dim",
    )


def _table(versions: list[Version]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in COLUMNS[:2] else "right", header_style="dim")
    table.add_column("what changed", justify="left", header_style="dim", overflow="fold")
    for version in versions:
        table.add_row(
            time.strftime("%Y-%m-%d %H:%M", time.gmtime(version.time)),
            version.commit,
            str(version.runs),
            _mfu(version),
            fmt.percent(version.mfu_palm) if version.mfu_palm is not None else fmt.MISSING,
            si(version.tokens_per_second),
            " / ".join(f"{value:.3g}" for value in version.step_milliseconds.values()),
            fmt.percent(version.goodput),
            f"{si(version.peak_memory_bytes)}B",
            fmt.MISSING if version.change is None else f"× {version.change:.2f}",
            "; ".join(version.what),
        )
    return table


def _mfu(version: Version) -> str:
    if version.mfu is None or version.mfu_low is None or version.mfu_high is None:
        return fmt.MISSING
    return f"{version.mfu:.1%} [{version.mfu_low:.1%}, {version.mfu_high:.1%}]"
