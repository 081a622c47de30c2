"""Trunks and branches against runs trained independently: losses, and FLOPs saved.

    python benchmarks/trunk.py [--ladder smoke] [--rung d2] [--seeds 6] [--out results/trunk.json]

One rung at budgets 0.5x, 1x, 2x and 4x, dense-baseline and dense-tst. Independent: every run from step 0 with
a warmup of 5 % of its own steps. Branched: one trunk per seed with the warmup of the smallest budget, and a
branch per budget. A branch is bit for bit the whole run with that warmup (tests/training/test_fork.py), so
that what differs is the warmup alone. Reported per budget: the mean difference of the held-out loss over
seeds (same seed, same data order) with its 95 % interval (Student's t), beside the spread of seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import t

from stepladder.data.prepare import prepare
from stepladder.ladder.climb import Climb
from stepladder.ladder.expand import expand
from stepladder.ladder.trunk import Trunks, find_trunks
from stepladder.record.spec import RunSpec
from stepladder.schema.execution import EngineOptions
from stepladder.schema.ladder import Ladder
from stepladder.training.device import keep_freed_memory
from stepladder.training.process import configure_process
from stepladder.training.run import train

BUDGETS = (0.5, 1.0, 2.0, 4.0)
VARIANTS = ("dense-baseline", "dense-tst")
OPTIONS = EngineOptions(checkpoint_seconds=1e7)


def runs_of(ladder: Ladder, rung: str, seeds: int, trunk: bool) -> list[RunSpec]:
    """The runs of one rung, with or without a trunk."""
    (chosen,) = (r for r in ladder.rungs if r.label == rung)
    chosen = chosen.model_copy(update={"seeds": tuple(range(seeds)), "budgets": BUDGETS})
    optimizer = ladder.optimizer.model_copy(update={"trunk": trunk})
    runs = expand(ladder.model_copy(update={"rungs": (chosen,), "optimizer": optimizer}))
    return [run for run in runs if run.variant in VARIANTS]


def train_all(runs: list[RunSpec], trunks: Trunks, manifest: Path, folder: Path) -> dict[str, dict]:
    """Results of the segments and the runs, in an order in which each finds what it goes on from."""
    segments = sorted(trunks.segments.values(), key=lambda segment: segment.spec.recipe.steps)
    results = {}
    for number, spec in enumerate([*(segment.spec for segment in segments), *runs]):
        parent = trunks.parent(spec.id)
        fork = folder / parent.id / "result.json" if parent else None
        path = train(spec, manifest, folder / spec.id, device="cpu", options=OPTIONS, fork=fork)
        results[spec.id] = json.loads(path.read_text())
        print(f"{number + 1}/{len(segments) + len(runs)} {spec.id}", flush=True)
    return results


def compare(independent: dict[str, dict], branched: dict[str, dict], seeds: int) -> list[dict]:
    """One row per variant and budget."""
    rows = []
    for variant in VARIANTS:
        for budget in BUDGETS:
            ids = [
                n for n, r in independent.items() if (r["variant"], r["budget"]) == (variant, f"{budget:g}x")
            ]
            alone, branch = (np.array([found[n]["loss"] for n in ids]) for found in (independent, branched))
            difference = branch - alone
            half = t.ppf(0.975, seeds - 1) * difference.std(ddof=1) / seeds**0.5
            rows.append(
                {
                    "variant": variant,
                    "budget": budget,
                    "seeds": seeds,
                    "independent": alone.mean(),
                    "difference": difference.mean(),
                    "interval": [difference.mean() - half, difference.mean() + half],
                    "seed_sd": alone.std(ddof=1),
                    "flops": independent[ids[0]]["flops"],
                }
            )
    return rows


def saved(results: dict[str, dict], variant: str) -> float:
    """Share of the FLOPs of independent runs that trunks save."""
    own = [r for r in results.values() if r["variant"] == variant]
    whole = sum(r["flops"] for r in own if r["loss"] is not None)
    return 1 - sum(r["flops_trained"] for r in own) / whole


def main() -> None:
    """Train both ways and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ladder", default="smoke")
    parser.add_argument("--rung", default="d2")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    configure_process(1)
    keep_freed_memory()
    climb = Climb.open(arguments.ladder)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch, "data")
        data.mkdir()
        settings = json.loads(climb.data)
        manifest = prepare(settings["source"], settings["tokenizer"], settings["validation_fraction"], data)
        results = []
        for trunk in (False, True):
            runs = runs_of(climb.ladder, arguments.rung, arguments.seeds, trunk)
            trunks = find_trunks(runs if trunk else ())
            results.append(train_all(runs, trunks, manifest, Path(scratch, f"trunk-{trunk}")))
    rows = compare(*results, arguments.seeds)
    print("variant         budget  independent  difference [95 %]             seed s.d.  n")
    for row in rows:
        low, high = row["interval"]
        print(
            f"{row['variant']:15} {row['budget']:5g}x  {row['independent']:11.4f}  {row['difference']:+8.4f} "
            f"[{low:+.4f}, {high:+.4f}]  {row['seed_sd']:9.4f}  {row['seeds']}"
        )
    savings = {variant: saved(results[1], variant) for variant in VARIANTS}
    print("FLOPs saved:", ", ".join(f"{variant} {share:.0%}" for variant, share in savings.items()))
    if arguments.out:
        record = {"ladder": arguments.ladder, "rung": arguments.rung, "rows": rows, "flops_saved": savings}
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
