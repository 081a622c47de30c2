"""Kill whole climbs at random moments, start them again, and compare what comes out with an undisturbed one.

    python benchmarks/kills.py [--kills 50] [--ladder smoke] [--seed 0] [--minutes 60] [--out kills.json]

A climb runs in a folder of its own, like a clone. Each kill is SIGKILL for Snakemake and all its descendants
at a moment drawn at random: while one of the rules that are still to do is at work, or at any time. After a
kill come `snakemake --unlock` and one start, as README.md says, and that start must go on until it is killed
in turn or the report is there: one that fails by itself is a problem. Of three climbs one begins with
nothing, one lacks some runs and all that is made of them, and one lacks only that, so that collecting, fits,
comparison and report are killed as often as preparation and training.

Equal, bit for bit: held-out losses of every run, the loss of every logged step, the manifest of the shards,
the tables, and fits and comparison on the axes that are no time. Exit status 1 if anything differs, or if a
start was needed twice.
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
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from stepladder.record.events import read_steps
from stepladder.record.paths import LadderFolder

ROOT = Path(__file__).parents[1]
RULES = ("data", "calibrate", "price", "train", "collect", "fit", "compare", "report")
"""In the order in which a climb comes to them."""
TABLES = ("runs.parquet", "steps.parquet", "comparison.json", "report.pdf", "fits")
"""What is made of runs."""
RUNS_MISSING = 3
"""In a climb that lacks some."""
TIMELESS = ("flops", "tokens")
"""Axes of cost that are the same in every climb."""


class Climbing:
    """One folder like a clone, and Snakemake in it."""

    def __init__(self, folder: Path, ladder: str) -> None:
        self.folder, self._ladder = folder, ladder
        self.results = LadderFolder(folder / "results" / ladder)
        if folder.exists():
            return
        folder.mkdir()
        for name in ("Snakefile", "workflow", "configs", "profiles"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)

    def command(self, *options: str) -> list[str]:
        """Snakemake on this ladder."""
        return [sys.executable, "-m", "snakemake", *options, "--config", f"ladder={self._ladder}"]

    def start(self) -> subprocess.Popen[bytes]:
        """Begin to climb, or go on."""
        with (self.folder / "snakemake.log").open("ab") as log:
            return subprocess.Popen(self.command(), cwd=self.folder, stdout=log, stderr=log)

    def unlock(self) -> None:
        """What README.md says to do after a hard kill."""
        subprocess.run(self.command("--unlock"), cwd=self.folder, check=True, capture_output=True)

    def begin_late(self, calm: Climbing, chance: random.Random, missing: int) -> None:
        """Take over a climb that has ended, without its tables and what is made of them, and so many runs."""
        shutil.copytree(calm.folder, self.folder, symlinks=True, dirs_exist_ok=True)
        for name in TABLES:
            path = self.results.path / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        done = sorted(self.results.runs.glob("**/result.json"))
        for path in chance.sample(done, missing):
            shutil.rmtree(path.parent)

    def to_do(self) -> list[str]:
        """Rules whose output is not there."""
        path, planned = self.results.path, 0
        if self.results.plan.exists():
            planned = len(json.loads(self.results.plan.read_text())["runs"])
        done = {
            "data": self.results.manifest.exists(),
            "calibrate": (self.folder / "results/machine.json").exists(),
            "price": planned > 0,
            "train": len(list(self.results.runs.glob("**/result.json"))) >= planned > 0,
            "collect": self.results.runs_table.exists(),
            "fit": len(list(path.glob("fits/*.json"))) >= 3,
            "compare": self.results.comparison.exists(),
            "report": (path / "report.pdf").exists(),
        }
        return [rule for rule in RULES if not done[rule]]


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The process and all its descendants."""
    try:
        head = psutil.Process(process.pid)
        return [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def at_work(members: list[psutil.Process]) -> set[str]:
    """Rules whose command is running among these processes."""
    found = set()
    for member in members:
        try:
            words = member.cmdline()
        except psutil.Error:
            continue
        # `python .../bin/stepladder train ...`, not the shell around it
        for before, word in pairwise(words):
            if Path(before).name == "stepladder" and word in RULES:
                found.add(word)
    return found


def kill(process: subprocess.Popen[bytes]) -> set[str]:
    """SIGKILL for all of them, again until no child is born any more; returns the rules that were at work."""
    members = family(process)
    hit = at_work(members)
    while alive := [member for member in members if member.is_running() and member.status() != "zombie"]:
        for member in alive:
            try:
                members += [child for child in member.children(recursive=True) if child not in members]
                os.kill(member.pid, signal.SIGKILL)
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        process.poll()
        time.sleep(0.02)
    process.wait()
    return hit


def wait_for_moment(climb: Climbing, process: subprocess.Popen[bytes], chance: random.Random) -> None:
    """Return when it is time to kill; at once if the process has ended."""
    rules = climb.to_do()
    # Mostly what comes next: a late rule costs the whole climb until there.
    weights = [1.0, *[0.1] * (len(rules) - 1), 0.5] if rules else [1.0]
    target = chance.choices([*rules, "any"], weights)[0]
    pause = {"any": 20.0, "train": 40.0}.get(target, 10.0)
    while process.poll() is None and target != "any" and target not in at_work(family(process)):
        time.sleep(0.02)
    deadline = time.monotonic() + chance.uniform(0, pause)
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def outcome(results: LadderFolder) -> dict[str, Any]:
    """All that must be equal: nothing that is a time, or made of times."""
    import pandas as pd

    found: dict[str, Any] = {"data": json.loads(results.manifest.read_text())}
    for path in sorted(results.runs.glob("**/result.json")):
        run = json.loads(path.read_text())
        steps = [(step["step"], step["loss"]) for step in read_steps(path.with_name("events.jsonl"))]
        scores = {name: run[name] for name in ("loss", "losses", "flops", "tokens", "spec_sha256")}
        found[run["id"]] = {"steps": steps, **scores}
    table = pd.read_parquet(results.runs_table).sort_values("id")
    found["runs.parquet"] = table[["id", "loss", "flops", "tokens", "planned_flops"]].to_dict("records")
    found["steps.parquet"] = pd.read_parquet(results.steps_table)[["id", "step", "loss"]].to_dict("records")
    for axis in TIMELESS:
        fit = json.loads(results.fit(axis).read_text())
        del fit["content_sha256"], fit["made_from"]["rows_sha256"]  # the rows have seconds in them
        found[f"fits/{axis}.json"] = fit
    compared = json.loads(results.comparison.read_text())
    found["comparison.json"] = {
        "noise": compared["noise"],
        "ranks": compared["ranks"],
        "gains": [[pair["gains"][axis] for axis in TIMELESS] for pair in compared["comparisons"]],
        "seeds": [pair["seed_test"] for pair in compared["comparisons"]],
    }
    found["report.pdf"] = (results.path / "report.pdf").read_bytes()[:5]
    return found


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names of what is not equal."""
    return [name for name in {**a, **b} if a.get(name) != b.get(name)]


def main() -> None:
    """Run the climbs and print what was hit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--ladder", default="smoke")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="begin no further kill after this time")
    parser.add_argument("--calm", type=Path, help="folder of an undisturbed climb of this code")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    chance, hits, problems = random.Random(arguments.seed), Counter[str](), []
    end, kills, climbs = time.monotonic() + 60 * arguments.minutes, 0, 0
    scratch = Path(tempfile.mkdtemp(prefix="stepladder-kills-"))
    calm = Climbing(arguments.calm or scratch / "calm", arguments.ladder)
    subprocess.run(calm.command(), cwd=calm.folder, check=True, capture_output=True)
    expected = outcome(calm.results)
    print(f"undisturbed climb: {len(expected)} things to compare", flush=True)
    while kills < arguments.kills and time.monotonic() < end:
        climbs += 1
        climb = Climbing(scratch / f"climb-{climbs}", arguments.ladder)
        if climbs % 3 != 1:
            climb.begin_late(calm, chance, missing=RUNS_MISSING * (climbs % 3 == 2))
        while True:
            process = climb.start()
            if kills < arguments.kills and time.monotonic() < end:
                wait_for_moment(climb, process, chance)
            else:
                process.wait()
            if process.poll() is not None:
                break
            hit = kill(process)
            kills += 1
            hits.update(hit or {"snakemake alone"})
            named = ", ".join(sorted(hit)) or "snakemake alone"
            print(f"{kills:3} climb {climbs}: killed {named}", flush=True)
            climb.unlock()
        if process.returncode:
            problems.append(f"climb {climbs}: a start failed by itself: see {climb.folder}/snakemake.log")
            print(problems[-1], flush=True)
            continue
        wrong = differing(outcome(climb.results), expected)
        print(f"    climb {climbs}: {'DIFFERENT: ' + ', '.join(wrong) if wrong else 'equal'}", flush=True)
        problems += [f"climb {climbs}: {name} differs" for name in wrong]
        if not wrong:
            shutil.rmtree(climb.folder)
    print(f"{kills} kills in {climbs} climbs, {len(problems)} problems; at work when killed: {dict(hits)}")
    if arguments.out:
        record = {"kills": kills, "climbs": climbs, "problems": problems, "hits": dict(hits)}
        arguments.out.write_text(json.dumps(record | {"ladder": arguments.ladder}, indent=1) + "\n")
    if not problems:
        shutil.rmtree(scratch)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
