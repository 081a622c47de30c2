"""Are intervals and verdicts what they say? Simulated ladders whose truth is known, textbook and not.

    python benchmarks/calibration.py --ladders 1000 --out benchmarks/results/calibration.json
    python benchmarks/calibration.py --ladders 200 --only faults

A ladder is drawn from a true law per variant; each run has seed noise of log loss, part of it common to the
variants of a seed (they share the order of data). Coverage is the share of ladders whose 95 % interval holds
the truth; with 200 ladders its standard error is 1.5 points, with 1,000 it is 0.7.

`bent`: the truth is no power of compute (Chinchilla's law along 20 tokens per parameter, whose two powers
differ), and each rung of each variant is a little off its optimum, as after an imperfect learning-rate rule.
`faults`: what happens to ladders: a rung off its best learning rate, noise that changes with scale, unequal
seeds, few rungs, a gain that shrinks. There the truth is what the ladder would show without the fault.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.schema.analysis import AnalysisConfig

LAPTOP = (4.4e10, 2.9e11, 1.06e12, 3.0e12)
CLUSTER = (4.3e17, 2.2e18, 1.1e19, 5.4e19, 2.7e20)
REFERENCE, CANDIDATE = 0, 1


@dataclass(frozen=True)
class Scenario:
    """How ladders are drawn."""

    name: str
    flops: tuple[float, ...]
    seeds: tuple[tuple[int, ...], tuple[int, ...]]
    """Of reference and candidate, by rung."""
    sigma: tuple[float, ...]
    """Seed noise by rung: standard deviation of a run's log loss."""
    gain: tuple[float, ...]
    """True efficiency gain of the candidate, by rung."""
    shared: float = 0.3
    """Share of the noise's variance that the variants of a seed have in common."""
    bent: bool = False
    mistuned: float = 0.0
    """Standard deviation of log loss of a rung of a variant off its optimum, the same for all its seeds."""
    off: dict[tuple[int, int], float] = field(default_factory=dict)
    """(variant, rung) to what its log loss is too high by."""
    analysis: dict[str, Any] = field(default_factory=dict)
    """Settings other than the defaults."""


def ladder(name: str, flops: tuple[float, ...], seeds: Any, sigma: Any, gain: Any, **more: Any) -> Scenario:
    """A scenario from numbers that hold for all rungs, or tuples of one for each."""
    K = len(flops)

    def each(value: Any) -> tuple[Any, ...]:
        return tuple(value) if isinstance(value, tuple) else (value,) * K

    both = seeds if isinstance(seeds, tuple) and isinstance(seeds[0], tuple) else (each(seeds), each(seeds))
    return Scenario(name, flops, both, each(sigma), each(gain), **more)


FOUR = CLUSTER[:4]
SHRINKING = tuple(float(np.exp(x)) for x in np.linspace(math.log(1.29), math.log(1.18), 4))
SCENARIOS = [
    ladder("laptop, 3/3/2/2 seeds", LAPTOP, (3, 3, 2, 2), 0.006, 1.1),
    ladder("laptop, 4 x 2 seeds", LAPTOP, 2, 0.006, 1.1),
    ladder("laptop, 3/2/2/1 seeds, bent", LAPTOP, (3, 2, 2, 1), 0.006, 1.1, bent=True, mistuned=0.002),
    ladder("cluster, 4 x 2 seeds", FOUR, 2, 0.0015, 1.1),
    ladder("cluster, 5 x 2 seeds, bent", CLUSTER, 2, 0.0015, 1.1, bent=True, mistuned=0.0005),
    ladder(
        "cluster, 3/3/2/2/1 seeds, bent", CLUSTER, (3, 3, 2, 2, 1), 0.0015, 1.1, bent=True, mistuned=0.0005
    ),
]
FAULTS = [
    ladder("faults: none, noise 0.1 %", FOUR, 2, 0.001, 1.2),
    ladder("faults: none, noise 0.5 %", FOUR, 2, 0.005, 1.2),
    ladder("faults: reference undertuned by 0.2 % at the top", FOUR, 2, 0.001, 1.2, off={(0, 3): 0.002}),
    ladder("faults: reference undertuned by 0.5 % at the top", FOUR, 2, 0.001, 1.2, off={(0, 3): 0.005}),
    ladder("faults: candidate undertuned by 0.5 % at the top", FOUR, 2, 0.001, 1.2, off={(1, 3): 0.005}),
    ladder(
        "faults: both 1 % off at the smallest rung", FOUR, 2, 0.001, 1.2, off={(0, 0): 0.01, (1, 0): 0.01}
    ),
    ladder("faults: reference 1 % off at the smallest rung", FOUR, 2, 0.001, 1.2, off={(0, 0): 0.01}),
    ladder("faults: candidate 1 % off at the smallest rung", FOUR, 2, 0.001, 1.2, off={(1, 0): 0.01}),
    ladder("faults: noise shrinks from 0.5 to 0.1 %", FOUR, 2, (0.005, 0.003, 0.0017, 0.001), 1.2),
    ladder("faults: noise grows from 0.1 to 0.5 %", FOUR, 2, (0.001, 0.0017, 0.003, 0.005), 1.2),
    ladder("faults: seeds 4/3/2/1 against 2/1/1/1", FOUR, ((4, 3, 2, 1), (2, 1, 1, 1)), 0.0015, 1.2),
    ladder("faults: 3 rungs", FOUR[:3], 2, 0.001, 1.2),
    ladder("faults: none held out", FOUR, 2, 0.001, 1.2, analysis={"holdout_rungs": 0}),
    ladder("faults: gain shrinks from 1.29 to 1.18", FOUR, 2, 0.001, SHRINKING),
]


def true_loss(flops: float, laptop: bool, bent: bool) -> float:
    """The baseline's, nats/token."""
    if not bent:
        return 1.0 + 0.8 * (flops / 1e12) ** -0.25 if laptop else 1.8 + 2.6 * (flops / 1e18) ** -0.16
    # 20 tokens per parameter: C = 120 N^2.
    N = math.sqrt(flops / 120)
    if laptop:
        return 1.0 + 0.45 * (N / 1e5) ** -0.42 + 0.4 * (20 * N / 2e6) ** -0.6
    return 1.8172 + 482.01 * N**-0.3478 + 2085.43 * (20 * N) ** -0.3658


def draw(scenario: Scenario, number: int) -> pd.DataFrame:
    """The runs of one ladder."""
    generator = np.random.default_rng([number, *scenario.name.encode()])
    laptop, rows = scenario.flops[0] == LAPTOP[0], []
    for place, flops in enumerate(scenario.flops):
        counts = [scenario.seeds[v][place] for v in (REFERENCE, CANDIDATE)]
        off = scenario.mistuned * np.abs(generator.standard_normal(2))
        common = generator.standard_normal(max(counts))
        own = generator.standard_normal((2, max(counts)))
        for v, (variant, gain) in enumerate((("dense-baseline", 1.0), ("dense-idea", scenario.gain[place]))):
            loss = true_loss(gain * flops, laptop, scenario.bent)
            log_off = off[v] + scenario.off.get((v, place), 0.0)
            for seed in range(counts[v]):
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
                        "loss": loss * math.exp(scenario.sigma[place] * noise + log_off),
                        "flops": flops,
                        "accelerator_seconds": flops / 3e10,
                        "tokens": math.sqrt(flops / 6),
                    }
                )
    return pd.DataFrame(rows)


def judge(scenario: Scenario, number: int, draws: int) -> dict[str, Any]:
    """What the analysis says of one ladder, beside the truth."""
    runs = draw(scenario, number)
    config = AnalysisConfig.model_validate(
        {
            "baseline": "dense-baseline",
            "bootstrap_draws": draws,
            "seed": number,
            "leave_one_out": False,
            "target_flops": 10 * scenario.flops[-1],
            "verdict": {"axes": ("flops",)},
        }
        | scenario.analysis
    )
    law = fit(runs, "flops", config)
    found = compare(runs, {"flops": law}, config).comparisons[0]
    gains = found.gains["flops"]
    row = {"promoted": found.verdict == "promote", "rejected": found.verdict == "reject"}
    intervals: dict[str, list[tuple[Any, float]]] = {
        "EG at the largest rung": [(gains.at_largest.interval, scenario.gain[-1])]
    }
    if len(set(scenario.gain)) == 1:
        intervals |= {
            "EG at 10x the largest": [(gains.at_target.interval, scenario.gain[-1])],
            "EG pooled": [(gains.pooled.interval, scenario.gain[-1])],
            "trend of EG": [(gains.trend.interval, 0.0)],
        }
    if law.held_out:  # a held-out prediction is of the mean that its runs will have, noise included
        intervals["held-out loss"] = [(p.interval, p.observed) for p in law.held_out.predictions]
    return row | {
        "covered": {name: [inside(i, t) for i, t in pairs] for name, pairs in intervals.items()},
        "width": width(gains.at_largest.interval),
        "because": found.because,
    }


def inside(interval: list[float | None] | None, value: float) -> bool | None:
    """Whether it holds the value; None without an interval."""
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
    """Shares over many ladders, and over as many whose candidate is equal to the reference."""
    start = time.perf_counter()
    numbers = range(ladders)
    same = replace(scenario, name=scenario.name + " (equal)", gain=(1.0,) * len(scenario.gain))
    jobs = {
        name: [pool.submit(judge, s, n, draws) for n in numbers]
        for name, s in (("idea", scenario), ("equal", same))
    }
    found = {name: [job.result() for job in batch] for name, batch in jobs.items()}
    coverage = {}
    for kind, batch in found.items():
        for key in batch[0]["covered"]:
            hits = [hit for row in batch for hit in row["covered"][key] if hit is not None]
            if hits and (kind == "idea" or key == "EG at the largest rung"):
                label = key if kind == "idea" else f"{key}, equal"
                coverage[label] = {"coverage": float(np.mean(hits)), "n": len(hits)}
    held = [row["because"] for row in found["idea"] if not row["promoted"]]
    return {
        "name": scenario.name,
        "scenario": {k: str(v) if isinstance(v, dict) else v for k, v in asdict(scenario).items()},
        "ladders": ladders,
        "coverage": coverage,
        "equal_promoted": float(np.mean([row["promoted"] for row in found["equal"]])),
        "equal_rejected": float(np.mean([row["rejected"] for row in found["equal"]])),
        "power": float(np.mean([row["promoted"] for row in found["idea"]])),
        "median_width_factor": float(np.median([row["width"] for row in found["idea"]])),
        "held_by": max(set(held), key=held.count) if held else None,
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    """Draw, judge, print."""
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
        for scenario in [*SCENARIOS, *FAULTS]:
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
                f"power {100 * row['power']:.1f} %, interval x/÷ {row['median_width_factor'] ** 0.5:.3f}, "
                f"held by: {row['held_by']} ({row['seconds']:.0f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
