"""Names and order of checkpoints. Reading needs no torch; `stepladder.training.checkpoint` writes them.

A checkpoint is a folder `step-NNNNNN` that holds the tensors, `state.json` (where the run was) and, written
last, `manifest.json` (sha256 of every file): without a manifest it is not complete.
"""

from __future__ import annotations

from pathlib import Path

STATE, MANIFEST = "state.json", "manifest.json"
_PREFIX = "step-"


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
