"""Do the intervals of a rising curve's parameters hold the truth? Simulated curves whose points err together.

OMP_NUM_THREADS=1 python benchmarks/curves.py --curves 200 --out benchmarks/results/curves.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from stepladder.laws.sigmoid import PARAMETERS, Bounds, fit_curve, reward

TRUE = np.array([0.6, 0.2, 1.2, 3000.0])
SD = 0.0125
"""Of one point: 3 % of the rise."""


def main() -> None:
    """Draw, fit, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--curves", type=int, default=200, help="for each line")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for points, rho in ((40, 0.3), (120, 0.0), (120, 0.6), (120, 0.9)):
        compute = np.geomspace(100, 50_000, points)
        held = []
        for number in range(options.curves):
            steps = np.random.default_rng([number, points]).standard_normal(points)
            steps[1:] *= np.sqrt(1 - rho**2)
            rewards = reward(TRUE, compute) + SD * lfilter([1.0], [1.0, -rho], steps)
            found = fit_curve(compute, rewards, Bounds(), None, options.draws, number)
            low, high = np.quantile(found.draws, [0.025, 0.975], axis=0)
            held.append((low <= TRUE) & (high >= TRUE))
        share = dict(zip(PARAMETERS, np.mean(held, axis=0).tolist(), strict=True))
        rows.append({"points": points, "correlation": rho, "curves": options.curves, "coverage": share})
        told = ", ".join(f"{name} {100 * value:.0f} %" for name, value in share.items())
        print(f"{points} points, correlation {rho:g}: {told}", flush=True)
        if options.out:  # after each, so that an interrupted run keeps what it has
            options.out.write_text(json.dumps({"draws": options.draws, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
