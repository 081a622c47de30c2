"""A status as tables for a terminal, and as JSON."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stepladder.display.numbers import duration
from stepladder.status.model import STATES, Row, RunState, RunStatus, Status

COLOURS = {
    "done": "green",
    "running": "cyan",
    "pending": "yellow",
    "stopped": "magenta",
    "failed": "red",
    "stale": "magenta",
}


def as_json(status: Status) -> str:
    """Everything, with units in the field names as `Status` and `RunStatus` document them."""
    return json.dumps(asdict(status), indent=1)


def render(status: Status, every_run: bool = False) -> RenderableType:
    """Counts by rung and variant, then what needs a word of its own."""
    parts: list[RenderableType] = [counts_table(status)]
    if every_run:
        parts += [line(run, status.time) for run in status.runs]
    else:
        parts += [line(run, status.time) for run in status.runs if run.state in ("running", "failed")]
        parts += grouped(status.runs)
    return Group(*parts, *closing(status))


def counts_table(status: Status) -> Table:
    """One row per rung and variant; columns of states that no run is in are left out."""
    shown = [state for state in STATES if state in ("done", "running") or status.total.counts[state]]
    table = Table(
        title=f"{status.ladder} v{status.version}",
        title_justify="left",
        caption="hours are accelerator-hours",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("rung")
    table.add_column("variant", no_wrap=True)
    for name in (*shown, "hours used", "of plan"):
        table.add_column(name, justify="right")
    for row in status.rows:
        table.add_row(row.rung, row.variant, *cells(row, shown))
    table.add_section()
    table.add_row("all", "", *cells(status.total, shown), style="bold")
    return table


def cells(row: Row, shown: list[RunState]) -> list[str]:
    """Counts by state, then hours."""
    others = [str(row.counts[state] or "·") for state in shown[1:]]
    return [f"{row.counts['done']}/{row.runs}", *others, hours(row.used_hours), hours(row.planned_hours)]


def hours(value: float) -> str:
    """Accelerator-hours, three digits."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


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
        said.append(f"step {run.steps_done:,}/{run.steps:,}")
    if run.tokens_per_second and run.state in ("running", "done"):
        said.append(f"{run.tokens_per_second / 1e3:,.1f}k tok/s")
    if run.mfu is not None and run.state in ("running", "done"):
        said.append(f"MFU {run.mfu:.0%}")
    if run.eta_seconds is not None:
        said.append(f"{duration(run.eta_seconds)} left")
    if run.loss is not None:
        said.append(f"loss {run.loss:.4f}")
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
        said.append(f"silent for {duration(now - run.last_event)}")
    if run.state == "failed" and run.log:
        said.append(run.log)
    return said


def grouped(runs: list[RunStatus]) -> list[Text]:
    """Runs that wait, stopped or are stale: how many for which reason."""
    lines = []
    for state in ("pending", "stopped", "stale"):
        reasons = Counter(run.reason or "no reason known" for run in runs if run.state == state)
        for reason, count in reasons.most_common():
            text = Text(f"{state:8}", COLOURS[state])
            lines.append(text.append(f"{count} runs: {reason}", "dim"))
    return lines


def closing(status: Status) -> list[Text]:
    """What is left, and what could not be asked."""
    lines = []
    if status.done:
        lines.append(Text("done", "green"))
    else:
        pace = "" if status.pace is None else f", at {status.pace:.2g} times the plan's hours so far"
        wall = "unknown time" if status.wall_seconds is None else f"about {duration(status.wall_seconds)}"
        use = f"{status.accelerators_in_use} in use" if status.accelerators_in_use else "nothing running"
        lines.append(
            Text(f"{hours(status.left_hours)} accelerator-hours left{pace}; {wall} to the end ({use})")
        )
    if status.slurm:
        lines.append(Text(status.slurm, "yellow"))
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status.time))
    return [*lines, Text(clock, "dim")]
