"""What gates between rungs cost and spare: simulated climbs, looked at and judged as real ones are.

    OMP_NUM_THREADS=1 python benchmarks/gates.py --ladders 100 --out benchmarks/results/gates.json

Every ladder has a reference and one candidate. Where the candidate ends at a gate, what both would still have
trained is saved; where it goes on, the whole ladder is judged by what looks have left of the rule.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from calibration import CLUSTER, FOUR, LAPTOP, Scenario, draw, ladder

from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.decision.gates import Look, left_over, look, with_gates
from stepladder.schema.analysis import AnalysisConfig

GATES: dict[str, tuple[dict[str, Any], ...]] = {
    "none": (),
    "futility": ({"futility": 0.05},),
    "futility and success": ({"futility": 0.05, "success": True},),
}
LADDERS = {
    "toy, 4 x 3 seeds, noise 1 %": (LAPTOP, 3, 0.01),
    "large, 4 x 2 seeds, noise 0.1 %": (FOUR, 2, 0.001),
    "large, 5 x 2 seeds, noise 0.1 %, gates after 3 and 4": (CLUSTER, 2, 0.001),
}


def climb(scenario: Scenario, kind: str, number: int, draws: int) -> dict[str, Any]:
    """One ladder with these gates: its verdict, and the share of both arms' FLOPs that was spared."""
    runs = draw(scenario, number)
    rungs = list(dict.fromkeys(runs["rung"]))
    gates = tuple({"after": rung, **gate} for rung in rungs[2:-1] for gate in GATES[kind])
    config = AnalysisConfig.model_validate(
        {
            "baseline": "dense-baseline",
            "bootstrap_draws": draws,
            "seed": number,
            "leave_one_out": False,
            "verdict": {"axes": ("flops",)},
            "gates": gates,
        }
    )
    planned = runs.drop(columns="loss").assign(price=None)
    records, spent = [], 0.0
    for gate in config.gates:
        there = tuple(rungs[: rungs.index(gate.after) + 1])
        record = look(Look(runs[runs["rung"].isin(there)], planned, there, config, gate, spent))
        records.append(record)
        spent = record.spent
        if any(arm.ended for arm in record.arms):
            runs = runs[runs["rung"].isin(there)]
            break
    fits = {"flops": fit(runs, "flops", config)}
    found = with_gates(compare(runs, fits, left_over(config, records)), records).comparisons[0]
    return {
        "verdict": found.verdict,
        "ended": found.gate is not None,
        "saved": 1 - runs["flops"].sum() / planned["flops"].sum(),
    }


def main() -> None:
    """Climb, count, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ladders", type=int, default=100, help="for each line")
    parser.add_argument("--draws", type=int, default=300, help="bootstrap draws of each")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(options.workers) as pool:
        for name, (flops, seeds, sigma) in LADDERS.items():
            for gain in (1.0, 1.3):
                for kind in GATES:
                    start = time.perf_counter()
                    scenario = ladder(name, flops, seeds, sigma, gain)
                    jobs = [
                        pool.submit(climb, scenario, kind, n, options.draws) for n in range(options.ladders)
                    ]
                    found = [job.result() for job in jobs]
                    verdicts = Counter(row["verdict"] for row in found)
                    row = {
                        "ladder": name,
                        "gain": gain,
                        "gates": kind,
                        "ladders": options.ladders,
                        "promoted": verdicts["promote"] / options.ladders,
                        "rejected": verdicts["reject"] / options.ladders,
                        "ended_early": float(np.mean([row["ended"] for row in found])),
                        "flops_saved": float(np.mean([row["saved"] for row in found])),
                        "seconds": time.perf_counter() - start,
                    }
                    rows.append(row)
                    shares = [100 * row[k] for k in ("promoted", "rejected", "ended_early", "flops_saved")]
                    told = "promoted {:.0f} %, rejected {:.0f} %, ended early {:.0f} %, FLOPs saved {:.0f} %"
                    print(f"{name}, EG {gain:g}, gates: {kind}: {told.format(*shares)}", flush=True)
                    if options.out:  # after each, so that an interrupted run keeps what it has
                        text = json.dumps({"draws": options.draws, "rows": rows}, indent=1)
                        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
