"""Kill a run at random moments, restart it until it ends, and compare every bit with an undisturbed run.

    python benchmarks/resume.py [--kills 50] [--ladder smoke] [--rung d2] [--out results/resume.json]

Each trial starts `stepladder train` as a process of its own, kills it with SIGKILL at a moment drawn at
random among three kinds (while a checkpoint is being written, while it evaluates, any time while it trains),
and starts it again, without a kill, to its end. Equal: the held-out losses, the loss of every logged step,
and every tensor of the last checkpoint. Exit status 1 if a single bit differs.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from stepladder.data.prepare import prepare
from stepladder.ladder.climb import Climb
from stepladder.record.events import read_events, read_steps
from stepladder.record.spec import RunSpec
from stepladder.training.checkpoint import newest_checkpoint
from stepladder.training.stored_tensors import read_tensors
from stepladder.training.trainer import Trainer

MOMENTS = ("training", "checkpoint", "evaluation")


def command(spec: RunSpec, data: Path, folder: Path) -> list[str]:
    """What Snakemake runs, with a checkpoint every 0.3 s."""
    out, manifest = folder / "result.json", data / "manifest.json"
    engine = json.dumps({"checkpoint_seconds": 0.3})
    arguments = ["train", spec.to_json(), "--manifest", manifest, "--out", out, "--engine", engine]
    return [sys.executable, "-m", "stepladder.cli", *map(str, arguments), "--device", "cpu"]


def outcome(spec: RunSpec, folder: Path) -> tuple[dict[str, float], list[float], dict[str, torch.Tensor]]:
    """Held-out losses, logged losses, tensors of the last checkpoint."""
    checkpoint, problems = newest_checkpoint(folder / "checkpoints")
    assert checkpoint is not None and not problems
    tensors = Trainer(spec, torch.device("cpu")).state()
    read_tensors(checkpoint.path, tensors)
    losses = json.loads((folder / "result.json").read_text())["losses"]
    return losses, [record["loss"] for record in read_steps(folder / "events.jsonl")], tensors


def same(a, b) -> bool:
    """Whether two outcomes are equal bit for bit."""
    return a[:2] == b[:2] and all(torch.equal(t, b[2][name]) for name, t in a[2].items())


def begun(folder: Path, events: set[str]) -> bool:
    """Whether one of these events is in the log."""
    log = folder / "events.jsonl"
    return log.exists() and any(record["event"] in events for record in read_events(log))


def wait_for(moment: str, folder: Path, chance: random.Random, seconds: float, process) -> None:
    """Return when it is time to kill."""
    while process.poll() is None and not begun(folder, {"start", "resume"}):
        time.sleep(0.002)
    if moment == "training":
        time.sleep(chance.uniform(0, seconds))
    elif moment == "checkpoint":
        time.sleep(chance.uniform(0, seconds / 2))
        while process.poll() is None and not list(folder.glob("checkpoints/partial-*")):
            time.sleep(0.0005)
        time.sleep(chance.uniform(0, 0.03))
    else:  # all steps are done when the last one is logged
        while process.poll() is None and not last_step_logged(folder):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.2))


def last_step_logged(folder: Path) -> bool:
    """Whether the run has trained its last step."""
    steps = json.loads((folder / "spec.json").read_text())["recipe"]["phases"]
    total = sum(phase["steps"] for phase in steps)
    log = folder / "events.jsonl"
    return any(r["event"] == "step" and r["step"] == total - 1 for r in read_events(log))


def trial(spec: RunSpec, data: Path, folder: Path, moment: str, chance: random.Random, seconds: float) -> str:
    """One kill and the way to the end; returns the event after which the kill came."""
    start = command(spec, data, folder)
    process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(moment, folder, chance, seconds, process)
    process.kill()
    process.wait()
    saving = bool(list(folder.glob("checkpoints/partial-*")))
    last = read_events(folder / "events.jsonl")[-1]["event"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if last == "end":
        return "after the end"
    if last_step_logged_before_kill(folder):
        return "evaluation, last checkpoint being written" if saving else "evaluation"
    return "training, checkpoint being written" if saving else "training"


def last_step_logged_before_kill(folder: Path) -> bool:
    """Whether the first attempt had trained its last step."""
    records = read_events(folder / "events.jsonl")
    starts = [i for i, record in enumerate(records) if record["event"] in ("start", "resume")]
    first = records[: starts[1]] if len(starts) > 1 else records
    total = records[-1]["event"] == "end" and max(r["step"] for r in records if r["event"] == "step")
    return any(r["event"] == "step" and r["step"] == total for r in first)


def main() -> None:
    """Run the trials and print what was hit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--ladder", default="smoke")
    parser.add_argument("--rung", default="d2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    climb, chance = Climb.open(arguments.ladder), random.Random(arguments.seed)
    variants = ("dense-baseline", "moe-tst")
    specs = {
        v: next(r for r in climb.runs.values() if (r.variant, r.rung) == (v, arguments.rung))
        for v in variants
    }
    hits: Counter[str] = Counter()
    differing = []
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch, "data")
        data.mkdir()
        settings = json.loads(climb.data)
        prepare(settings["source"], settings["tokenizer"], settings["validation_fraction"], data)
        undisturbed, seconds = {}, {}
        for variant, spec in specs.items():
            folder = Path(scratch, variant)
            subprocess.run(command(spec, data, folder), check=True, stderr=subprocess.DEVNULL)
            undisturbed[variant] = outcome(spec, folder)
            found = json.loads((folder / "result.json").read_text())["seconds"]
            seconds[variant] = found["step"] + found["stall"] + found["other"]
        for number in range(arguments.kills):
            variant, moment = variants[number % 2], MOMENTS[number // 2 % 3]
            folder = Path(scratch, f"trial-{number}")
            hit = trial(specs[variant], data, folder, moment, chance, seconds[variant])
            hits[hit] += 1
            equal = same(outcome(specs[variant], folder), undisturbed[variant])
            differing += [] if equal else [number]
            print(
                f"{number + 1:3} {variant:15} killed: {hit:42} {'equal' if equal else 'DIFFERENT'}",
                flush=True,
            )
            shutil.rmtree(folder)
    print(f"{arguments.kills - len(differing)} of {arguments.kills} ends equal bit for bit; {dict(hits)}")
    if arguments.out:
        record = {"kills": arguments.kills, "differing": differing, "hits": dict(hits)}
        record |= {"ladder": arguments.ladder, "rung": arguments.rung, "torch": torch.__version__}
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
