"""Tables of runs of IsoFLOP grids, made from a known law of size and data."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

E, A, B, ALPHA, BETA = 1.8, 406.0, 410.0, 0.34, 0.28
BUDGETS = (1e17, 3e17, 1e18, 3e18, 1e19)


def optimum(flops: float) -> float:
    """N* at C = 6 N D, in closed form (equation 4 of Hoffmann et al. 2022)."""
    scale = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    return scale * (flops / 6) ** (BETA / (ALPHA + BETA))


def lowest(flops: float) -> float:
    """Loss there."""
    N = optimum(flops)
    return E + A * N**-ALPHA + B * (flops / 6 / N) ** -BETA


def with_head(N: float) -> float:
    """C/(N D) of a ladder of 64 features per layer, N = 12 * 64^2 * layers^3, with a head of 128256 words."""
    layers = (N / (12 * 64**2)) ** (1 / 3)
    return 6 * (1 + 128256 * 64 * layers / N)


def best_of(flops: float) -> float:
    """Its N* on that surface, by search."""
    found = minimize_scalar(
        lambda n: E + A * np.exp(n) ** -ALPHA + B * (flops / with_head(np.exp(n)) / np.exp(n)) ** -BETA,
        bounds=(np.log(1e6), np.log(1e12)), method="bounded", options={"xatol": 1e-9},
    )  # fmt: skip
    return float(np.exp(found.x))


def grid_table(
    gains: dict[str, float],
    sigma: float = 0.0,
    seeds: int = 2,
    budgets=BUDGETS,
    sizes: int = 7,
    off: float = 1.0,
    ratio: float = 1.5,
    seed: int = 0,
    cost: Callable[[float], float] = lambda N: 6.0,
) -> pd.DataFrame:
    """Runs of L(N, D) with N and D worth sqrt(gain) times as much, so that gain is the same in FLOPs at every
    budget. Sizes lie about `off` times the optimum at C = 6 N D; `cost` gives C/(N D)."""
    generator = np.random.default_rng(seed)
    rows = []
    for flops in budgets:
        label = f"{flops:g}flops".replace("e+", "e")
        for i in range(sizes):
            N = off * optimum(flops) * ratio ** (i - (sizes - 1) / 2)
            D = flops / cost(N) / N
            for variant, gain in gains.items():
                root = np.sqrt(gain)
                loss = E + A * (root * N) ** -ALPHA + B * (root * D) ** -BETA
                for k in range(seeds):
                    architecture, recipe = variant.split("-")
                    rows.append(
                        {
                            "id": f"{variant}/s{N:.0f}/{label}/seed{k}",
                            "variant": variant,
                            "architecture": architecture,
                            "recipe": recipe,
                            "rung": f"s{N:.0f}",
                            "depth": i,
                            "budget": label,
                            "budget_multiple": D / N / 20,
                            "seed": k,
                            "learning_rate_factor": 1.0,
                            "parameters_active_non_embedding": N,
                            "loss": loss * np.exp(sigma * generator.standard_normal()),
                            "flops": flops,
                            "accelerator_seconds": flops / 1e14,
                            "tokens": D,
                        }
                    )
    return pd.DataFrame(rows)
