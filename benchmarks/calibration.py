"""Are intervals and verdicts what they say? Simulated ladders whose truth is known.

    python benchmarks/calibration.py --ladders 1000 --out benchmarks/results/calibration.json

A ladder is drawn from a true law per variant; each run has seed noise of log loss, part of it common to the
variants of a seed (they share the order of data). `bent`: the truth is no power of compute (Chinchilla's
law along 20 tokens per parameter, whose two powers differ), and each rung of each variant is a little off
its optimum, as after an imperfect learning-rate rule. Coverage is the share of ladders whose 95 % interval
holds the truth; with 1,000 ladders its standard error is 0.7 points.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.schema.analysis import AnalysisConfig

LAPTOP = (4.4e10, 2.9e11, 1.06e12, 3.0e12)
CLUSTER = (4.3e17, 2.2e18, 1.1e19, 5.4e19, 2.7e20)


@dataclass(frozen=True)
class Scenario:
    """How ladders are drawn."""

    name: str
    flops: tuple[float, ...]
    seeds: tuple[int, ...]
    sigma: float
    """Seed noise: standard deviation of a run's log loss."""
    shared: float
    """Share of its variance that the variants of a seed have in common."""
    gain: float
    """True efficiency gain of the candidate, at every scale."""
    bent: bool = False
    mistuned: float = 0.0
    """Standard deviation of log loss of a rung of a variant off its optimum, the same for all its seeds."""


SCENARIOS = [
    Scenario("laptop, 3/3/2/2 seeds", LAPTOP, (3, 3, 2, 2), 0.006, 0.3, 1.1),
    Scenario("laptop, 4 x 2 seeds", LAPTOP, (2, 2, 2, 2), 0.006, 0.3, 1.1),
    Scenario("laptop, 3/2/2/1 seeds, bent", LAPTOP, (3, 2, 2, 1), 0.006, 0.3, 1.1, bent=True, mistuned=0.002),
    Scenario("cluster, 4 x 2 seeds", CLUSTER[:4], (2, 2, 2, 2), 0.0015, 0.3, 1.1),
    Scenario(
        "cluster, 5 x 2 seeds, bent", CLUSTER, (2, 2, 2, 2, 2), 0.0015, 0.3, 1.1, bent=True, mistuned=0.0005
    ),
    Scenario(
        "cluster, 3/3/2/2/1 seeds, bent",
        CLUSTER,
        (3, 3, 2, 2, 1),
        0.0015,
        0.3,
        1.1,
        bent=True,
        mistuned=0.0005,
    ),
]


def true_loss(flops: np.ndarray, laptop: bool, bent: bool) -> np.ndarray:
    """The baseline's, nats/token."""
    if not bent:
        return 1.0 + 0.8 * (flops / 1e12) ** -0.25 if laptop else 1.8 + 2.6 * (flops / 1e18) ** -0.16
    # 20 tokens per parameter: C = 120 N^2.
    N = np.sqrt(flops / 120)
    if laptop:
        return 1.0 + 0.45 * (N / 1e5) ** -0.42 + 0.4 * (20 * N / 2e6) ** -0.6
    return 1.8172 + 482.01 * N**-0.3478 + 2085.43 * (20 * N) ** -0.3658


def draw(scenario: Scenario, number: int) -> pd.DataFrame:
    """The runs of one ladder."""
    generator = np.random.default_rng([number, *scenario.name.encode()])
    laptop, rows = scenario.flops == LAPTOP, []
    for place, (flops, seeds) in enumerate(zip(scenario.flops, scenario.seeds, strict=True)):
        off = scenario.mistuned * np.abs(generator.standard_normal(2))
        common = generator.standard_normal(seeds)
        own = generator.standard_normal((2, seeds))
        for v, (variant, gain) in enumerate((("dense-baseline", 1.0), ("dense-idea", scenario.gain))):
            loss = float(true_loss(np.array([gain * flops]), laptop, scenario.bent)[0])
            for seed in range(seeds):
                noise = (
                    math.sqrt(scenario.shared) * common[seed] + math.sqrt(1 - scenario.shared) * own[v, seed]
                )
                rows.append(
                    {
                        "id": f"{variant}/d{place}/seed{seed}",
                        "variant": variant,
                        "architecture": "dense",
                        "recipe": variant.split("-")[1],
                        "rung": f"d{place}",
                        "depth": place,
                        "budget": "1x",
                        "budget_multiple": 1.0,
                        "seed": seed,
                        "learning_rate_factor": 1.0,
                        "parameters_active_non_embedding": math.sqrt(flops / 120),
                        "loss": loss * math.exp(scenario.sigma * noise + off[v]),
                        "flops": flops,
                        "accelerator_seconds": flops / 3e10,
                        "tokens": math.sqrt(flops / 6),
                    }
                )
    return pd.DataFrame(rows)


def judge(scenario: Scenario, number: int, draws: int) -> dict[str, Any]:
    """What the analysis says of one ladder, beside the truth."""
    runs = draw(scenario, number)
    config = AnalysisConfig(
        baseline="dense-baseline",
        bootstrap_draws=draws,
        seed=number,
        leave_one_out=False,
        target_flops=10 * scenario.flops[-1],
    )
    law = fit(runs, "flops", config)
    # Time is proportional to FLOPs here, so one fit stands for both.
    found = compare(
        runs, {"flops": law, "seconds": law.model_copy(update={"axis": "seconds"})}, config
    ).comparisons[0]
    gains, truth = found.gains["flops"], scenario.gain
    # A held-out prediction is of the mean that its runs will have, noise included.
    held = [(p.interval, p.observed) for p in law.held_out.predictions]
    row = {"promoted": found.verdict == "promote", "rejected": found.verdict == "reject"}
    intervals = {
        "EG at the largest rung": [(gains.at_largest.interval, truth)],
        "EG at 10x the largest": [(gains.at_target.interval, truth)],
        "EG pooled": [(gains.pooled.interval, truth)],
        "trend of EG": [(gains.trend.interval, 0.0)],
        "held-out loss": held,
    }
    return row | {
        "covered": {name: [inside(i, t) for i, t in pairs] for name, pairs in intervals.items()},
        "width": width(gains.at_largest.interval),
    }


def inside(interval: list[float | None] | None, value: float) -> bool | None:
    if interval is None:
        return None
    low, high = interval
    return (low is None or low <= value) and (high is None or value <= high)


def width(interval: list[float | None] | None) -> float:
    """Factor between the ends."""
    if interval is None or None in interval:
        return math.inf
    return interval[1] / interval[0]


def summarise(scenario: Scenario, ladders: int, draws: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    start = time.perf_counter()
    numbers = range(ladders)
    same = replace(scenario, name=scenario.name + " (equal)", gain=1.0)
    jobs = {
        name: [pool.submit(judge, s, n, draws) for n in numbers]
        for name, s in (("idea", scenario), ("equal", same))
    }
    found = {name: [job.result() for job in batch] for name, batch in jobs.items()}
    coverage = {}
    for key in found["idea"][0]["covered"]:
        hits = [hit for row in found["idea"] for hit in row["covered"][key] if hit is not None]
        coverage[key] = {"coverage": float(np.mean(hits)), "n": len(hits)}
    return asdict(scenario) | {
        "ladders": ladders,
        "coverage": coverage,
        "equal_promoted": float(np.mean([row["promoted"] for row in found["equal"]])),
        "equal_rejected": float(np.mean([row["rejected"] for row in found["equal"]])),
        "power": float(np.mean([row["promoted"] for row in found["idea"]])),
        "median_width_factor": float(np.median([row["width"] for row in found["idea"]])),
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ladders", type=int, default=1000, help="per scenario")
    parser.add_argument("--draws", type=int, default=400, help="bootstrap draws per ladder")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(options.workers) as pool:
        for scenario in SCENARIOS:
            if options.only not in scenario.name:
                continue
            row = summarise(scenario, options.ladders, options.draws, pool)
            rows.append(row)
            if options.out:  # after each, so that an interrupted run keeps what it has
                options.out.write_text(
                    json.dumps({"draws": options.draws, "scenarios": rows}, indent=1) + "\n"
                )
            cover = "  ".join(f"{k} {100 * v['coverage']:.1f} %" for k, v in row["coverage"].items())
            print(
                f"{row['name']}: {cover} | equal promoted {100 * row['equal_promoted']:.1f} %, "
                f"power {100 * row['power']:.1f} %, interval x/÷ {row['median_width_factor'] ** 0.5:.3f} "
                f"({row['seconds']:.0f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
