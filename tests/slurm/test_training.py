"""Training through the bridge: four ranks on two nodes against one rank, and the smoke ladder in chaos."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chaos import Chaos, check, clone, losses

RUN = "results/smoke/runs/moe-tst/d2/0.25x/seed0"
RANKS = "execution:\n  accelerators_per_run: 4\n  nodes_per_run: 2\n"


def snakemake(folder, cluster, *arguments):
    """Run it in the folder; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments, "--config", "ladder=smoke"],
        cwd=folder,
        env=os.environ | cluster.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def status(folder, cluster):
    """What `stepladder status` says."""
    command = [sys.executable, "-m", "stepladder.cli", "status", "smoke", "--json"]
    done = subprocess.run(command, cwd=folder, env=os.environ | cluster.environment, capture_output=True)
    return json.loads(done.stdout)


@pytest.fixture
def calm(climbed):
    """The smoke ladder, undisturbed."""
    return climbed.folder


def test_four_ranks_on_two_nodes_train_what_one_does(cluster, calm, tmp_path):
    folder = clone(tmp_path)
    ladder = folder / "configs" / "ladders" / "smoke.yaml"
    ladder.write_text(ladder.read_text().replace("execution:\n", RANKS))
    for name in ("machine.json", "smoke/data"):
        source, target = calm / "results" / name, folder / "results" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    snakemake(folder, cluster, f"{RUN}/result.json", "--profile", "slurm", "--latency-wait", "10")
    one, four = (json.loads((root / RUN / "result.json").read_text()) for root in (calm, folder))
    assert four["accelerators"] == 4
    assert four["spec_sha256"] == one["spec_sha256"]
    assert four["losses"] == pytest.approx(one["losses"], rel=1e-5)
    logs = list((folder / ".snakemake" / "submitit").glob("*/0_rank*.log"))
    assert len(logs) == 4


def test_the_ladder_climbs_through_chaos(cluster, calm, tmp_path):
    """A short storm; the whole one is `python tests/slurm/chaos.py`."""
    folder = clone(tmp_path)
    (folder / "results").mkdir()
    shutil.copy(calm / "results" / "machine.json", folder / "results")
    storm = Chaos(cluster, folder, seed=int(time.time()))
    try:
        storm.climb(faults=6, seconds=1000)
    finally:
        print((folder / "head.log").read_text())
        storm.resume()
        storm.kill_head()
    check(folder, losses(calm), storm.ended)
    assert sum(storm.done.values()) >= 6


def test_a_job_trains_what_it_was_submitted_with(cluster, calm, tmp_path):
    """The ladder is edited while the job waits; the job neither reads it nor fails."""
    folder = clone(tmp_path)
    shutil.copytree(calm / "results" / "smoke" / "data", folder / "results" / "smoke" / "data")
    shutil.copy(calm / "results" / "machine.json", folder / "results")
    target = f"{RUN}/result.json"
    cluster.run("scontrol", "update", "partitionname=main", "state=down")
    try:
        head = subprocess.Popen(
            [sys.executable, "-m", "snakemake", target, "--profile", "slurm", "--config", "ladder=smoke"],
            cwd=folder,
            env=os.environ | cluster.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not cluster.run("squeue", "-h", "-n", "train"):
            assert head.poll() is None
            time.sleep(0.2)
        run = next(run for run in status(folder, cluster)["runs"] if run["id"] == "moe-tst/d2/0.25x/seed0")
        assert (run["state"], run["reason"]) == ("pending", "PartitionDown")
        ladder = folder / "configs" / "ladders" / "smoke.yaml"
        ladder.write_text(ladder.read_text().replace("value: 0.0075", "value: 0.1"))
    finally:
        cluster.run("scontrol", "update", "partitionname=main", "state=up")
    assert head.wait(timeout=400) == 0
    same = [json.loads((Path(root) / target).read_text())["losses"] for root in (calm, folder)]
    assert same[0] == same[1]
