"""A lock is held by one, names its holder, and goes with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stepladder.documents import lock
from stepladder.documents.lock import UNKNOWN, Holder, alone

HOLD = """
import sys, time
from pathlib import Path
from stepladder.documents.lock import alone
with alone(Path(sys.argv[1]), "theirs", print):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its standard input is closed."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


@pytest.mark.parametrize("end", [signal.SIGKILL, None], ids=["killed", "ended"])
def test_who_comes_second_waits_for_the_holder_by_name(tmp_path: Path, end: signal.Signals | None) -> None:
    holder = hold(tmp_path / "lock")
    waited: list[Holder] = []

    def finish(found: Holder) -> None:
        waited.append(found)
        if end is None:
            threading.Timer(0.2, holder.stdin.close).start()  # type: ignore[union-attr]
        else:
            holder.send_signal(end)

    with alone(tmp_path / "lock", "ours", finish) as before:
        assert waited == [before]
        assert before is not None and (before.pid, before.purpose) == (holder.pid, "theirs")
        assert f"process {holder.pid} on {before.host}, since 20" in str(before)
    holder.wait()
    assert not (tmp_path / "lock").exists()


def test_nobody_waits_for_a_file_that_nobody_holds(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("left over")
    with alone(tmp_path / "lock", "ours", pytest.fail) as before:
        assert before is None


def test_a_holder_that_does_not_say_who_it_is_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("{")
    descriptor = os.open(tmp_path / "lock", os.O_RDWR)
    lock.fcntl.flock(descriptor, lock.fcntl.LOCK_EX)
    with alone(tmp_path / "lock", "ours", lambda _: os.close(descriptor)) as before:
        assert before == UNKNOWN


def test_one_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []

    def work(number: int) -> None:
        with alone(tmp_path / "lock", "ours", lambda _: None):
            inside.append(number)
            time.sleep(0.005)
            assert inside.pop() == number and not inside

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    assert not inside and not (tmp_path / "lock").exists()


def test_a_file_system_without_locks_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with alone(tmp_path / "lock", "ours", pytest.fail) as before:
        assert before is None
