"""Names and order of checkpoints. Reading needs no torch; `stepladder.training.checkpoint` writes them.

A checkpoint is a folder `step-NNNNNN` that holds the tensors, `state.json` (where the run was) and, written
last, `manifest.json` (sha256 of every file): without a manifest it is not complete.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

STATE, MANIFEST = "state.json", "manifest.json"
_PREFIX = "step-"


class HealthTally(TypedDict):
    """What stood out in a run so far, over all its attempts; see `stepladder.record.result.Health`."""

    spikes: int
    """Steps whose loss or gradient norm stood far above those before."""
    skipped_steps: int
    """Steps that changed nothing, because loss or gradient were not finite."""
    slow_steps: int
    """Steps that took far longer than usual, counted once per rank."""
    notes: list[str]
    """The first of all these in words."""


class CheckpointState(TypedDict):
    """What a checkpoint holds beside tensors: where the run was."""

    spec_sha256: str
    data_sha256: str
    step: int
    """Optimizer steps done."""
    time: float
    """When it was saved, Unix seconds."""
    started: str
    """When the run's first attempt began, ISO 8601 in UTC."""
    seconds: dict[str, float]
    """Booked so far, by cause, with their total."""
    health: HealthTally
    accelerators: int
    """How many trained together; the two fields that follow hold for as many."""
    micro_batch_sequences: int | None
    """Sequences that went through an accelerator at once; None for its whole share of the batch."""
    recompute: bool
    """Whether activations were computed again in the backward pass."""
    warnings: list[str]
    """Of all attempts, in order."""


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where below `folder` the checkpoint after `step` steps is."""
    return folder / f"{_PREFIX}{step:06d}"


def partial_path(folder: Path, step: int) -> Path:
    """Where it is while it is being written."""
    return folder / f"partial-{step:06d}"


def step_of(checkpoint: Path) -> int:
    """Steps that had been done when this checkpoint was saved."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def newest_first(folder: Path) -> list[Path]:
    """All checkpoints below `folder`, complete or not, by falling step; none if there is no such folder."""
    found = (path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdecimal())
    return sorted(found, key=step_of, reverse=True)


def complete_newest_first(folder: Path) -> list[Path]:
    """The complete ones among them. Whether their files match the manifest is not looked at."""
    return [path for path in newest_first(folder) if (path / MANIFEST).exists()]
