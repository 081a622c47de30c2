"""One holder at a time; a kill frees the lock, and so does a holder that shows no sign of life."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stepladder.documents.lock import Held, Holder, hold

CODE = """
import sys, time
from pathlib import Path
from stepladder.documents.lock import hold
with hold(Path(sys.argv[1]), beat=0.05, stale=float(sys.argv[2]), patience=0.3):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def holder(path: Path, stale: float = 60, seconds: float = 60, **environment: str) -> subprocess.Popen:
    """A process that holds the lock when this returns."""
    command = [sys.executable, "-c", CODE, str(path), str(stale), str(seconds)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "lock.json"


def test_it_names_its_holder_and_goes_with_it(path):
    with hold(path):
        found = json.loads(path.read_text())
        assert (found["pid"], found["host"]) == (os.getpid(), os.uname().nodename)
    assert list(path.parent.iterdir()) == []


def test_a_second_one_is_refused_with_the_name_of_the_first(path):
    with holder(path, SLURM_JOB_ID="77") as first:
        message = rf"{path.parent}: process {first.pid} on \S+, Slurm job 77, since \d{{4}}-.*: wait"
        with pytest.raises(Held, match=message), hold(path, patience=0.3):
            pass
        assert path.exists()
        first.kill()


def test_a_second_one_waits_for_a_first_that_is_ending(path):
    with holder(path, seconds=0.3), hold(path, patience=5):
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("leftover", ["", "not JSON", '{"host": "a"}', "[]"])
def test_a_kill_frees_it_at_once(path, leftover):
    with holder(path) as first:
        first.kill()
    if leftover:
        path.write_text(leftover)
    begin = time.monotonic()
    with hold(path):
        assert time.monotonic() - begin < 0.2


def test_a_stopped_holder_is_taken_over_and_ends_when_it_goes_on(path):
    with holder(path) as first:
        first.send_signal(signal.SIGSTOP)
        with hold(path, stale=0.5, patience=60):
            first.send_signal(signal.SIGCONT)
            assert first.wait(10) == 1
            assert f"taken over by process {os.getpid()} on" in first.stderr.read()
            assert json.loads(path.read_text())["pid"] == os.getpid()


def test_the_same_job_started_again_takes_over_at_once(path, monkeypatch):
    """Slurm does so when the earlier one's machine is gone; the file server may not know that yet."""
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    with holder(path) as first:
        with pytest.raises(Held), hold(path, patience=0.3):
            pass  # the same job, but not started again
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        with hold(path, patience=0.3):
            assert first.wait(10) == 1


@pytest.mark.parametrize("count", ["", "x", "-1"])
def test_a_strange_restart_count_is_none(monkeypatch, count):
    monkeypatch.setenv("SLURM_RESTART_COUNT", count)
    assert Holder.this().restarts == 0


def test_of_many_only_one_at_a_time(path):
    """Eight processes count up a file that none of them locks otherwise."""
    code = """
import sys, time
from pathlib import Path
from stepladder.documents.lock import hold
lock, count = map(Path, sys.argv[1:])
for _ in range(5):
    with hold(lock, beat=0.05, patience=60):
        value = int(count.read_text())
        time.sleep(0.005)
        count.write_text(str(value + 1))
"""
    count = path.parent.parent / "count"
    count.write_text("0")
    command = [sys.executable, "-c", code, str(path), str(count)]
    running = [subprocess.Popen(command) for _ in range(8)]
    assert [process.wait(60) for process in running] == [0] * 8
    assert count.read_text() == "40"


def test_without_locks_of_the_file_system_signs_of_life_count(path, monkeypatch):
    def none(file, operation):
        raise OSError(38, "Function not implemented")

    with holder(path) as first:
        monkeypatch.setattr("fcntl.lockf", none)
        with pytest.raises(Held), hold(path, patience=0.3):
            pass
        first.kill()
        first.wait()
        begin = time.monotonic()
        with hold(path, stale=0.5):
            assert time.monotonic() - begin > 0.4


def test_who_wants_to_wait_waits_for_the_holder_by_name(path):
    with holder(path, seconds=0.5) as first:
        met = []
        with hold(path, patience=0, purpose="ours", waiting=met.append) as before:
            assert [found.pid for found in met] == [first.pid] and before == met[0]
            assert json.loads(path.read_text())["purpose"] == "ours"
    with hold(path, waiting=pytest.fail) as before:
        assert before is None
