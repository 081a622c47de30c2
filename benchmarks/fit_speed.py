"""How fast is a careful fit? On one thread: `fit_table` against a plain scipy loop, side by side in one run;
the joint fit of a ladder against the generic dense solver; and what large ladders and tables cost.

    python benchmarks/fit_speed.py --table points.csv --drop-highest 5 --out benchmarks/results/fit_speed.json

Ours: 4,500 starts screened, the best polished, all parameters fitted again in every bootstrap draw,
    jackknife, delta method, floor sensitivity. scipy: L-BFGS-B with the analytic gradient from a grid of
    starts (the grid of Besiroglu et al. 2024, 4,500 points), and from the optimum in every draw. scipy runs
    a share of both and its time is scaled up; with --share 1 it runs all. Both must end at the same
    objective, and the drawn parameters must agree.

Joint: one point estimate and a few bootstrap replicates of V variants x K cells, by the arrow of the Hessian
    and as one dense problem (whose optima must be the same), then the whole of `stepladder fit --axis` with
    all draws. Large: one fit of Chinchilla's law with the default options to simulated rows, each in a
    process of its own, with its peak memory.

Without --table the rows are 240 simulated ones: Chinchilla's law with 0.7 % noise and a few outliers.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import itertools
import json
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
from scipy.optimize import minimize

from stepladder.decision.fit import fit
from stepladder.laws.compute_law import compute_loss
from stepladder.laws.design import make_design
from stepladder.laws.forms import chinchilla, compute
from stepladder.laws.joint import fit_laws
from stepladder.laws.solve import Robust
from stepladder.laws.starts import search, search_nearby
from stepladder.laws.table_fit import Options, fit_table
from stepladder.laws.tables import drop_highest, read_table
from stepladder.schema.analysis import AnalysisConfig

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


def ladder(variants: int, cells: int, seeds: int = 5, sigma: float = 0.004) -> pd.DataFrame:
    """Runs of V variants at K rungs, with noise of log loss that is half in common to a seed's variants."""
    generator = np.random.default_rng(0)
    rows = []
    for k, C in enumerate(np.geomspace(1e17, 1e21, cells)):
        for seed in range(seeds):
            common = generator.standard_normal()
            for v in range(variants):
                noise = sigma * (common + generator.standard_normal()) / np.sqrt(2)
                loss = compute_loss(1.7, 0.9 + 0.1 * np.cos(3 * v), 0.15 + 0.02 * np.sin(v), C, 1e19)
                row = {"id": f"v{v}/r{k}/{seed}", "variant": f"v{v}", "architecture": "", "recipe": f"v{v}"}
                row |= {"rung": f"r{k}", "depth": k, "budget": "1x", "budget_multiple": 1.0, "seed": seed}
                row |= {"learning_rate_factor": 1.0, "parameters_active_non_embedding": np.sqrt(C)}
                row |= {"flops": C, "tokens": np.sqrt(C), "loss": float(loss) * np.exp(noise)}
                rows.append(row)
    return pd.DataFrame(rows)


def joint_against_dense(variants: int, cells: int, replicates: int = 30) -> dict[str, Any]:
    """Seconds of a point estimate and of a bootstrap replicate by the arrow and by the dense solver."""
    generator = np.random.default_rng(0)
    cost = np.tile(np.geomspace(1e17, 1e21, cells), variants)
    variant = np.repeat(np.arange(variants), cells)
    loss = compute_loss(1.7, 0.9 + 0.1 * np.cos(3 * variant), 0.15 + 0.02 * np.sin(variant), cost, 1e19)
    log_loss = np.log(loss) + 0.004 * generator.standard_normal((replicates, len(cost)))
    seconds, robust = {}, Robust(0.01)
    start = time.perf_counter()
    point = fit_laws(cost, log_loss[:1], variant, "shared", 0.01)
    seconds["arrow_point"] = time.perf_counter() - start
    start = time.perf_counter()
    drawn = fit_laws(cost, log_loss, variant, "shared", 0.01, near=point)
    seconds["arrow_replicate"] = (time.perf_counter() - start) / replicates
    design = make_design(compute("cost"), {"cost": cost}, variant, [str(v) for v in range(variants)], ["E"])
    start = time.perf_counter()
    dense = search(design, log_loss[0], robust, 1024)
    seconds["dense_point"] = time.perf_counter() - start
    start = time.perf_counter()
    theirs = search_nearby(design, log_loss, robust, dense.theta)
    seconds["dense_replicate"] = (time.perf_counter() - start) / replicates
    apart = np.abs(np.append(drawn.objective / theirs.objective, point.objective / dense.objective) - 1)
    return {
        "variants": variants,
        "cells": cells,
        **{f"{key}_seconds": value for key, value in seconds.items()},
        "ratio_point": seconds["dense_point"] / seconds["arrow_point"],
        "ratio_replicate": seconds["dense_replicate"] / seconds["arrow_replicate"],
        "objectives_apart": float(apart.max()),
    }


def whole_fit(variants: int, cells: int) -> dict[str, Any]:
    """Seconds of fits/flops.json: all draws, held-out and left-out rungs, sensitivity."""
    runs = ladder(variants, cells)
    start, cpu = time.perf_counter(), time.process_time()
    fit(runs, "flops", AnalysisConfig(baseline="v0"))
    spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    return {"variants": variants, "cells": cells, "rows": len(runs), **spent}


def large_table(rows: int) -> dict[str, Any]:
    """Seconds and peak memory of one fit, in this process."""
    table = simulate(rows)
    start, cpu = time.perf_counter(), time.process_time()
    found = fit_table(table, chinchilla(), Options())
    spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": rows, **spent, "peak_mib": peak, "starts_agreeing": found.starts_agreeing}


def in_a_process(rows: int) -> dict[str, Any]:
    """`large_table` with a memory of its own."""
    command = [sys.executable, __file__, "--large", str(rows)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(out)
    return found


def against_scipy(table: pd.DataFrame, options: argparse.Namespace) -> dict[str, Any]:
    """One table, fitted by us and by scipy.

    Raises:
        SystemExit: scipy found a better optimum.
    """
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
    if ours.objective > best * (1 + 1e-9):
        raise SystemExit("scipy found a better optimum")
    return result


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows of the same keys as a table."""
    print(f"\n{title}")
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.4g}"))


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
    parser.add_argument("--large", type=int, help="fit so many simulated rows only, and print JSON")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.large:
        print(json.dumps(large_table(options.large)))
        return
    table = read_table(options.table) if options.table else simulate()
    scipy_loop = against_scipy(drop_highest(table, options.drop_highest), options)
    result = {
        "hardware": {"cpu": cpu_name(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        **scipy_loop,
        "joint": [joint_against_dense(*size) for size in ((4, 12), (8, 24), (16, 40))],
        "whole": [whole_fit(*size) for size in ((4, 12), (8, 24), (16, 40), (100, 12))],
        "large": [in_a_process(rows) for rows in (2_000, 5_000, 20_000, 200_000)],
    }
    show("against scipy", [scipy_loop])
    show("joint fit, arrow against dense", result["joint"])
    show("stepladder fit --axis flops, all draws", result["whole"])
    show("large tables", result["large"])
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def cpu_name() -> str:
    """As the kernel calls it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
