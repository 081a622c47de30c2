"""Where a run stands, and how an attempt comes to it: at step 0, from a checkpoint, or from a trunk's end."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field
from pathlib import Path

from stepladder.record.checkpoints import CheckpointState, HealthTally
from stepladder.record.events import read_events, working_seconds
from stepladder.record.paths import RunFolder
from stepladder.record.result import Parent
from stepladder.training.accounting import TimeAccount
from stepladder.training.attempt import Attempt
from stepladder.training.checkpoint import Checkpoint, newest_checkpoint, read_tensors
from stepladder.training.fork import Fork, read_fork
from stepladder.training.health import nothing_found


@dataclass
class Progress:
    """What changes while a run trains, beside its tensors; checkpoints carry it to the next attempt."""

    step: int
    """Steps done."""
    account: TimeAccount
    started: str
    """When the first attempt began, ISO 8601 in UTC."""
    warnings: list[str]
    """Of all attempts, in order."""
    parent: Parent | None
    """Which segment of a trunk the run goes on from."""
    health: HealthTally = field(default_factory=nothing_found)


def begin(attempt: Attempt, fork: Path | None, began: float) -> Progress:
    """Go on from the newest usable checkpoint, else branch off `fork`, else start; says so in the log.

    Args:
        fork: result.json of the segment of a trunk that the run goes on from.
        began: when this process was started, Unix seconds.

    Raises:
        ValueError: the segment is not the beginning of this run.
    """
    checkpoint, problems = find_checkpoint(attempt)
    trunk = read_fork(fork, attempt.spec, attempt.identity["data_sha256"]) if fork else None
    warnings = [*attempt.warnings, *problems]
    parent = trunk.parent if trunk else None
    if checkpoint:
        progress = resume(attempt, checkpoint, began, warnings, parent)
    else:
        attempt.journal.write("start", **attempt.identity, began=began)
        step = branch_off(attempt, trunk) if trunk else 0
        progress = Progress(step, TimeAccount(began), attempt.started, list(warnings), parent)
    for text in warnings:
        attempt.journal.warn(text)
    return progress


def find_checkpoint(attempt: Attempt) -> tuple[Checkpoint | None, list[str]]:
    """The newest usable checkpoint, which the first rank chooses for all, and why others were not usable."""
    checkpoint, warnings = None, []
    if attempt.ranks.leads:
        checkpoint, problems = newest_checkpoint(RunFolder(attempt.run_dir).checkpoints)
        warnings = [f"checkpoint not used: {problem}" for problem in problems]
        if checkpoint and any(checkpoint.state[key] != value for key, value in attempt.identity.items()):
            warnings.append("checkpoint not used: it is of another spec or of other data")
            checkpoint = None
    return attempt.ranks.tell(checkpoint), warnings


def resume(
    attempt: Attempt,
    checkpoint: Checkpoint,
    began: float,
    warnings: list[str],
    parent: Parent | None,
) -> Progress:
    """Take over what was saved; the time since then is lost."""
    state, trainer = checkpoint.state, attempt.trainer
    records = read_events(attempt.journal.path) if attempt.ranks.leads else []
    lost = working_seconds(records, state["time"]) if records else 0.0
    load_tensors(attempt, checkpoint)
    if state["accelerators"] == attempt.ranks.world.size:  # else the share is another, and so is what fits
        trainer.micro_batch = state["micro_batch_sequences"]
        trainer.model.recompute = state["recompute"]
    account = TimeAccount(began, state["seconds"])
    account.add("lost", lost)
    step = state["step"]
    attempt.journal.write("resume", **attempt.identity, step=step, lost_seconds=lost, began=began)
    attempt.journal.say(f"resumed at step {step}/{attempt.spec.recipe.steps}")
    new = [text for text in warnings if text not in state["warnings"]]
    return Progress(step, account, state["started"], state["warnings"] + new, parent, state["health"])


def branch_off(attempt: Attempt, trunk: Fork) -> int:
    """Go on from the end of a trunk, whose steps become this run's history; its seconds stay its own.

    Returns:
        Number of steps that it had done.
    """
    load_tensors(attempt, trunk.checkpoint)
    step: int = trunk.checkpoint.state["step"]
    attempt.journal.write_many("step", [record | {"inherited": True} for record in trunk.steps])
    attempt.journal.say(f"branched off {trunk.parent.path} at step {step}/{attempt.spec.recipe.steps}")
    return step


def load_tensors(attempt: Attempt, checkpoint: Checkpoint) -> None:
    """Set weights and moments to what was saved."""
    tensors = attempt.trainer.state()
    read_tensors(checkpoint.path, tensors, attempt.ranks.background)
    attempt.trainer.load_state(tensors)


def checkpoint_state(attempt: Attempt, progress: Progress) -> CheckpointState:
    """What a checkpoint holds beside tensors; `resume` reads it."""
    return {
        "spec_sha256": attempt.identity["spec_sha256"],
        "data_sha256": attempt.identity["data_sha256"],
        "step": progress.step,
        "time": time.time(),
        "started": progress.started,
        "seconds": progress.account.totals(),
        "health": copy.deepcopy(progress.health),
        "accelerators": attempt.ranks.world.size,
        "micro_batch_sequences": attempt.trainer.micro_batch,
        "recompute": attempt.trainer.model.recompute,
        "warnings": list(progress.warnings),
    }
