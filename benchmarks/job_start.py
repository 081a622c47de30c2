"""From the start of a job on its node to the first training step: where the seconds go.

    eval "$(python tests/slurm/local_cluster.py up)"
    python benchmarks/job_start.py [--rounds 3] [--out FILE]

One run of the smoke ladder, through Slurm, alternating between the two ways in which the executor can run a
job: the command as it was submitted, and a Snakemake on the node that parses the workflow again (what other
executors do). Needs a checkout with results/smoke/data and results/machine.json, which it makes if they are
missing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

RUN = "results/smoke/runs/dense-baseline/d1/0.25x/seed0"
SNAKEMAKE = [sys.executable, "-m", "snakemake"]
LADDER = ["--config", "ladder=smoke"]


def start_times(inner: bool) -> dict[str, float]:
    """Seconds of each part, for one job."""
    stamp = Path(tempfile.mkdtemp()) / "stamp"
    options = [
        "--profile",
        "slurm",
        "--latency-wait",
        "5",
        "--force",
        "--submitit-setup",
        f"date +%s.%N > {stamp}",
    ]
    options += ["--submitit-inner-snakemake"] if inner else []
    subprocess.run([*SNAKEMAKE, f"{RUN}/result.json", *options, *LADDER], check=True, capture_output=True)
    began = float(stamp.read_text())
    newest = max(Path(".snakemake/submitit").glob("*/0.jsonl"), key=lambda path: path.stat().st_mtime)
    payload = json.loads(newest.read_text().splitlines()[0])["time"]
    events = [json.loads(line) for line in Path(RUN, "events.jsonl").read_text().splitlines()]
    start = [event for event in events if event["event"] == "start"][-1]
    phase = next(e for e in events if e["event"] == "phase" and e["time"] >= start["time"])
    return {
        "srun, Python and submitit": payload - began,
        "command to first step": phase["time"] - payload,
        "all": phase["time"] - began,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    needed = ["results/smoke/data/manifest.json", "results/machine.json"]
    subprocess.run([*SNAKEMAKE, *needed, *LADDER], check=True, capture_output=True)
    rounds = [{inner: start_times(inner) for inner in (False, True)} for _ in range(options.rounds)]
    report = {
        name: {part: median(round_[inner][part] for round_ in rounds) for part in rounds[0][inner]}
        for name, inner in (("command as submitted", False), ("Snakemake on the node", True))
    }
    for name, parts in report.items():
        print(f"{name}: " + ", ".join(f"{part} {seconds:.2f} s" for part, seconds in parts.items()))
    if options.out:
        options.out.write_text(json.dumps({"rounds": options.rounds} | report, indent=1) + "\n")


if __name__ == "__main__":
    main()
