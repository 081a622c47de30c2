"""Every byte of the shards is checked before a run reads them, once per machine.

Reading a large corpus once more for every run would cost hours, so a file that was found right is remembered:
by its inode, size, times of change and the sha256 that the manifest states. A file that differs in any of
them is read again. The memory lies outside the results, in `cache_folder`, one file per machine and
manifest: who copies or edits results does not carry along that they were right. benchmarks/verify_data.py
shows the cost.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from stepladder.data.errors import DataError
from stepladder.data.manifest import File, check_files, check_whole, read
from stepladder.documents.files import write_atomically
from stepladder.documents.lock import Holder, hold

CACHE = "STEPLADDER_CACHE"
"""Environment variable that names another folder for the memory than ~/.cache/stepladder."""

SETTLED_SECONDS = 2.0
"""A file that was changed less than this before it was read is not remembered: the clock of some file systems
is so coarse that a change just after would not show."""

PART_BYTES = 8 * 10**9
"""What is read between two notes of what was found right."""

Seen = dict[str, list[int | str]]
"""File name to inode, size, nanoseconds of the last change of content and of the entry, and sha256."""


class Checked(NamedTuple):
    """What a check read."""

    bytes: int
    """0 if this machine had read all files before, and none has changed since."""
    seconds: float


def verify_once(path: Path) -> Checked:
    """Check the manifest at `path` and every byte of its files that this machine has not checked before.

    Several processes of a machine that ask at once wait for the first.

    Raises:
        DataError: a file is missing, or not what the manifest describes, or the manifest not what it was.
    """
    record = memory_of(path)
    if record is None:
        return _verify(path, {}, None)
    with hold(record.with_suffix(".lock"), waiting=_say_nothing):
        return _verify(path, _recall(record), record)


def memory_of(path: Path) -> Path | None:
    """The file that remembers what this machine has checked of the manifest at `path`; None if no folder can
    be written to, so that nothing is remembered."""
    try:
        folder = cache_folder() / "verified"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))  # a full disk or a used-up quota shows here
    except (OSError, RuntimeError):
        return None
    key = f"{socket.gethostname()}\n{path.resolve()}"
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def cache_folder() -> Path:
    """Where this user's machines keep what need not be done twice.

    Raises:
        RuntimeError: the user has no home.
    """
    if own := os.environ.get(CACHE):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "stepladder"


def _verify(path: Path, known: Seen, record: Path | None) -> Checked:
    began, clock = time.time(), time.monotonic()
    manifest = read(path)
    seen = {file.name: _look(path.parent, file) for file in manifest.files}
    unknown = [file for file in manifest.files if known.get(file.name) != seen[file.name]]
    settled = {name: about for name, about in seen.items() if known.get(name) == about}
    for part in _parts(unknown):  # each is remembered: who is stopped meanwhile has not read in vain
        check_files(path, part)
        if any(_look(path.parent, file) != seen[file.name] for file in part):
            raise DataError(
                f"{path}: its files changed while they were checked: let what writes there end first"
            )
        names = [file.name for file in part]
        settled |= {name: seen[name] for name in names if _changed(seen[name]) < began - SETTLED_SECONDS}
        _remember(record, settled, known)
    check_whole(path, manifest)
    return Checked(sum(file.size for file in unknown), time.monotonic() - clock)


def _parts(files: Sequence[File]) -> Iterator[list[File]]:
    """The files in their order, in groups of a few gigabytes."""
    part: list[File] = []
    for file in files:
        part.append(file)
        if sum(one.size for one in part) > PART_BYTES:
            yield part
            part = []
    if part:
        yield part


def _remember(record: Path | None, settled: Seen, known: Seen) -> None:
    if record is not None and settled != known:
        with suppress(OSError):  # then the next run reads the files again
            write_atomically(record, json.dumps(settled))


def _look(folder: Path, file: File) -> list[int | str]:
    about = (folder / file.name).stat()
    return [about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns, file.sha256]


def _changed(about: list[int | str]) -> float:
    """When a file was last changed, Unix seconds."""
    return max(int(about[2]), int(about[3])) / 1e9


def _recall(record: Path) -> Seen:
    """What was found right; nothing if the record is missing or damaged."""
    try:
        found = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _say_nothing(holder: Holder) -> None:
    """Who waits for another to check the same files need not be told."""
