"""What gates between rungs cost and spare: simulated climbs, looked at and judged as real ones are.

    OMP_NUM_THREADS=1 python benchmarks/gates.py --ladders 100 --out benchmarks/results/gates.json

Every ladder has a reference and one candidate. Where the candidate ends at a gate, what both would still have
trained is saved; where it goes on, the whole ladder is judged by what looks have left of the rule. Ladders of
the same number have the same runs, whatever their gates.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from calibration import CLUSTER, FOUR, LAPTOP, Scenario, draw, ladder

from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.decision.gates import Look, left_over, look, with_gates
from stepladder.schema.analysis import AnalysisConfig

GATES: dict[str, tuple[dict[str, Any], ...]] = {
    "none": (),
    "futility": ({"futility": 0.1},),
    "futility and success": ({"futility": 0.1, "success": True},),
}
LADDERS = {
    "toy, 4 x 3 seeds, noise 1 %": (LAPTOP, 3, 0.01),
    "large, 4 x 2 seeds, noise 0.1 %": (FOUR, 2, 0.001),
    "large, 5 x 2 seeds, noise 0.1 %, gates after 3 and 4": (CLUSTER, 2, 0.001),
}


def climbs(scenario: Scenario, kinds: tuple[str, ...], number: int, draws: int) -> dict[str, dict[str, Any]]:
    """One ladder with each of these gates: its verdict, and the share of both arms' FLOPs that was spared."""
    runs = draw(scenario, number)
    rungs = tuple(dict.fromkeys(runs["rung"]))

    def config(kind: str) -> AnalysisConfig:
        gates = tuple({"after": rung, **gate} for rung in rungs[2:-1] for gate in GATES[kind])
        return AnalysisConfig.model_validate(
            {
                "baseline": "dense-baseline",
                "bootstrap_draws": draws,
                "seed": number,
                "leave_one_out": False,
                "verdict": {"axes": ("flops",)},
                "gates": gates,
            }
        )

    @cache
    def laws(there: tuple[str, ...]) -> AxisFit:  # the same with gates and without
        return fit(runs[runs["rung"].isin(there)], "flops", config("none"))

    return {kind: _climb(runs, rungs, config(kind), laws) for kind in kinds}


def _climb(
    runs: pd.DataFrame,
    rungs: tuple[str, ...],
    config: AnalysisConfig,
    laws: Callable[[tuple[str, ...]], AxisFit],
) -> dict[str, Any]:
    planned = runs.drop(columns="loss").assign(price=None)
    there, records, spent = rungs, [], 0.0
    for gate in config.gates:
        so_far = rungs[: rungs.index(gate.after) + 1]
        record = look(Look(runs[runs["rung"].isin(so_far)], planned, so_far, config, gate, spent))
        records.append(record)
        spent = record.spent
        if any(arm.ended for arm in record.arms):
            there = so_far
            break
    trained = runs[runs["rung"].isin(there)]
    told = compare(trained, {"flops": laws(there)}, left_over(config, records))
    found = with_gates(told, records).comparisons[0]
    return {
        "verdict": found.verdict,
        "ended": found.gate is not None,
        "saved": 1 - trained["flops"].sum() / planned["flops"].sum(),
    }


def main() -> None:
    """Climb, count, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ladders", type=int, default=100, help="for each line")
    parser.add_argument("--draws", type=int, default=300, help="bootstrap draws of each")
    parser.add_argument("--kinds", default=",".join(GATES), help="of gates, with commas")
    parser.add_argument("--gains", default="1,1.3", help="true efficiency gains, with commas")
    parser.add_argument("--only", default="", help="ladders whose name holds this")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    kinds, rows = tuple(options.kinds.split(",")), []
    with ProcessPoolExecutor(options.workers) as pool:
        for name, (flops, seeds, sigma) in LADDERS.items():
            if options.only not in name:
                continue
            for gain in map(float, options.gains.split(",")):
                start = time.perf_counter()
                scenario = ladder(name, flops, seeds, sigma, gain)
                jobs = [
                    pool.submit(climbs, scenario, kinds, n, options.draws) for n in range(options.ladders)
                ]
                results = [job.result() for job in jobs]
                for kind in kinds:
                    found = [result[kind] for result in results]
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
                        "seconds_of_all_kinds": time.perf_counter() - start,
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
