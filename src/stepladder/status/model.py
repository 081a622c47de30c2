"""What is known of a ladder while it is climbed, as plain values: facts read, and what was made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from snakemake_executor_plugin_submitit.states import State
from stepladder.record.result import Result

RunState = Literal["done", "running", "pending", "stopped", "failed", "stale", "spared"]
STATES: tuple[RunState, ...] = ("done", "running", "pending", "stopped", "failed", "stale", "spared")
"""`stopped`: before its end, and goes on; `spared`: never trained, because its arm ended at a gate."""


@dataclass(frozen=True)
class Log:
    """What the tail of events.jsonl and the newest checkpoint say of an unfinished run."""

    time: float
    """Of the last record, Unix seconds."""
    last: str
    """Kind of the last record."""
    steps_done: int
    seconds: float
    """Working wall time of all attempts until `time`."""
    resumes: int
    """In the tail; the job's record may know of more."""
    tokens_per_second: float | None
    positions_per_second: float | None
    mfu: float | None
    gave_up: str | None
    """The message with which the run ended itself, if it did."""


@dataclass(frozen=True)
class Job:
    """The newest submission of a run: what the node wrote down, and what Slurm says."""

    id: str | None
    """As the queue shows it; None if the cluster has not told one."""
    log: str
    state: State | None = None
    """None if Slurm was not asked, did not answer, or has forgotten the job."""
    answered: bool = False
    """Whether Slurm answered at all."""
    starts: int = 0
    node: str = ""
    started: float | None = None
    """When the newest attempt began, Unix seconds."""
    ended: float | None = None
    """When the newest attempt ended, if the node could write it down."""
    exit_status: int | None = None
    saved: bool = False
    """Whether the newest attempt reported progress."""
    why: str = ""
    """The line of its log that says what went wrong, if it failed."""


@dataclass(frozen=True)
class Facts:
    """All that was found out about one run."""

    result: Result | None = None
    log: Log | None = None
    job: Job | None = None
    outdated: bool = False
    """Whether its folder holds an unfinished run of another spec."""


@dataclass(frozen=True)
class RunStatus:
    """Where one run stands. Times in seconds (of clocks: Unix time), hours are accelerator-hours."""

    id: str
    rung: str
    variant: str
    state: RunState
    reason: str
    """Why it waits, stopped or failed; empty if there is nothing to say."""
    planned_hours: float
    accelerators: int
    steps: int
    used_hours: float = 0.0
    share_done: float = 0.0
    """Of the run's positions, 0 to 1."""
    steps_done: int = 0
    tokens_per_second: float | None = None
    mfu: float | None = None
    eta_seconds: float | None = None
    loss: float | None = None
    passes: float | None = None
    """Over the training text, of the whole run; None before the data are prepared. With a mixture, over the
    domain that is read most often."""
    passes_by_domain: dict[str, float] | None = None
    """Over each domain of a mixture."""
    restarts: int = 0
    last_event: float | None = None
    node: str = ""
    job: str | None = None
    slurm_state: str | None = None
    exit_status: int | None = None
    log: str | None = None


@dataclass(frozen=True)
class Row:
    """The runs of one rung and variant, or of all."""

    rung: str
    variant: str
    runs: int
    counts: dict[str, int]
    """By state; they sum to `runs`."""
    used_hours: float
    planned_hours: float


@dataclass(frozen=True)
class Status:
    """A ladder at one moment."""

    ladder: str
    version: int
    time: float
    slurm: str | None
    """What is wrong with Slurm; None if it answered or was not needed."""
    rows: list[Row]
    total: Row
    pace: float | None
    """Used over planned hours of the done runs; None before the first."""
    left_hours: float
    """Accelerator-hours to the end, at that pace."""
    accelerators_in_use: int
    wall_seconds: float | None
    """To the end with the accelerators now in use; None if nothing runs."""
    runs: list[RunStatus] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(self.total.counts["failed"])

    @property
    def done(self) -> bool:
        return self.total.counts["done"] + self.total.counts["spared"] == self.total.runs
