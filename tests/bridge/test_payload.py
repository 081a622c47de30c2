"""What runs on the node, as a process of its own: statuses, saving, restarts without end."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from snakemake_executor_plugin_submitit.payload import EXIT_SAVED, EXIT_STALLED
from snakemake_executor_plugin_submitit.records import Record

PROGRAM = """
import json, sys
from snakemake_executor_plugin_submitit.payload import Payload
sys.exit(Payload(**json.loads(sys.argv[1]))())
"""


def start(tmp_path, script, **fields):
    """A process that runs a payload around a shell script."""
    settings = {"runtime": 10, "signal_seconds": 120, "stalled_restarts": 3} | fields
    settings |= {
        "command": ["bash", "-c", script],
        "folder": str(tmp_path),
        "record": str(tmp_path / "0.jsonl"),
    }
    command = [sys.executable, "-c", PROGRAM, json.dumps(settings)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def run(tmp_path, script, **fields):
    process = start(tmp_path, script, **fields)
    _, error = process.communicate(timeout=150)
    return process.returncode, error


def names(tmp_path):
    return [event["event"] for event in Record(tmp_path / "0.jsonl").events()]


def test_success_and_what_snakemake_prepares(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    outputs = [["old.txt", False], ["new/folder", True]]
    status, _ = run(tmp_path, "test ! -e old.txt; test -d new/folder", outputs=outputs)
    assert status == 0
    assert names(tmp_path) == ["start", "end"]


def test_restarts_find_what_was_left(tmp_path):
    script = f"echo $SUBMITIT_RESTARTS >> out.txt; exit {EXIT_SAVED}"
    for _ in range(3):
        run(tmp_path, script, outputs=[["out.txt", False]])
    assert (tmp_path / "out.txt").read_text() == "0\n1\n2\n"


def test_the_commands_status_is_the_jobs(tmp_path):
    assert run(tmp_path, "exit 7")[0] == 7
    assert Record(tmp_path / "0.jsonl").last("end")["exit"] == 7


def test_a_killed_command_has_the_shells_status(tmp_path):
    assert run(tmp_path, "kill -9 $$")[0] == 137


def test_missing_inputs_are_waited_for_and_named(tmp_path):
    status, error = run(tmp_path, "true", inputs=["gone.txt"], latency_wait=0.6)
    assert status == 1 and "gone.txt" in error


def test_a_late_input_is_found(tmp_path):
    process = start(tmp_path, "cat late.txt", inputs=["late.txt"], latency_wait=20)
    time.sleep(1)
    (tmp_path / "late.txt").write_text("here")
    process.communicate(timeout=150)
    assert process.returncode == 0


def test_restarts_without_progress_end(tmp_path):
    """The first start and as many restarts as are allowed run; the next one gives up and says so."""
    for _ in range(3):
        assert run(tmp_path, f"exit {EXIT_SAVED}")[0] == EXIT_SAVED
    assert run(tmp_path, f"exit {EXIT_SAVED}")[0] == EXIT_SAVED
    status, error = run(tmp_path, "touch ran")
    assert status == EXIT_STALLED and "3 times in a row without progress" in error
    assert not (tmp_path / "ran").exists()


def test_restarts_with_progress_do_not(tmp_path):
    script = f"date +%s%N > $SUBMITIT_PROGRESS; exit {EXIT_SAVED}"
    for _ in range(6):
        assert run(tmp_path, script)[0] == EXIT_SAVED


def test_a_job_that_is_done_does_not_run_again(tmp_path):
    assert run(tmp_path, "touch ran")[0] == 0
    (tmp_path / "ran").unlink()
    assert run(tmp_path, "touch ran")[0] == 0
    assert not (tmp_path / "ran").exists()


def test_two_attempts_never_run_at_once(tmp_path):
    first = start(tmp_path, "sleep 2; echo one >> log")
    record = Record(tmp_path / "0.jsonl")
    while not record.held():
        time.sleep(0.05)
    second = start(tmp_path, "echo two >> log")
    for process in (first, second):
        process.communicate(timeout=150)
    assert (tmp_path / "log").read_text() == "one\n"


def test_a_changed_command_waits_for_the_old_one(tmp_path):
    old = Record(tmp_path / "old.jsonl")
    lock = old.lock()
    process = start(tmp_path, "touch ran", after=str(old.path))
    time.sleep(1)
    assert not (tmp_path / "ran").exists()
    lock.close()
    process.communicate(timeout=150)
    assert process.returncode == 0 and (tmp_path / "ran").exists()


def test_what_saves_on_sigterm_is_waited_for(tmp_path):
    """The shell dies of SIGTERM at once; its child takes a second to save."""
    child = f"trap 'sleep 1; touch saved; exit {EXIT_SAVED}' TERM; touch up; while true; do sleep 0.1; done"
    (tmp_path / "child.sh").write_text(child)
    process = start(tmp_path, "bash child.sh; true")
    while not (tmp_path / "up").exists():
        time.sleep(0.05)
    _signal_children(process.pid, signal.SIGTERM)
    process.communicate(timeout=150)
    assert process.returncode == EXIT_SAVED
    assert (tmp_path / "saved").exists()


def _signal_children(pid, number):
    import psutil

    for child in psutil.Process(pid).children(recursive=True):
        os.kill(child.pid, number)


@pytest.mark.parametrize("cut", [1, 10])
def test_a_cut_off_line_of_the_record_is_left_out(tmp_path, cut):
    record = Record(tmp_path / "0.jsonl")
    record.write("start")
    record.write("end", exit=0)
    text = record.path.read_text()
    record.path.write_text(text[:-cut])
    assert [event["event"] for event in record.events()] == (["start", "end"] if cut == 1 else ["start"])
