"""Where a branch leaves its trunk: which checkpoint it goes on from, and the history that it takes along."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from stepladder.ladder.trunk import prefix
from stepladder.record.checkpoints import checkpoint_path
from stepladder.record.events import StepRecord, read_log, steps_of
from stepladder.record.pace import lost_phase
from stepladder.record.paths import RunFolder
from stepladder.record.result import Parent, Result
from stepladder.record.spec import RunSpec
from stepladder.training.checkpoint import BrokenCheckpoint, Checkpoint, verify


class Fork(NamedTuple):
    """The end of a segment of a trunk."""

    checkpoint: Checkpoint
    steps: list[StepRecord]
    """Records of the steps until there, those of earlier segments included."""
    parent: Parent
    """Which segment it was, for the result."""


def read_parent(path: Path, spec: RunSpec, data_sha256: str) -> Parent:
    """Which segment it is whose result.json is at `path`, for a run that goes on from its end.

    Raises:
        ValueError: it is not the beginning of this run, or was trained on other data.
    """
    result = Result.read(path)
    if not 0 < result.steps <= spec.recipe.steps:
        raise ValueError(
            f"{spec.id} cannot go on from {path}: steps = {result.steps} there, and the run has "
            f"{spec.recipe.steps}: {Result.REMEDY}"
        )
    wanted = prefix(spec, result.steps).sha256
    if result.spec_sha256 != wanted:
        raise ValueError(
            f"{spec.id} cannot go on from {path}: its first {result.steps} steps have spec {wanted[:12]}, "
            f"and what was trained there has {result.spec_sha256[:12]}: run snakemake again"
        )
    if result.lineage.data_sha256 != data_sha256:
        raise ValueError(f"{spec.id} cannot go on from {path}: it was trained on other data; train it again")
    return Parent(path=str(path), spec_sha256=wanted, step=result.steps)


def read_fork(parent: Parent, spec: RunSpec) -> Fork:
    """Read the end of a segment, for a run that goes on from it.

    Raises:
        BrokenCheckpoint: its checkpoint is missing or damaged, or not that of its end; or its log has lost
            the steps of a phase.
    """
    path = Path(parent.path)
    folder = RunFolder.of_result(path)
    try:
        checkpoint = verify(checkpoint_path(folder.checkpoints, parent.step))
        if checkpoint.state["spec_sha256"] != parent.spec_sha256:
            raise BrokenCheckpoint(f"{checkpoint.path} is of another spec")
        steps = [step for step in steps_of(read_log(folder.events).records) if step["step"] < parent.step]
        if lost := lost_phase(spec, steps, parent.step):
            raise BrokenCheckpoint(f"{folder.events} has no steps of phase {lost} any more")
    except BrokenCheckpoint as error:
        raise BrokenCheckpoint(f"{error}: to train this trunk again, {Result.REMEDY}") from error
    return Fork(checkpoint, steps, parent)
