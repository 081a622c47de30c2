"""The Slurm jobs of runs: found in what the executor wrote down, and asked about in one question."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit import states
from snakemake_executor_plugin_submitit.failures import tail
from snakemake_executor_plugin_submitit.records import Record
from snakemake_executor_plugin_submitit.states import QueueUnreachable, State
from snakemake_executor_plugin_submitit.submissions import Submission, all_submissions, log_file
from stepladder.status.model import Job

_MESSAGE = re.compile(r"(?!srun:|slurmstepd:)[A-Za-z_][\w.]*: .")
"""The last line of a traceback, or a command's own error: `ValueError: ...`, `stepladder: ...`."""

Found = dict[str, tuple[Submission, int]]
"""Output to the newest submission that makes it, and its index there."""


def newest_submissions(submissions: Iterable[Submission] | None = None) -> Found:
    """The newest submission of every output that was ever submitted from this folder."""
    found = {}
    every = all_submissions() if submissions is None else submissions
    for submission in sorted(every, key=lambda one: one.time):
        for index, entry in enumerate(submission.entries):
            for output in entry.outputs:
                found[output] = (submission, index)
    return found


def read_job(submission: Submission, index: int) -> Job:
    """What the folder of a submission tells of one job, Slurm unasked."""
    task = submission.task_id(index) if submission.job_id else None
    record = Record(submission.entries[index].record)
    events = record.events()
    start = _last_of(events, "start")
    last = _last_of(events, "start", "end", "requeue")
    end = last if last.get("event") == "end" else {}
    return Job(
        id=task,
        log=_shown(log_file(submission, index)) if task else "",
        starts=sum(event["event"] == "start" for event in events),
        node=start.get("node", ""),
        started=start.get("time"),
        ended=end.get("time"),
        exit_status=end.get("exit"),
        saved=bool(start) and start.get("progress") != record.progress(),
    )


def _last_of(events: list[dict[str, Any]], *kinds: str) -> dict[str, Any]:
    """The last event of these kinds; empty if there is none."""
    return next((event for event in reversed(events) if event["event"] in kinds), {})


def ask_slurm(found: Iterable[tuple[Submission, int]]) -> tuple[dict[str, State] | None, str | None]:
    """States of these jobs by one question.

    Returns:
        States by id, or None if Slurm could not be asked; and what is wrong then, in a line.
    """
    wanted = [
        submission.task_id(index)
        for submission, index in found
        if submission.cluster == "slurm" and submission.job_id
    ]
    try:
        return states.query(wanted), None
    except FileNotFoundError:
        return None, "there is no squeue here: this is what files tell"
    except (QueueUnreachable, OSError) as error:
        reason = " ".join(str(error).split())
        return None, f"Slurm does not answer, this is what files tell ({reason})"


def with_state(job: Job, known: dict[str, State] | None) -> Job:
    """The job with what Slurm said of it."""
    if known is None:
        return job
    return replace(job, answered=True, state=known.get(job.id or ""))


def error_line(log: Path) -> str:
    """The line of a log that says what went wrong: the last error message, else the last line."""
    lines = [line.strip() for line in tail(log) if line.strip()]
    messages = [line for line in lines if _MESSAGE.match(line)]
    return (messages or lines or [""])[-1]


def _shown(path: Path) -> str:
    """Relative to this folder where it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
