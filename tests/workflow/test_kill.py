"""A killed run goes on where it was and ends with the same bits."""

import json
import os
import random
import signal
import subprocess
import time

import psutil
import pytest
from climbing import command

RUN = "results/smoke/runs/moe-tst/d3/0.25x/seed0"


def test_killed_training_ends_with_the_same_bits(climbed):
    """kill -9 of Snakemake and all its children: early, soon after a checkpoint, and soon after resuming."""
    path = climbed.folder / RUN / "result.json"
    undisturbed = json.loads(path.read_text())
    path.unlink()
    arguments = command(f"{RUN}/result.json", "--force", "--set-resources", "train:mem_mb=1000")
    pause = random.Random(0)
    kills = 0
    while kills < 3:
        process = subprocess.Popen(
            arguments, cwd=climbed.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        moment = (b'"start"', b'"checkpoint"', b'"resume"')[kills]
        if not _wait_for(climbed.folder / RUN / "events.jsonl", moment, process):
            break
        time.sleep(pause.uniform(0.0, 0.5))
        _kill_all(process)
        kills += 1
        climbed.snakemake("--unlock")
        arguments = command(f"{RUN}/result.json")
    assert kills == 3, "the run ended before it could be killed: make it longer"
    climbed.snakemake(f"{RUN}/result.json")
    resumed = json.loads(path.read_text())
    assert resumed["losses"] == undisturbed["losses"]
    assert resumed["bits_per_byte_by_domain"] == undisturbed["bits_per_byte_by_domain"]
    assert resumed["restarts"] >= 1
    climbed.snakemake()  # tables and report follow


def _wait_for(events, moment: bytes, process) -> bool:
    """Until one more event of this name stands in the log; False if the process ended before."""
    seen = _count(events, moment)
    while process.poll() is None:
        if _count(events, moment) > seen:
            return True
        time.sleep(0.02)
    return False


def _count(events, moment: bytes) -> int:
    return events.read_bytes().count(b'"event": ' + moment) if events.exists() else 0


def _kill_all(process: subprocess.Popen) -> None:
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        os.kill(member.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(family, timeout=10)
    if any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family):
        pytest.fail("a killed process is still running")
