"""What is to be done about a job, from its state and its record. Asks no clock and no cluster."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_submitit.payload import EXIT_SAVED
from snakemake_executor_plugin_submitit.records import Record
from snakemake_executor_plugin_submitit.resources import Shape
from snakemake_executor_plugin_submitit.states import INTERRUPTED, State
from snakemake_executor_plugin_submitit.submissions import Submission


@dataclass
class Ready:
    """A job about to be submitted."""

    job: JobExecutorInterface
    name: str
    """Rule and wildcards, for people."""
    shape: Shape
    command: list[str]
    direct: bool
    """Whether the command is the job's own, and not a Snakemake."""
    digest: str
    """Of what is to be run."""
    record: str = ""
    """Of an earlier submission of the same job, when it is submitted again."""
    after: str = ""
    """Record of an earlier submission with another command."""


@dataclass
class Tracked:
    """A submitted job."""

    ready: Ready
    submission: Submission
    index: int
    was: State | None = None
    """State at the last query."""
    doubts: int = 0
    """Queries in a row that said it was interrupted."""
    unseen_since: float | None = None
    """When it was first neither in the queue nor in accounting nor in its record, seconds."""

    @property
    def task_id(self) -> str:
        return self.submission.task_id(self.index)

    @property
    def record(self) -> Record:
        return Record(self.submission.entries[self.index].record)


class Verdict(Enum):
    """What to do."""

    WAIT = auto()
    SUCCEEDED = auto()
    RESUBMIT = auto()
    FAILED = auto()


CONFIRMATIONS = 2
"""Queries that must agree on an interruption: a job that Slurm requeues looks interrupted for a moment."""


def judge(tracked: Tracked, state: State | None, now: float, patience: float) -> tuple[Verdict, State | None]:
    """What to do about a job, and the state that this follows from.

    Args:
        state: from the queue or accounting; None if neither knows the job.
        now: a monotonic clock, seconds.
        patience: how long a job may be without any trace before it counts as lost, seconds.
    """
    if state is None:
        state = state_of_record(tracked.record)
    if state is None:
        tracked.unseen_since = now if tracked.unseen_since is None else tracked.unseen_since
        if now - tracked.unseen_since <= patience:
            return Verdict.WAIT, None
        state = State("LOST")
    if state.alive:
        tracked.doubts, tracked.unseen_since = 0, None
        return Verdict.WAIT, state
    if succeeded(tracked.record, state):
        return Verdict.SUCCEEDED, state
    if not interrupted(tracked.record, state):
        return Verdict.FAILED, state
    tracked.doubts += 1
    return (Verdict.RESUBMIT if tracked.doubts >= CONFIRMATIONS else Verdict.WAIT), state


def succeeded(record: Record, state: State) -> bool:
    """Whether the command has done its work: what hit the job after that does not matter."""
    end = record.last("start", "end")
    done = end is not None and end["event"] == "end" and end["exit"] == 0
    return state.name == "COMPLETED" or (done and not state.alive)


def interrupted(record: Record, state: State) -> bool:
    """Whether the job was cut off and can go on, which uses up none of Snakemake's retries."""
    if state.name in INTERRUPTED:
        return True
    last = record.last("start", "end", "blocked")
    if last is None:
        return False
    if last["event"] == "blocked":
        return state.name == "FAILED"
    if last["event"] == "end":
        ended_from_outside = last.get("stopping") == "terminated" and state.name == "FAILED"
        return ended_from_outside or (state.name in ("FAILED", "TIMEOUT") and last["exit"] == EXIT_SAVED)
    return bool(state.name == "TIMEOUT" and last["progress"] != record.progress())


def state_of_record(record: Record) -> State | None:
    """What the node wrote, for when the queue has forgotten the job; None if that tells nothing."""
    if record.held():
        return State("RUNNING")
    last = record.last("start", "end", "requeue", "resubmit")
    if last is None or last["event"] != "end":
        return None
    return State("COMPLETED" if last["exit"] == 0 else "FAILED", exit_status=last["exit"])
