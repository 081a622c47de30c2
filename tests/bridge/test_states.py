"""What squeue and sacct say, as Slurm 22.05 prints it."""

import pytest

from snakemake_executor_plugin_submitit import states
from snakemake_executor_plugin_submitit.states import State, parse_sacct, parse_squeue


def test_squeue():
    text = "7_0|RUNNING|None|n0|0|\n7_1|PENDING|Priority||0|\n"
    text += "8|FAILED|NonZeroExitCode|n1|768|\n9|FAILED|RaisedSignal:9|n1|9|\n"
    assert parse_squeue(text) == {
        "7_0": State("RUNNING", "", "n0", 0),
        "7_1": State("PENDING", "Priority", "", 0),
        "8": State("FAILED", "NonZeroExitCode", "n1", 3),
        "9": State("FAILED", "RaisedSignal:9", "n1", 137),
    }


def test_sacct():
    text = "7_0|COMPLETED|0:0|n0\n7_[1-2,5%3]|PENDING|0:0|None assigned\n8|CANCELLED by 1000|0:15|n1\n"
    assert parse_sacct(text) == {
        "7_0": State("COMPLETED", "", "n0", 0),
        "7_1": State("PENDING", "", "", 0),
        "7_2": State("PENDING", "", "", 0),
        "7_5": State("PENDING", "", "", 0),
        "8": State("CANCELLED", "by 1000", "n1", 143),
    }


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Replaces squeue and sacct by scripts; returns a function that writes one."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def write(name, script):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    write("squeue", "echo '7_0|RUNNING|None|n0|0|'")
    write("sacct", "echo '6|COMPLETED|0:0|n0'")
    return write


def test_forgotten_jobs_are_asked_of_accounting(commands):
    assert {job: state.name for job, state in states.query(["7_0", "6"]).items()} == {
        "7_0": "RUNNING",
        "6": "COMPLETED",
    }


def test_accounting_may_be_away(commands):
    commands("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert set(states.query(["7_0", "6"])) == {"7_0"}


def test_a_silent_controller_is_no_verdict(commands):
    commands("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(states.QueueUnreachable, match="Unable to contact"):
        states.query(["7_0"])


def test_one_call_for_any_number_of_jobs(commands, tmp_path):
    commands("squeue", f"echo call >> {tmp_path}/calls; seq 0 4999 | sed 's/.*/9_&|RUNNING|None|n0|0|/'")
    assert len(states.query([f"9_{task}" for task in range(5000)])) == 5000
    assert (tmp_path / "calls").read_text() == "call\n"
