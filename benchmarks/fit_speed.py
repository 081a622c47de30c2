"""How fast is a careful fit? `fit_table` against a plain scipy loop, side by side in one run, on one thread.

    python benchmarks/fit_speed.py --table points.csv --drop-highest 5 --out benchmarks/results/fit_speed.json

Ours: 4,500 starts screened, the best polished, all parameters fitted again in every bootstrap draw,
    jackknife, delta method, floor sensitivity. scipy: L-BFGS-B with the analytic gradient from a grid of
    starts (the grid of Besiroglu et al. 2024, 4,500 points), and from the optimum in every draw. scipy runs
    a share of both and its time is scaled up; with --share 1 it runs all. Both must end at the same
    objective, and the drawn parameters must agree.

Without --table the rows are 240 simulated ones: Chinchilla's law with 0.7 % noise and a few outliers.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from stepladder.laws.forms import chinchilla
from stepladder.laws.table_fit import Options, fit_table
from stepladder.laws.tables import drop_highest, read_table

DELTA = 1e-3
GRID = {
    "alpha": (0.0, 0.5, 1.0, 1.5, 2.0),
    "beta": (0.0, 0.5, 1.0, 1.5, 2.0),
    "e": (-1.0, -0.5, 0.0, 0.5, 1.0),
    "a": (0.0, 5.0, 10.0, 15.0, 20.0, 25.0),
    "b": (0.0, 5.0, 10.0, 15.0, 20.0, 25.0),
}


def simulate(rows: int = 240, seed: int = 0) -> pd.DataFrame:
    """Rows spread over sizes and budgets as in the published figure."""
    generator = np.random.default_rng(seed)
    N = np.exp(generator.uniform(np.log(5e7), np.log(1.5e10), rows))
    D = np.exp(generator.uniform(np.log(1e9), np.log(3e11), rows))
    loss = 1.8172 + 482.01 * N**-0.3478 + 2085.43 * D**-0.3658
    noise = 0.004 * generator.standard_t(3, rows)
    return pd.DataFrame({"parameters": N, "tokens": D, "flops": 6 * N * D, "loss": loss * np.exp(noise)})


class Plain:
    """The same objective for scipy, written out: Huber on log residuals, summed."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.n = np.log(table["parameters"].to_numpy())
        self.d = np.log(table["tokens"].to_numpy())
        self.y = np.log(table["loss"].to_numpy())

    def __call__(self, theta: np.ndarray, weight: np.ndarray | float = 1.0) -> tuple[float, np.ndarray]:
        e, a, b, alpha, beta = theta
        terms = np.stack([np.full_like(self.n, e), a - alpha * self.n, b - beta * self.d])
        largest = terms.max(axis=0)
        scaled = np.exp(terms - largest)
        total = scaled.sum(axis=0)
        r = largest + np.log(total) - self.y
        share = scaled / total
        size = np.abs(r)
        value = np.where(size <= DELTA, 0.5 * r * r, DELTA * (size - 0.5 * DELTA))
        g = weight * np.clip(r, -DELTA, DELTA)
        gradient = [
            g @ share[0],
            g @ share[1],
            g @ share[2],
            -g @ (share[1] * self.n),
            -g @ (share[2] * self.d),
        ]
        return float((weight * value).sum()), np.array(gradient)

    def fit(self, start: np.ndarray, weight: np.ndarray | float = 1.0) -> tuple[float, np.ndarray]:
        """L-BFGS-B with tight tolerances."""
        # Objectives are about 1e-3: scaled up, or scipy stops early.
        found = minimize(
            lambda theta: tuple(1e3 * part for part in self(theta, weight)),
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-10},
        )
        return found.fun / 1e3, found.x


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, help="CSV with loss, parameters, tokens, flops")
    parser.add_argument("--drop-highest", type=int, default=0)
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument(
        "--share", type=float, default=0.05, help="part of scipy's starts and draws that is run"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = read_table(options.table) if options.table else simulate()
    table = drop_highest(table, options.drop_highest)

    fit_table(table, chinchilla(), Options(draws=10))  # imports and caches are not the question
    start = time.perf_counter()
    ours = fit_table(table, chinchilla(), Options(draws=options.draws))
    seconds = time.perf_counter() - start

    plain = Plain(table)
    grid = np.array([(e, a, b, alpha, beta) for alpha, beta, e, a, b in itertools.product(*GRID.values())])
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(grid))[: max(1, int(options.share * len(grid)))]
    start = time.perf_counter()
    found = [plain.fit(grid[i]) for i in chosen]
    start_seconds = (time.perf_counter() - start) * len(grid) / len(chosen)
    best, theta = min(found, key=lambda pair: pair[0])

    # The same draws as ours.
    M = len(table)
    weights = np.random.default_rng(0).multinomial(M, np.full(M, 1 / M), size=options.draws).astype(float)
    some = max(1, int(options.share * options.draws))
    start = time.perf_counter()
    drawn = [plain.fit(theta, weight) for weight in weights[:some]]
    draw_seconds = (time.perf_counter() - start) * options.draws / some
    alpha = np.array(ours.draws["alpha"][:some])
    apart = float(np.median(np.abs(np.array([x[3] for _, x in drawn]) / alpha - 1)))

    result = {
        "rows": M,
        "starts": len(grid),
        "draws": options.draws,
        "ours_seconds": seconds,
        "scipy_seconds": start_seconds + draw_seconds,
        "scipy_start_seconds": start_seconds,
        "scipy_draw_seconds": draw_seconds,
        "scipy_share_run": options.share,
        "ratio": (start_seconds + draw_seconds) / seconds,
        "objective": ours.objective,
        "scipy_objective": best,
        "objective_apart": ours.objective / best - 1,
        "scipy_starts_at_the_optimum": float(np.mean([value <= best * (1 + 1e-6) for value, _ in found])),
        "drawn_alpha_apart_median": apart,
    }
    for key, value in result.items():
        print(f"{key:32s} {value:.6g}" if isinstance(value, float) else f"{key:32s} {value}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    if ours.objective > best * (1 + 1e-9):
        raise SystemExit("scipy found a better optimum")


if __name__ == "__main__":
    main()
