"""One process at a time: a lock file that names who holds it, and that no kill leaves behind.

The lock is POSIX's (`fcntl.lockf`), which the kernel frees with its holder, `kill -9` included, and which
NFS, GPFS and Lustre pass on between machines. Two things are beyond it: a machine that died may keep its
locks on an NFS server, and some file systems have no locks. So the holder also touches the file every `BEAT`
seconds, and a lock that was not touched for `STALE` seconds, by the clock of who watches it, is taken over. A
job that Slurm started again takes over from its earlier self at once.

A taken-over file is replaced by another one. A holder that was only stopped finds that when it goes on, and
ends itself before two processes write.
"""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

BEAT = 10.0
"""Seconds between two signs of life of a holder."""

STALE = 120.0
"""Seconds without one after which it counts as dead."""

PATIENCE = 10.0
"""Seconds that one who finds a living holder waits: one that was told to stop is still saving."""

_HELD = (errno.EACCES, errno.EAGAIN)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class Held(ValueError):
    """Somebody else is at it; the message names who, where and since when."""


class Holder(NamedTuple):
    """Who holds a lock, as its file says."""

    host: str
    pid: int
    job: str | None
    """Slurm's id of the job; None without Slurm."""
    restarts: int
    """How often Slurm had started the job again."""
    since: str
    """ISO 8601 in UTC."""
    purpose: str = ""
    """What it holds the lock for, where others compare that with their own."""

    @classmethod
    def this(cls, purpose: str = "") -> Holder:
        """This process."""
        restarts = os.environ.get("SLURM_RESTART_COUNT", "0")
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            job=os.environ.get("SLURM_JOB_ID"),
            restarts=int(restarts) if restarts.isdecimal() else 0,
            since=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            purpose=purpose,
        )

    def came_before(self, other: Holder) -> bool:
        """Whether `other` is the same job, started again: Slurm does so when the earlier one has ended."""
        return self.job is not None and self.job == other.job and self.restarts < other.restarts

    def __str__(self) -> str:
        job = f", Slurm job {self.job}" if self.job else ""
        return f"process {self.pid} on {self.host}{job}, since {self.since}"


class _Sight(NamedTuple):
    """What one who does not hold the lock sees of it."""

    file: int
    """Number of the file, another one after a takeover."""
    touched: int
    """When, in the file server's nanoseconds: only compared with another such time."""
    holder: Holder | None
    """None if it is not written yet, or not readable."""


@contextmanager
def hold(
    path: Path,
    beat: float = BEAT,
    stale: float = STALE,
    patience: float = PATIENCE,
    purpose: str = "",
    waiting: Callable[[Holder], None] | None = None,
) -> Iterator[Holder | None]:
    """Hold the lock file at `path` for the length of the block; its folder is made. The file goes with it.

    A process must not enter twice for one path: POSIX's locks are a process's own.

    Args:
        purpose: what others who wait may compare with their own.
        waiting: called once with each holder that is waited for; then the wait has no end.

    Yields:
        The last holder that was waited for, if any.

    Raises:
        Held: a living process holds it, and did so for `patience` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    met: list[Holder] = []

    def meet(holder: Holder) -> None:
        if waiting is not None and holder not in met:
            met.append(holder)
            waiting(holder)

    file = _take(path, Holder.this(purpose), stale, patience if waiting is None else math.inf, meet)
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, file, ended, beat), daemon=True, name="lock")
    heart.start()
    try:
        yield met[-1] if met else None
    finally:
        ended.set()
        heart.join()
        if _is_at(file, path):
            path.unlink(missing_ok=True)
        file.close()


def _take(path: Path, me: Holder, stale: float, patience: float, meet: Callable[[Holder], None]) -> IO[bytes]:
    """The locked file; waits for a holder that may be dead.

    Raises:
        Held: it is not.
    """
    begin = changed = time.monotonic()
    before: _Sight | None = None
    alive = False
    while True:
        file = _lock(path, me)
        if file is not None:
            return file
        seen, now = _look(path), time.monotonic()
        if seen is not None and seen.holder is not None:
            meet(seen.holder)
        if seen is not None and before is not None and seen[:2] == before[:2]:
            gone = now - changed > stale
        else:
            alive, gone, changed = before is not None, False, now
        if seen is not None and (gone or (seen.holder and seen.holder.came_before(me))):
            file = _replace(path, me, seen)
            if file is not None:
                return file
        if alive and now - begin > patience:
            holder = seen.holder if seen and seen.holder else "another process"
            raise Held(
                f"{path.parent}: {holder} is at work there (see {path.name}): wait for it, or stop it first"
            )
        before = seen
        time.sleep(min(0.2, patience / 5 + 0.01))


def _lock(path: Path, me: Holder) -> IO[bytes] | None:
    """The file at `path`, locked and with this holder's name; None if somebody else holds it."""
    file = path.open("a+b")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Without locks a file that has a holder is held until it is stale.
        held = error.errno in _HELD or (error.errno in _NO_LOCKS and os.fstat(file.fileno()).st_size > 0)
        if held or error.errno not in _NO_LOCKS:
            file.close()
        if held:
            return None
        if error.errno not in _NO_LOCKS:
            raise
    if not _is_at(file, path):  # its holder removed it between opening and locking
        file.close()
        return None
    return _sign(file, me)


def _replace(path: Path, me: Holder, judged: _Sight) -> IO[bytes] | None:
    """Take over from a holder that is gone; None if another was quicker, or the holder came back."""
    own = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    file = own.open("x+b")
    with suppress(OSError):  # no locks here
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    _sign(file, me)
    now = _look(path)
    if now is None or now[:2] != judged[:2]:
        own.unlink()
        file.close()
        return None
    own.replace(path)
    time.sleep(0.1)  # one who judged at the same time replaces it now
    if _is_at(file, path):
        return file
    file.close()
    return None


def _sign(file: IO[bytes], me: Holder) -> IO[bytes]:
    file.truncate(0)
    file.write(json.dumps(me._asdict()).encode() + b"\n")
    file.flush()
    return file


def _look(path: Path) -> _Sight | None:
    """Opened anew each time, so that NFS asks its server; None if there is no such file."""
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            content = file.read()
    except OSError:
        return None
    holder = None
    with suppress(ValueError, TypeError):
        holder = Holder(**json.loads(content))
    return _Sight(state.st_ino, state.st_mtime_ns, holder)


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _beat(path: Path, file: IO[bytes], ended: threading.Event, seconds: float) -> None:
    """Show that this process lives, until it has ended its work or somebody else has taken over."""
    while not ended.wait(seconds):
        with suppress(OSError):  # a file server that is away for a while
            os.utime(file.fileno())
            if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                taker = _look(path)
                print(
                    f"{path}: taken over by {taker.holder if taker else 'another process'}, because this "
                    "process had shown no sign of life: it ends here",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(1)
