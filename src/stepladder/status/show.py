"""A status as tables for a terminal, and as JSON."""

from __future__ import annotations

import json
import time
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.text import Text

from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.display.terminal import Shown
from stepladder.status.model import STATES, Row, RunState, RunStatus, Status

COLOURS = {
    "done": "green",
    "running": "cyan",
    "pending": "yellow",
    "stopped": "magenta",
    "failed": "red",
    "stale": "magenta",
    "spared": "dim",
}


def as_json(status: Status) -> str:
    """Everything, with units in the field names as `Status` and `RunStatus` document them."""
    return json.dumps(asdict(status), indent=1)


def render(status: Status, every_run: bool = False) -> RenderableType:
    """Counts by rung and variant, then what needs a word of its own."""
    parts: list[RenderableType] = [Shown(counts_table(status)), Text("")]
    if every_run:
        parts += [line(run, status.time) for run in status.runs]
    else:
        parts += [line(run, status.time) for run in status.runs if run.state in ("running", "failed")]
        parts += grouped(status)
    return Group(*parts, *closing(status))


def counts_table(status: Status) -> Table:
    """One row per rung and variant; columns of states that no run is in are left out."""
    shown = [state for state in STATES if state in ("done", "running") or status.total.counts[state]]
    rows = [[row.rung, row.variant, *cells(row, shown)] for row in status.rows]
    return table(
        ["<Rung", "<Variant", *(state.capitalize() for state in shown), "Acc.-hours", "~Planned"],
        [*rows, ["All", "", *cells(status.total, shown)]],
        total=True,
        title=f"{status.ladder} v{status.version}",
        note="Accelerator-hours used so far, and planned.",
    )


def cells(row: Row, shown: list[RunState]) -> list[str]:
    """Counts by state, then hours."""
    others = [str(row.counts[state] or "·") for state in shown[1:]]
    hours = [fmt.significant(value) for value in (row.used_hours, row.planned_hours)]
    return [f"{row.counts['done']}/{row.runs}", *others, *hours]


def line(run: RunStatus, now: float) -> Text:
    """One run in a line; never cut, so that ids can be copied."""
    text = Text(overflow="fold")
    text.append(f"{run.state:8}", COLOURS[run.state])
    text.append(run.id)
    text.append("  " + "  ".join(details(run, now)), "dim")
    return text


def details(run: RunStatus, now: float) -> list[str]:
    """What there is to say, most telling first."""
    said = []
    if run.state in ("running", "stopped") and run.steps_done:
        said.append(f"step {fmt.whole(run.steps_done)}/{fmt.whole(run.steps)}")
    if run.tokens_per_second and run.state in ("running", "done"):
        said.append(f"{fmt.count(run.tokens_per_second)} tok/s")
    if run.mfu is not None and run.state in ("running", "done"):
        said.append(f"MFU {fmt.percent(run.mfu)}")
    if run.eta_seconds is not None:
        said.append(f"{fmt.duration(run.eta_seconds)} left")
    if run.loss is not None:
        said.append(f"loss {fmt.fixed(run.loss, 4)}")
    if run.passes is not None and run.passes > 1:
        read = run.passes_by_domain or {}
        most = max(read, key=read.__getitem__, default="")
        said.append(f"{fmt.significant(run.passes)} passes over its text" + (f" ({most})" if most else ""))
    if run.reason:
        said.append(run.reason)
    if run.exit_status:
        said.append(f"exit status {run.exit_status}")
    if run.job and run.state != "done":
        place = f" on {run.node}" if run.node and run.state != "pending" else ""
        said.append(f"job {run.job}{place}")
    if run.restarts:
        said.append(f"{run.restarts} restart{'s' * (run.restarts > 1)}")
    if run.state == "stopped" and run.last_event:
        said.append(f"last sign of life {fmt.duration(now - run.last_event)} ago")
    if run.state == "failed" and run.log:
        said.append(run.log)
    return said


def grouped(status: Status) -> list[Text]:
    """Runs that wait, stopped or are stale: how many for which reason."""
    lines = []
    for state in ("pending", "stopped", "stale"):
        groups: dict[str, list[RunStatus]] = {}
        for run in status.runs:
            if run.state == state:
                groups.setdefault(run.reason, []).append(run)
        for reason, runs in sorted(groups.items(), key=lambda group: -len(group[1])):
            said = [reason] if reason else []
            said += stopped_since(runs, status.time) if state == "stopped" else []
            count = f"{len(runs)} run{'s' * (len(runs) > 1)}"
            text = Text(f"{state:8}", COLOURS[state])
            lines.append(text.append(": ".join(filter(None, [count, "; ".join(said)])), "dim"))
    return lines


def stopped_since(runs: list[RunStatus], now: float) -> list[str]:
    """When runs that stopped were last heard of, and what to do."""
    heard = [run.last_event for run in runs if run.last_event is not None]
    last = [f"last sign of life {fmt.duration(now - max(heard))} ago"] if heard else []
    return [*last, "the next `snakemake` goes on from what was saved"]


def closing(status: Status) -> list[Text]:
    """What is left, and what could not be asked."""
    lines = []
    if status.done:
        lines.append(Text("done", "green"))
    else:
        pace = ""
        if status.pace is not None:
            pace = f", at {fmt.significant(status.pace, 2)} times the plan's hours so far"
        wall = "unknown time"
        if status.wall_seconds is not None:
            wall = f"about {fmt.duration(status.wall_seconds)}"
        use = f"{status.accelerators_in_use} in use" if status.accelerators_in_use else "nothing running"
        left = fmt.significant(status.left_hours)
        lines.append(Text(f"{left} accelerator-hours left{pace}; {wall} to the end ({use})"))
    if repeated := [run.passes for run in status.runs if run.passes is not None and run.passes > 1]:
        most = fmt.significant(max(repeated))
        text = (
            f"{len(repeated)} of {len(status.runs)} runs read their text more than once, up to {most} times"
        )
        lines.append(Text(text, "yellow"))
    if status.slurm:
        lines.append(Text(status.slurm, "yellow"))
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status.time))
    return [*lines, Text(clock, "dim")]
