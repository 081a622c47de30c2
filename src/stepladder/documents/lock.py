"""One process at a time: a lock that its holder's death frees, and that says who the holder is."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Holder(NamedTuple):
    """Who holds a lock, as it wrote it into the file."""

    host: str
    pid: int
    since: str
    """ISO 8601 in UTC."""
    purpose: str
    """What it holds the lock for, as it was told."""

    @classmethod
    def this(cls, purpose: str) -> Holder:
        """This process, from now on."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return cls(socket.gethostname(), os.getpid(), now, purpose)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


UNKNOWN = Holder("an unknown host", 0, "an unknown time", "")
"""Where the file does not say, because its holder has only just taken it."""


@contextmanager
def alone(path: Path, purpose: str, waiting: Callable[[Holder], None]) -> Iterator[Holder | None]:
    """Hold the lock `path` for the block, after waiting for whoever holds it; the file goes with the block.

    A process that dies, however it dies, frees its lock. Where the file system has no locks, none is held.

    Args:
        purpose: what others who wait may compare with their own.
        waiting: called once with each holder that is waited for.

    Yields:
        The last holder that was waited for, if any.
    """
    descriptor, before = _take(path, waiting)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(Holder.this(purpose)).encode(), 0)
        yield before
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(path: Path, waiting: Callable[[Holder], None]) -> tuple[int, Holder | None]:
    """The open and locked file, and the last holder that was waited for."""
    before = None
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                before = _read(descriptor)
                waiting(before)
                _lock(descriptor, fcntl.LOCK_EX)
            if _is(descriptor, path):
                return descriptor, before
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed the file while we waited: another may stand in its place


def _lock(descriptor: int, how: int) -> bool:
    """Whether the lock was to be had; True where there are none, as on some network file systems."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _read(descriptor: int) -> Holder:
    try:
        return Holder(*json.loads(os.pread(descriptor, 10_000, 0)))
    except (ValueError, TypeError):
        return UNKNOWN


def _is(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
