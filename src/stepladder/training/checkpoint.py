"""Checkpoints that are either complete or not there, written while training goes on.

A checkpoint is a folder `step-NNNNNN`: the tensors as torch.distributed.checkpoint writes them (every rank
its part), `state.json` (where the run was) and, last, `manifest.json` (sha256 of every file). It is written
under another name, synced, and renamed. One without a manifest, whose files are not exactly those of the
manifest, or whose state is none of this run, is not used. It can be read by any number of ranks, whatever the
number that wrote it; `stored_tensors` reads the tensors.

torch.distributed.checkpoint is imported where it is needed: it takes a second, which the first save spends
beside the training.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from stepladder.documents.files import sync_folder
from stepladder.record.checkpoints import (
    MANIFEST,
    STATE,
    CheckpointState,
    checkpoint_path,
    newest_first,
    partial_path,
    read_state,
    step_of,
)

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as it is with a single rank


class BrokenCheckpoint(ValueError):
    """A checkpoint that must not be used; the message says why."""


class Checkpoint(NamedTuple):
    """One that was found whole."""

    path: Path
    state: CheckpointState


class Outcome(NamedTuple):
    """How a save ended."""

    step: int
    seconds: float
    """Of writing, beside the training."""
    problem: str | None
    """Why there is no such checkpoint; None if there is."""


class Saver:
    """Writes checkpoints in the background, one at a time; all ranks save the same steps."""

    def __init__(
        self,
        folder: Path,
        *,
        keep: int,
        kept: frozenset[int] = frozenset(),
        leads: bool = True,
        group: ProcessGroup | None = None,
    ) -> None:
        """Args:
        leads: whether this rank writes state and manifest.
        group: process group of all ranks, for nothing but checkpoints; None for a single rank.
        keep: newest complete checkpoints that are kept.
        kept: steps whose checkpoints are kept besides.
        """
        self._folder, self._leads, self._group = folder, leads, group
        self._keep, self._kept = keep, kept
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[Outcome] | None = None
        self._host: dict[str, Tensor] = {}

    def start(self, step: int, tensors: dict[str, Tensor], state: CheckpointState) -> Outcome | None:
        """Copy the tensors to the host and begin to write; returns how the save before it ended.

        Waits for the save before it, and for the copy: what is written afterwards may change.
        """
        before = self.wait()
        self._host = {name: self._copy(name, tensor) for name, tensor in tensors.items()}
        self._pending = self._thread.submit(self._write, step, state)
        return before

    def wait(self) -> Outcome | None:
        """Until nothing is being written; how the last save ended, if that was not said before."""
        pending, self._pending = self._pending, None
        return pending.result() if pending else None

    def done(self) -> Outcome | None:
        """How the last save ended if it has and was not said before; does not wait."""
        return self.wait() if self._pending is not None and self._pending.done() else None

    def _copy(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor's copy on the host; its memory is used again by the next save."""
        kept = self._host.get(name)  # of the same shape: a run's tensors stay the same
        if kept is None:
            return tensor.detach().to("cpu", copy=True)
        return kept.copy_(tensor.detach())

    def _write(self, step: int, state: CheckpointState) -> Outcome:
        from torch.distributed.checkpoint import CheckpointException

        start, problem = perf_counter(), None
        try:
            self._save(step, state)
        # A failed save costs a save: the run goes on from the one before. What a rank raises reaches all
        # of them as a CheckpointException, which is no Exception.
        except (Exception, CheckpointException) as error:
            problem = f"{reason(error)}; {shutil.disk_usage(self._existing()).free:,} bytes are free there"
            if self._leads:
                with suppress(OSError):
                    remove(partial_path(self._folder, step))
        return Outcome(step, perf_counter() - start, problem)

    def _existing(self) -> Path:
        """The checkpoints' folder, or what is there of its path."""
        return next(path for path in (self._folder, *self._folder.parents) if path.exists())

    def _save(self, step: int, state: CheckpointState) -> None:
        from torch.distributed import checkpoint as dcp

        partial = partial_path(self._folder, step)
        if self._leads:
            remove(partial)
        writer = dcp.FileSystemWriter(partial, single_file_per_rank=True, sync_files=True)
        dcp.save(self._host, storage_writer=writer, process_group=self._group, no_dist=self._group is None)
        # Saving ends with an exchange between all ranks, so that their files are there now.
        if self._leads:
            _write_synced(partial / STATE, json.dumps(state, allow_nan=False).encode())
            hashes = {path.name: file_sha256(path) for path in sorted(partial.iterdir())}
            _write_synced(partial / MANIFEST, json.dumps(hashes).encode())
            self._publish(partial, step)

    def _publish(self, partial: Path, step: int) -> None:
        """Rename, and remove what is not to be kept."""
        target = checkpoint_path(self._folder, step)
        remove(target)  # only ever a broken one: a complete one is not saved again
        partial.rename(target)
        sync_folder(self._folder)
        for path in newest_first(self._folder):
            if step_of(path) > step:  # found unusable at resume, or the run would have gone on from it
                remove(path)
        for old in newest_first(self._folder)[self._keep :]:
            if step_of(old) not in self._kept:
                remove(old)


def verify(path: Path) -> Checkpoint:
    """Check every byte of one checkpoint and read its state.

    Raises:
        BrokenCheckpoint: the manifest is missing or lists other files than the folder holds, a file does not
            match its sha256, or the state is none, or of another step.
    """
    try:
        check_files(path, json.loads((path / MANIFEST).read_bytes()))
        return Checkpoint(path, read_state(path))
    except BrokenCheckpoint:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenCheckpoint(f"{path} is incomplete ({error})") from error


def check_files(path: Path, hashes: object) -> None:
    """Compare a checkpoint's files with what its manifest says.

    Raises:
        BrokenCheckpoint: they differ.
    """
    if not isinstance(hashes, dict):
        raise BrokenCheckpoint(f"{path / MANIFEST} is no manifest")
    # NFS keeps what was removed while it was open under such a name.
    there = {file.name for file in path.iterdir() if not file.name.startswith(".nfs")} - {MANIFEST}
    if differing := sorted(there ^ hashes.keys()):
        raise BrokenCheckpoint(
            f"{path} and its manifest do not have the same files: {', '.join(differing[:5])} are in one only"
        )
    for name, expected in hashes.items():
        if file_sha256(path / name) != expected:
            raise BrokenCheckpoint(f"{path / name} does not match its sha256")


def usable_checkpoints(
    folder: Path, refuse: Callable[[CheckpointState], str | None]
) -> Iterator[Checkpoint | str]:
    """The usable checkpoints below `folder`, newest first; between them, why others are not usable.

    Args:
        refuse: why a state is none that this run can go on from; None if it is one.
    """
    for path in newest_first(folder):
        try:
            found = verify(path)
        except BrokenCheckpoint as error:
            yield str(error)
            continue
        problem = refuse(found.state)
        yield found if problem is None else f"{path}: {problem}"


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest usable checkpoint below `folder` of whatever run, and why newer ones were not usable."""
    problems: list[str] = []
    for found in usable_checkpoints(folder, lambda state: None):
        if isinstance(found, Checkpoint):
            return found, problems
        problems.append(found)
    return None, problems


def remove(path: Path) -> None:
    """Remove the folder, or whatever else lies at `path`; nothing may."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reason(error: BaseException) -> str:
    """What went wrong at the bottom: a full disk reaches us wrapped by the ranks' exchange."""
    failures = getattr(error, "failures", None)
    if failures:
        error = next(iter(failures.values()))[0]
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
