"""How long a ladder of a thousand runs takes to plan, and to find that there is nothing to do.

    python benchmarks/plan_speed.py [--runs 1000]

Writes the ladder and an empty results folder into a temporary copy of the workflow, so that nothing
in this clone is touched. Figures are wall seconds of whole commands: minimum and median of five.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
COMMANDS = {
    "snakemake plan": ["plan"],
    "snakemake --dry-run": ["--dry-run", "--quiet", "all"],
    "snakemake --help (start-up alone)": ["--help"],
}


def main() -> None:
    """Time every command on a ladder of `--runs` runs."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--runs", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder)
        for name in ("Snakefile", "workflow", "configs", "profiles"):
            source = REPOSITORY / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, clone / name)
        runs = write_ladder(clone / "large.yaml", arguments.runs)
        print(f"{runs} runs")
        for name, command in COMMANDS.items():
            seconds = [time_command(clone, command) for _ in range(5)]
            print(f"{name:36} min {min(seconds):5.2f} s   median {statistics.median(seconds):5.2f} s")


def write_ladder(path: Path, runs: int) -> int:
    """The laptop ladder with more seeds: 4 rungs x 4 variants x seeds. Returns the number of runs."""
    seeds = max(1, runs // 16)
    text = (REPOSITORY / "configs/ladders/laptop.yaml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("  - {depth:")]
    rungs = [f"  - {{depth: {depth}}}" for depth in (2, 3, 4, 5)]
    lines[lines.index("rungs:") + 1 : lines.index("rungs:") + 1] = rungs
    lines += [f"seeds: {list(range(seeds))}"]
    text = "\n".join(lines).replace("name: laptop", "name: large").replace("_hours: 1 ", "_hours: 1000 ")
    path.write_text(text + "\n")
    return 16 * seeds


def time_command(folder: Path, arguments: list[str]) -> float:
    """Wall seconds of one snakemake call from a fresh state."""
    shutil.rmtree(folder / "results", ignore_errors=True)
    shutil.rmtree(folder / ".snakemake", ignore_errors=True)
    command = [sys.executable, "-m", "snakemake", *arguments, "--config", "ladder=large.yaml"]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
