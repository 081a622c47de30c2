"""Checkpoints that are either complete or not there.

A checkpoint is a folder `step-NNNNNN` with `tensors.safetensors` (weights and optimizer moments),
`state.json` (where the run was) and `manifest.json` (sha256 of both). It is written under another
name, synced, and renamed. One without a manifest, or whose files do not match it, is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file, save
from torch import Tensor

KEEP = 2
"""Complete checkpoints kept: the newest, and the one before it in case the newest is damaged."""


class BrokenCheckpoint(ValueError):
    """A checkpoint that must not be used; the message says why."""


class Checkpoint(NamedTuple):
    """What was saved."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where below `folder` the checkpoint of `step` is."""
    return folder / f"step-{step:06d}"


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Write a checkpoint below `folder` and remove all but the newest `KEEP`; returns its path."""
    target = checkpoint_path(folder, step)
    partial = folder / f"partial-{step:06d}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    contents = {
        "tensors.safetensors": save({name: t.detach().to("cpu", copy=True) for name, t in tensors.items()}),
        "state.json": json.dumps(state, allow_nan=False).encode(),
    }
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    contents["manifest.json"] = json.dumps(hashes).encode()
    for name, content in contents.items():
        with (partial / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    shutil.rmtree(target, ignore_errors=True)  # only ever a broken one: a complete one is not saved again
    partial.rename(target)
    _sync_folder(folder)
    for path in list(_newest_first(folder)):
        if int(path.name[5:]) > step:  # found unusable at resume, or the run would have gone on from it
            shutil.rmtree(path)
    for old in list(_newest_first(folder))[KEEP:]:
        shutil.rmtree(old)
    return target


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        BrokenCheckpoint: the manifest or a file is missing, or a file does not match its sha256.
    """
    try:
        hashes = json.loads((path / "manifest.json").read_bytes())
        for name, expected in hashes.items():
            if hashlib.sha256((path / name).read_bytes()).hexdigest() != expected:
                raise BrokenCheckpoint(f"{path / name} does not match its sha256")
        state = json.loads((path / "state.json").read_bytes())
    except (OSError, ValueError, AttributeError) as error:
        if isinstance(error, BrokenCheckpoint):
            raise
        raise BrokenCheckpoint(f"{path} is incomplete ({error})") from error
    return Checkpoint(load_file(path / "tensors.safetensors"), state)


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest usable checkpoint below `folder`, and why newer ones were not usable."""
    problems = []
    for path in _newest_first(folder):
        try:
            return load_checkpoint(path), problems
        except BrokenCheckpoint as error:
            problems.append(str(error))
    return None, problems


def _newest_first(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.glob("step-*"), key=lambda path: int(path.name[5:]), reverse=True))


def _sync_folder(folder: Path) -> None:
    """Make the rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
