"""What it costs to send many trivial jobs through Slurm: this executor and snakemake-executor-plugin-slurm.

    pip install snakemake-executor-plugin-slurm
    eval "$(python tests/slurm/local_cluster.py up)"
    python benchmarks/slurm_overhead.py [--jobs 200] [--run 24] [--queued 10000] [--out FILE]

Any Slurm will do where `scontrol update partition` is allowed: submission is measured with the partition
closed, so that nothing runs meanwhile. Each executor gets the same workflow, one after the other.

    submission   head CPU (its commands included) and wall time from start until all jobs are queued, per job:
                 the cost of N jobs minus that of one job, divided by N - 1; calls of Slurm's commands
    execution    a few jobs from start to end: wall time, and CPU on the nodes per job
    queued       this executor only: CPU share and memory of the head while very many jobs wait
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import psutil

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "sacctmgr", "scontrol", "sinfo", "srun", "sshare")
EXECUTORS = {
    "submitit": ["--executor", "submitit"],
    "submitit, no arrays": ["--executor", "submitit", "--submitit-array-size", "1"],
    "slurm": ["--executor", "slurm"],
    "slurm, arrays": ["--executor", "slurm", "--slurm-array-jobs=all"],
}
SNAKEFILE = """
rule all:
    input: expand("out/{i}.txt", i=range(int(config["count"])))
rule job:
    output: "out/{i}.txt"
    resources: runtime=30, mem_mb=1000, slurm_partition=config["partition"]
    shell: "hostname > {output}"
"""


class Bench:
    """A folder with the workflow and with counting stand-ins for Slurm's commands."""

    def __init__(self, partition: str) -> None:
        self.partition = partition
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-overhead-"))
        shims = self.folder / "bin"
        shims.mkdir()
        for name in COMMANDS:
            real = shutil.which(name)
            if real is None:
                continue
            # srun gets SLURM_CONF back, which the official executor's job step drops
            config = f"export SLURM_CONF={os.environ.get('SLURM_CONF', '')}\n" if name == "srun" else ""
            text = f'#!/bin/sh\n{config}echo {name} >> "$SHIM_LOG"\nexec {real} "$@"\n'
            (shims / name).write_text(text)
            (shims / name).chmod(0o755)
        self.path = f"{shims}:{os.environ['PATH']}"

    def start(self, name: str, count: int) -> tuple[subprocess.Popen, Path]:
        """Start a head on `count` jobs in a folder of its own."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "Snakefile").write_text(SNAKEFILE)
        command = [
            sys.executable,
            "-m",
            "snakemake",
            *EXECUTORS[name],
            "--jobs",
            str(count),
            "--quiet",
            "all",
        ]
        command += ["--max-jobs-per-timespan", "100000/1s", "--latency-wait", "5", "--scheduler", "greedy"]
        command += ["--config", f"count={count}", f"partition={self.partition}"]
        log = (folder / "log").open("w")
        environment = os.environ | {"PATH": self.path, "SHIM_LOG": str(folder / "calls")}
        head = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, preexec_fn=allow_interrupt
        )
        return head, folder

    def calls(self, folder: Path) -> dict[str, int]:
        path = folder / "calls"
        return dict(Counter(path.read_text().split())) if path.exists() else {}

    def submission(self, name: str, count: int) -> dict:
        """Cost until `count` jobs stand in the closed partition's queue."""
        self.empty_queue()
        began = time.monotonic()
        head, folder = self.start(name, count)
        while queued(self.partition) < count:
            if head.poll() is not None:
                raise SystemExit(f"{name}: the head ended:\n{(folder / 'log').read_text()}")
            time.sleep(0.05 if count == 1 else 0.2)
        wall = time.monotonic() - began
        result = {"wall_s": wall, "head_cpu_s": cpu_seconds(head.pid), "calls": self.calls(folder)}
        stop(head)
        return result

    def execution(self, name: str, count: int) -> dict:
        """`count` jobs from start to end."""
        self.empty_queue()
        began = time.monotonic()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
        head, folder = self.start(name, count)
        cpu = 0.0
        while head.poll() is None:
            cpu = max(cpu, cpu_seconds(head.pid))
            time.sleep(0.2)
        wall = time.monotonic() - began
        if head.returncode:
            raise SystemExit(f"{name}: failed:\n{(folder / 'log').read_text()}")
        time.sleep(3)  # accounting writes late
        fields = ["sacct", "-n", "-P", "-o", "JobID,TotalCPU", "-S", stamp, "-r", self.partition]
        text = subprocess.run(fields, capture_output=True, text=True).stdout
        rows = [line.split("|") for line in text.splitlines()]
        node = sum(clock(total) for job, total in rows if "." not in job)
        return {
            "wall_s": wall,
            "head_cpu_s": cpu,
            "node_cpu_s_per_job": node / count,
            "calls": self.calls(folder),
        }

    def queued(self, count: int, seconds: float = 90.0) -> dict:
        """A head that watches `count` waiting jobs."""
        self.empty_queue()
        head, folder = self.start("submitit", count)
        began = time.monotonic()
        while queued(self.partition) < count:
            if head.poll() is not None:
                raise SystemExit(f"the head ended:\n{(folder / 'log').read_text()}")
            time.sleep(0.5)
        submitted = time.monotonic() - began
        time.sleep(20)  # to the longest poll time
        process = psutil.Process(head.pid)
        before, calls, start = cpu_seconds(head.pid), self.calls(folder), time.monotonic()
        time.sleep(seconds)
        share = (cpu_seconds(head.pid) - before) / (time.monotonic() - start)
        more = {key: value - calls.get(key, 0) for key, value in self.calls(folder).items()}
        result = {
            "jobs": count,
            "submitted_after_s": submitted,
            "head_rss_mib": process.memory_info().rss / 2**20,
            "head_core_share": share,
            "watched_s": seconds,
            "calls_while_watching": {key: value for key, value in more.items() if value},
            "calls_until_submitted": calls,
        }
        stop(head)
        return result

    def empty_queue(self) -> None:
        subprocess.run(["scancel", "-p", self.partition, "--me"], capture_output=True)
        while queued(self.partition):
            time.sleep(0.2)


def allow_interrupt() -> None:
    """Ctrl-C works on the head even where this runs in the background of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def queued(partition: str) -> int:
    text = subprocess.run(["squeue", "-h", "-r", "-p", partition], capture_output=True, text=True).stdout
    return text.count("\n")


def set_partition(partition: str, state: str) -> None:
    subprocess.run(["scontrol", "update", f"partitionname={partition}", f"state={state}"], check=True)


def cpu_seconds(pid: int) -> float:
    """CPU of a process and of its ended children."""
    try:
        return sum(psutil.Process(pid).cpu_times()[:4])
    except psutil.NoSuchProcess:
        return 0.0


def stop(head: subprocess.Popen) -> None:
    head.send_signal(signal.SIGINT)
    try:
        head.wait(60)
    except subprocess.TimeoutExpired:
        head.kill()
        head.wait()


def clock(text: str) -> float:
    """`[h:]m:s` in seconds."""
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60 + float(part or 0)
    return seconds


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=200, help="jobs whose submission is measured")
    parser.add_argument("--rounds", type=int, default=3, help="times that submission is measured; medians")
    parser.add_argument("--run", type=int, default=24, help="jobs that are run; 0 leaves it out")
    parser.add_argument("--queued", type=int, default=10_000, help="waiting jobs to watch; 0 leaves it out")
    parser.add_argument("--partition", default="main")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    bench = Bench(options.partition)
    names = [n for n in EXECUTORS if "slurm" not in n or installed("snakemake-executor-plugin-slurm")]
    packages = ("snakemake", "submitit", "snakemake-executor-plugin-slurm")
    report: dict = {
        "command": " ".join(["python", *sys.argv]),
        "cpu": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}",
        "versions": {package: installed(package) for package in packages},
        "slurm": subprocess.run(["sbatch", "--version"], capture_output=True, text=True).stdout.strip(),
        "submission": {},
        "execution": {},
    }
    set_partition(options.partition, "down")
    try:
        for name in names:
            rounds = [
                (bench.submission(name, 1), bench.submission(name, options.jobs))
                for _ in range(options.rounds)
            ]
            per_job = {
                f"{key}_per_job": median(many[key] - one[key] for one, many in rounds) / (options.jobs - 1)
                for key in ("wall_s", "head_cpu_s")
            }
            one, many = rounds[-1]
            report["submission"][name] = {"jobs": options.jobs, "one_job": one, "all_jobs": many} | per_job
            print(name, {key: round(value, 4) for key, value in per_job.items()}, many["calls"], flush=True)
        if options.queued:
            report["queued"] = bench.queued(options.queued)
            print("queued", report["queued"], flush=True)
    finally:
        bench.empty_queue()
        set_partition(options.partition, "up")
    for name in names if options.run else []:
        report["execution"][name] = {"jobs": options.run} | bench.execution(name, options.run)
        print("executed by", name, report["execution"][name], flush=True)
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    shutil.rmtree(bench.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
