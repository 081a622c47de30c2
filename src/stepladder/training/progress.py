"""Where a run stands, and how an attempt comes to it: at step 0, from a checkpoint, or from a trunk's end."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stepladder.record.checkpoints import CheckpointState, HealthTally
from stepladder.record.events import StepRecord, read_log, steps_of, working_seconds
from stepladder.record.pace import lost_phase
from stepladder.record.paths import RunFolder
from stepladder.record.result import Parent
from stepladder.record.spec import RunSpec
from stepladder.training.accounting import TimeAccount
from stepladder.training.attempt import Attempt
from stepladder.training.checkpoint import BrokenCheckpoint, Checkpoint, usable_checkpoints
from stepladder.training.fork import Fork, read_fork, read_parent
from stepladder.training.health import nothing_found
from stepladder.training.stored_tensors import read_tensors


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
        ValueError: the segment is not the beginning of this run, or it is to be branched off and its end is
            damaged.
    """
    parent = read_parent(fork, attempt.spec, attempt.identity["data_sha256"]) if fork else None
    checkpoint, problems = restore(attempt)
    warnings = [*attempt.warnings, *problems]
    if checkpoint:
        progress = resume(attempt, checkpoint.state, began, warnings, parent)
    else:
        attempt.journal.write("start", **attempt.identity, began=began)
        step = branch_off(attempt, read_fork(parent, attempt.spec)) if parent else 0
        progress = Progress(step, TimeAccount(began), attempt.started, list(warnings), parent)
    for text in warnings:
        attempt.journal.warn(text)
    return progress


def restore(attempt: Attempt) -> tuple[Checkpoint | None, list[str]]:
    """Set weights and moments to those of the newest usable checkpoint, which the first rank chooses for all.

    Returns:
        The checkpoint, None if there is none, and why others were not used.
    """
    ranks = attempt.ranks
    warnings: list[str] = []
    folder, refuse = RunFolder(attempt.run_dir), Refusal.of(attempt)
    candidates = usable_checkpoints(folder.checkpoints, refuse) if ranks.leads else iter(())
    while True:
        found = ranks.tell(next(candidates, None))
        if isinstance(found, Checkpoint):
            try:
                load_tensors(attempt, found)
                return found, warnings
            except BrokenCheckpoint as error:
                found = str(error)
        if found is None:
            return None, warnings
        warnings.append(f"checkpoint not used: {found}")


@dataclass(frozen=True)
class Refusal:
    """Says why a run cannot go on from a checkpoint, by its state; None if it can."""

    spec: RunSpec
    identity: dict[str, str]
    logged: Sequence[StepRecord]
    """Steps in the run's log. A result needs some of each phase, and they come from nowhere else."""

    @classmethod
    def of(cls, attempt: Attempt) -> Refusal:
        """For the run of this attempt, by the log that earlier ones left."""
        path = attempt.journal.path
        logged = steps_of(read_log(path).records) if attempt.ranks.leads else []
        return cls(attempt.spec, attempt.identity, logged)

    def __call__(self, state: CheckpointState) -> str | None:
        recipe, step = self.spec.recipe, state["step"]
        if any(state[key] != value for key, value in self.identity.items()):  # type: ignore[literal-required]  # two of its keys
            return "it is of another spec or of other data"
        if step > recipe.steps:
            return f"step = {step} in its state, and the run has {recipe.steps} steps"
        rows, size = state["micro_batch_sequences"], state["accelerators"]
        if rows and any(phase.sequences % (rows * size) for phase in recipe.phases):
            return f"micro_batch_sequences = {rows} in its state does not divide the batch of {size} ranks"
        if lost := lost_phase(self.spec, self.logged, step):
            return f"the log has no steps of phase {lost} any more"
        return None


def resume(
    attempt: Attempt,
    state: CheckpointState,
    began: float,
    warnings: list[str],
    parent: Parent | None,
) -> Progress:
    """Take over what was saved beside the tensors; the time since then is lost."""
    trainer = attempt.trainer
    records = read_log(attempt.journal.path).records if attempt.ranks.leads else []
    lost = max(0.0, working_seconds(records, state["time"])) if records else 0.0
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
    """Set weights and moments to what was saved; all of them or, if it is broken, none.

    Raises:
        BrokenCheckpoint: on all ranks, if one could not read it.
    """
    copies = {name: tensor.to("cpu", copy=True) for name, tensor in attempt.tensors().items()}
    read_tensors(checkpoint.path, copies, attempt.ranks.background)
    attempt.trainer.load_state(copies)
    attempt.average.load_state(copies)


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
