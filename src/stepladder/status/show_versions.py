"""The ledger of MFU as tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import groupby

from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.display.terminal import plain, show
from stepladder.status.versions import Version

COLUMNS = (
    "<First run (UTC)",
    "<Commit",
    "Runs",
    "MFU [p10, p90]",
    "~PaLM",
    "Tokens/s",
    "ms/step",
    "~Goodput",
    "~Memory",
    "Change",
    "<<What changed",
)


def print_ledger(versions: list[Version], silent: int) -> None:
    """Print a table per variant, rung and machine.

    Args:
        silent: runs whose logs tell no figures.
    """
    show(*ledger_tables(versions))
    if not versions:
        show("no run that ended tells its figures")
    if silent:
        show(plain(f"{silent} runs of older versions told no figures: left out", "dim"))
    if any(version.mfu is None for version in versions):
        text = (
            "No MFU where no peak is known: tokens/s are compared there. The peak of a GPU belongs into "
            "configs/hardware.yaml; that of a CPU is measured by `stepladder calibrate`."
        )
        show(plain(text, "yellow"))
    text = (
        "MFU: causal count, median over steps, then over runs; PaLM: with the full square of attention. "
        "Change: factor on MFU, or on tokens/s where no peak is known. +: uncommitted changes."
    )
    show(plain(text, "dim"))


def ledger_tables(versions: list[Version]) -> Iterator[Table]:
    """A table of versions, oldest first, for each variant, rung and machine."""
    for (variant, rung, machine), group in groupby(versions, lambda v: (v.variant, v.rung, v.machine)):
        yield table(COLUMNS, list(map(_row, group)), title=f"{variant} {rung} on {machine}")


def _row(version: Version) -> list[str]:
    return [
        time.strftime("%Y-%m-%d %H:%M", time.gmtime(version.time)),
        version.commit,
        str(version.runs),
        _mfu(version),
        fmt.percent(version.mfu_palm),
        fmt.count(version.tokens_per_second),
        " / ".join(map(fmt.significant, version.step_milliseconds.values())),
        fmt.percent(version.goodput),
        fmt.bytes_(version.peak_memory_bytes),
        fmt.MISSING if version.change is None else f"× {fmt.fixed(version.change, 2)}",
        "; ".join(version.what),
    ]


def _mfu(version: Version) -> str:
    if version.mfu is None or version.mfu_low is None or version.mfu_high is None:
        return fmt.MISSING
    return f"{fmt.interval(100 * version.mfu, 100 * version.mfu_low, 100 * version.mfu_high, 1)} %"
