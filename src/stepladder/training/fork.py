"""Where a branch leaves its trunk: which checkpoint it goes on from, and the history that it takes along."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from stepladder.ladder.trunk import prefix
from stepladder.record.events import StepRecord, read_steps
from stepladder.record.paths import RunFolder
from stepladder.record.result import Parent, Result
from stepladder.record.spec import RunSpec
from stepladder.training.checkpoint import Checkpoint, verify


class Fork(NamedTuple):
    """The end of a segment of a trunk."""

    checkpoint: Checkpoint
    steps: list[StepRecord]
    """Records of the steps until there, those of earlier segments included."""
    parent: Parent
    """Which segment it was, for the result."""


def read_fork(path: Path, spec: RunSpec, data_sha256: str) -> Fork:
    """Read the segment whose result.json is at `path`, for a run that goes on from its end.

    Raises:
        ValueError: it is not the beginning of this run, or was trained on other data.
        BrokenCheckpoint: its checkpoint is missing or damaged.
    """
    result = Result.read(path)
    wanted = prefix(spec, result.steps).sha256
    if result.spec_sha256 != wanted:
        raise ValueError(
            f"{spec.id} cannot go on from {path}: its first {result.steps} steps have spec {wanted[:12]}, "
            f"and what was trained there has {result.spec_sha256[:12]}: run snakemake again"
        )
    if result.lineage.data_sha256 != data_sha256:
        raise ValueError(f"{spec.id} cannot go on from {path}: it was trained on other data; train it again")
    folder = RunFolder.of_result(path)
    return Fork(
        checkpoint=verify(folder.checkpoints / result.checkpoint),
        steps=read_steps(folder.events),
        parent=Parent(path=str(path), spec_sha256=wanted, step=result.steps),
    )
