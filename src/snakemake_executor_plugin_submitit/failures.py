"""What a person reads when a job failed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from snakemake_executor_plugin_submitit.payload import EXIT_STALLED
from snakemake_executor_plugin_submitit.records import Record
from snakemake_executor_plugin_submitit.states import EXPLAINED, State

LINES = 30
"""Lines of log in a message."""
_TAIL_BYTES = 16_384
_MEMORY = re.compile(r"^slurmstepd.*(memory limit|oom.kill)", re.IGNORECASE)
"""Not every configuration of Slurm has the state OUT_OF_MEMORY; all say it in the log."""
_FAILED_TASK = re.compile(r"^srun: error: .*?task[s]? (\d+)", re.MULTILINE)


def describe(
    name: str, job_id: str, state: State, record: Record, log: Path, rule_logs: Iterable[str]
) -> str:
    """Job, node, state, exit status, what to do about it, and the last lines of its log."""
    start, end = record.last("start"), record.last("end")
    node = (start or {}).get("node") or state.node or "no node"
    status = end["exit"] if end else state.exit_status
    head = f"{name}: job {job_id} on {node}, {state.name}"
    if status:
        head += f", exit status {status}"
    advice = _advice(state, status, tail(log))
    parts = [head + (f": {advice}" if advice else "")]
    restarts = sum(event["event"] == "start" for event in record.events()) - 1
    if restarts > 0:
        parts.append(
            f"It had been started {restarts + 1} times; progress: {record.progress() or 'none reported'}."
        )
    for path in logs_to_show(log, record, rule_logs):
        lines = tail(path)
        if lines:
            parts.append(f"Last lines of {path}:\n" + "\n".join(f"    {line}" for line in lines))
    return "\n".join(parts) + "\n"


def _advice(state: State, status: int | None, log: list[str]) -> str:
    """What the state means and what to do; empty if Slurm knows no more than that the command failed."""
    if status == EXIT_STALLED:
        return "restarted too often without progress (--submitit-stalled-restarts)"
    name = "OUT_OF_MEMORY" if any(_MEMORY.search(line) for line in log) else state.name
    reason = "" if state.reason in ("NonZeroExitCode", "RaisedSignal") else state.reason
    advice = EXPLAINED.get(name, "")
    return f"{advice} ({reason})" if advice and reason else advice or reason


def logs_to_show(log: Path, record: Record, rule_logs: Iterable[str]) -> list[Path]:
    """The rule's own logs, else the job's, and the log of the rank that failed first, if it has ranks."""
    own = [Path(path) for path in rule_logs if Path(path).is_file()]
    shown = own or [log]
    match = _FAILED_TASK.search("\n".join(tail(log, 200)))
    if match:
        shown.append(record.path.with_name(f"{record.path.stem}_rank{match[1]}.log"))
    return shown


def tail(path: Path, lines: int = LINES) -> list[str]:
    """Last lines of a text file; none if it is missing."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if not line.startswith("submitit ")][-lines:]
