"""Do ladders decide as often as their plans say? Forecast chances beside climbs that are all analysed whole.

    OMP_NUM_THREADS=1 python benchmarks/power.py --climbs 100 --out benchmarks/results/power.json

Each ladder has two variants and four rungs. The plan's forecast takes the widths of intervals from six climbs
and the rule's verdict from 400 fits; here every climb is drawn from the same truth and goes through fit and
compare.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from calibration import FOUR, LAPTOP, draw, ladder

from stepladder.decision.assumptions import LARGE_LAW, TOY_LAW, NoiseLine, Truth
from stepladder.decision.cells import make_cells
from stepladder.decision.chances import Simulation, plan_cells
from stepladder.decision.compare import compare
from stepladder.decision.fit import fit
from stepladder.schema.analysis import AnalysisConfig

PAIR = ("dense-idea", "dense-baseline")
LADDERS = {
    "toy, noise 1 %, 4 x 3 seeds": (LAPTOP, 3, TOY_LAW, 0.01, 1.3),
    "toy, noise 0.5 %, 4 x 2 seeds": (LAPTOP, 2, TOY_LAW, 0.005, 1.2),
    "large, noise 0.5 %, 4 x 2 seeds": (FOUR, 2, LARGE_LAW, 0.005, 1.2),
    "large, noise 0.1 %, 4 x 2 seeds": (FOUR, 2, LARGE_LAW, 0.001, 1.1),
}


def simulation(name: str, draws: int) -> Simulation:
    """The ladder of this name under its truth."""
    flops, seeds, law, sd, _ = LADDERS[name]
    runs = draw(ladder(name, flops, seeds, sd, 1.0), 0).drop(columns="loss")
    config = AnalysisConfig.model_validate(
        {
            "baseline": PAIR[1],
            "bootstrap_draws": draws,
            "leave_one_out": False,
            "verdict": {"axes": ("flops",)},
        }
    )
    truth = Truth(law, NoiseLine(sd, at=1.0, per_decade=1.0, correlation=0.3))
    return Simulation(plan_cells(runs), truth, config, (PAIR,))


def judge(name: str, gain: float, number: int, draws: int) -> str:
    """The verdict of one climb, analysed whole."""
    made = simulation(name, draws)
    gains = np.where(made.cells.variant == made.cells.variants.index(PAIR[0]), gain, 1.0)
    losses = made.run_losses(1, gains, 10**7 + number)[0]
    runs = make_cells(made.cells.runs.assign(loss=np.exp(losses))).runs
    return compare(runs, {"flops": fit(runs, "flops", made.config)}, made.config).comparisons[0].verdict


def main() -> None:
    """Forecast, climb, print both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--climbs", type=int, default=100, help="analysed whole, for each ladder and gain")
    parser.add_argument("--draws", type=int, default=200, help="bootstrap draws of each")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    with ProcessPoolExecutor(options.workers) as pool:
        for name, (*_, top) in LADDERS.items():
            for gain in (1.0, top):
                forecast = simulation(name, options.draws).prospect(PAIR, (gain,)).chances[gain]
                jobs = [pool.submit(judge, name, gain, n, options.draws) for n in range(options.climbs)]
                found = Counter(job.result() for job in jobs)
                shares = {verdict: found[verdict] / options.climbs for verdict in forecast}
                rows.append({"ladder": name, "gain": gain, "forecast": forecast, "found": shares})
                told = ", ".join(f"{v} {100 * forecast[v]:.0f} / {100 * shares[v]:.0f} %" for v in forecast)
                print(f"{name}, EG {gain:g}: forecast / found: {told}", flush=True)
                if options.out:  # after each, so that an interrupted run keeps what it has
                    options.out.write_text(
                        json.dumps({"climbs": options.climbs, "rows": rows}, indent=1) + "\n"
                    )


if __name__ == "__main__":
    main()
