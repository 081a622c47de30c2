"""Climb the smoke ladder on a real Slurm while things go wrong at random; compare with an undisturbed climb.

    python tests/slurm/chaos.py [--faults 20] [--seed 0]

Faults: jobs preempted, cancelled, requeued, killed; a node drained; a node's daemon killed and started again;
the controller restarted; the head killed. The head is started again when it has ended or was killed, as its
owner would. At the end every run must be done exactly once, with the losses of the undisturbed climb, bit for
bit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from local_cluster import LocalCluster

REPOSITORY = Path(__file__).parents[2]
PAUSE = (1.0, 3.0)
"""Seconds between two faults."""
PROFILE = ["--profile", "slurm", "--latency-wait", "10", "--submitit-max-poll-seconds", "5"]
PREEMPTIBLE = ["--default-resources", "runtime=10", "mem_mb=500", "slurm_partition=low"]


class Chaos:
    """A clone of the repository whose smoke ladder is climbed by a head that dies now and then."""

    def __init__(self, cluster: LocalCluster, folder: Path, seed: int) -> None:
        self.cluster, self.folder, self.random = cluster, folder, random.Random(seed)
        self.head: subprocess.Popen | None = None
        self.drained: list[str] = []
        self.done: Counter[str] = Counter()
        self.ended: set[str] = set()
        self.faults: dict[str, Callable[[], bool]] = {
            "job preempted": self.preempt,
            "job cancelled": lambda: self.end_job("scancel"),
            "job killed": lambda: self.end_job("scancel", "--signal=KILL"),
            "job requeued": self.requeue,
            "node drained": self.drain,
            "node daemon killed": self.kill_node,
            "controller restarted": self.restart_controller,
            "head killed": self.kill_head,
        }

    def start_head(self) -> None:
        command = [sys.executable, "-m", "snakemake", *PROFILE, *PREEMPTIBLE, "--config", "ladder=smoke"]
        with (self.folder / "head.log").open("a") as log:
            self.head = subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | self.cluster.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def running(self) -> list[str]:
        """Ids of jobs of the ladder that run now."""
        return self.cluster.run("squeue", "-h", "-r", "-t", "R", "-p", "low", "-o", "%i").split()

    def end_job(self, *command: str) -> bool:
        """Have a job fail: its run is to be done again, even if its training had just ended."""
        jobs = self.running()
        if not jobs:
            return False
        job = self.random.choice(jobs)
        self.cluster.run(*command, job, check=False)
        self.ended.add(self.run_of(job))
        return True

    def requeue(self) -> bool:
        jobs = self.running()
        if jobs:
            self.cluster.run("scontrol", "requeue", self.random.choice(jobs), check=False)
        return bool(jobs)

    def run_of(self, job: str) -> str:
        """Run that a job trains."""
        array, _, index = job.partition("_")
        for path in (self.folder / ".snakemake" / "submitit").glob("*/submission.json"):
            submission = json.loads(path.read_text())
            if submission["job_id"] == array:
                return submission["entries"][int(index or 0)]["name"].removeprefix("train run=")
        raise KeyError(job)

    def preempt(self) -> bool:
        """A job of a better partition that takes a whole node, for a second."""
        if not self.running():
            return False
        options = ["--exclusive", "--mem=0", "--partition=main", "--output=/dev/null", "--time=1"]
        self.cluster.run("sbatch", *options, "--wrap=sleep 1")
        return True

    def drain(self) -> bool:
        self.resume()
        node = self.random.choice(self.cluster.node_names)
        self.cluster.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=chaos")
        self.drained = [node]
        return True

    def resume(self) -> None:
        for node in self.drained:
            self.cluster.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        self.drained = []

    def kill_node(self) -> bool:
        node = self.random.choice(self.cluster.node_names)
        self.cluster.stop(node, signal.SIGKILL)
        time.sleep(1)
        self.cluster.start_node(node)
        return True

    def restart_controller(self) -> bool:
        self.cluster.stop("slurmctld", signal.SIGTERM)
        self.cluster.start_controller()
        return True

    def kill_head(self) -> bool:
        if self.head is None or self.head.poll() is not None:
            return False
        self.head.kill()
        self.head.wait()
        return True

    def climb(self, faults: int, seconds: float) -> None:
        """Faults until there were enough and the ladder is done.

        Raises:
            TimeoutError: it took longer than `seconds`.
        """
        until = time.monotonic() + seconds
        self.start_head()
        while True:
            if time.monotonic() > until:
                raise TimeoutError(f"not done after {seconds:.0f} s and {sum(self.done.values())} faults")
            time.sleep(self.random.uniform(*PAUSE))
            ended = self.head.poll()
            if ended == 0:
                break
            if ended is not None:
                self.start_head()
            elif sum(self.done.values()) < faults:
                self.strike()
            elif self.drained:
                self.resume()
        self.resume()

    def strike(self) -> None:
        """One fault of a kind that has happened least so far, if there is something to strike."""
        fewest = min(self.done[name] for name in self.faults)
        name = self.random.choice([name for name in self.faults if self.done[name] <= fewest + 1])
        if self.faults[name]():
            self.done[name] += 1
            print(f"{time.strftime('%H:%M:%S')}  {sum(self.done.values()):3d}  {name}", flush=True)


def clone(folder: Path) -> Path:
    """What a climb needs of the repository, in a new folder."""
    for name in ("Snakefile", "workflow", "configs", "profiles"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "slurm").symlink_to("profiles/slurm")
    return folder


def losses(folder: Path) -> dict[str, dict[str, float]]:
    """Held-out losses by run."""
    root = folder / "results" / "smoke" / "runs"
    results = [json.loads(path.read_text()) for path in root.rglob("result.json")]
    return {result["id"]: result["losses"] for result in results}


def times_done(folder: Path) -> dict[str, int]:
    """How often each run came to its end."""
    root = folder / "results" / "smoke" / "runs"
    return {
        str(path.parent.relative_to(root)): path.read_text().count('"event": "end"')
        for path in root.rglob("events.jsonl")
    }


def check(folder: Path, reference: dict[str, dict[str, float]], ended: set[str]) -> None:
    """Every run done exactly once, and equal to the undisturbed one.

    Args:
        ended: runs whose job was made to fail, perhaps after its training had ended: Snakemake has then
            removed the result, and they may be done twice.

    Raises:
        AssertionError: not so.
    """
    climbed = losses(folder)
    assert set(climbed) == set(reference), set(climbed) ^ set(reference)
    different = [run for run in reference if climbed[run] != reference[run]]
    assert not different, f"other losses than undisturbed: {different}"
    repeated = {run: n for run, n in times_done(folder).items() if n != 1 and run not in ended}
    assert not repeated, f"not done exactly once: {repeated}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1800, help="give up after this long")
    options = parser.parse_args()
    cluster = LocalCluster()
    cluster.up()
    folders = [Path(tempfile.mkdtemp(prefix=f"chaos-{name}-")) for name in ("calm", "stormy")]
    calm, stormy = map(clone, folders)
    print("undisturbed climb", flush=True)
    command = [sys.executable, "-m", "snakemake", "--config", "ladder=smoke"]
    subprocess.run(command, cwd=calm, check=True, capture_output=True)
    (stormy / "results").mkdir()
    shutil.copy(calm / "results" / "machine.json", stormy / "results")
    chaos = Chaos(cluster, stormy, options.seed)
    began = time.monotonic()
    chaos.climb(options.faults, options.seconds)
    check(stormy, losses(calm), chaos.ended)
    total = sum(chaos.done.values())
    print(f"{total} faults in {time.monotonic() - began:.0f} s, every run done once with equal losses")
    for name, count in sorted(chaos.done.items()):
        print(f"  {count:3d}  {name}")


if __name__ == "__main__":
    main()
