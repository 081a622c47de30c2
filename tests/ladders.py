"""Tables of runs made from known laws."""

import numpy as np
import pandas as pd

FLOPS = {"d2": 4.4e10, "d3": 2.9e11, "d4": 1.06e12, "d5": 3.0e12}
SEEDS = {"d2": 3, "d3": 3, "d4": 2, "d5": 1}
E, A, ALPHA = 1.0, 0.8, 0.25


def runs_table(gains: dict[str, float], sigma: float = 0.0, seed: int = 0, rungs=FLOPS, seeds=SEEDS):
    """Runs with L = E + A (gain C / 1e12)^-ALPHA and Gaussian noise of log loss, the same for each seed
    of a rung by half of its variance, as with a shared data order."""
    generator = np.random.default_rng(seed)
    rows = []
    for rung in rungs:
        for k in range(seeds[rung]):
            shared = generator.standard_normal()
            for variant, gain in gains.items():
                noise = sigma * (shared + generator.standard_normal()) / np.sqrt(2)
                loss = (E + A * (gain * rungs[rung] / 1e12) ** -ALPHA) * np.exp(noise)
                architecture, recipe = variant.split("-")
                rows.append(
                    {
                        "id": f"{variant}/{rung}/1x/seed{k}",
                        "variant": variant,
                        "architecture": architecture,
                        "recipe": recipe,
                        "rung": rung,
                        "depth": int(rung[1:]),
                        "budget": "1x",
                        "budget_multiple": 1.0,
                        "seed": k,
                        "learning_rate_factor": 1.0,
                        "parameters_active_non_embedding": np.sqrt(rungs[rung]),
                        "loss": loss,
                        "flops": rungs[rung],
                        "accelerator_seconds": rungs[rung] / 3e10,
                        "tokens": np.sqrt(rungs[rung]),
                    }
                )
    return pd.DataFrame(rows)


def with_task(runs: pd.DataFrame, name: str = "quiz", noise: float = 0.0) -> pd.DataFrame:
    """Runs with one task whose scores follow the loss."""
    generator = np.random.default_rng(1)
    bits = runs["loss"] * 0.7
    accuracy = 0.25 + 0.75 / (1 + np.exp(6 * (bits - 1.2))) + noise * generator.standard_normal(len(runs))
    scores = {"bits_per_byte": bits, "accuracy": accuracy, "accuracy_per_byte": accuracy, "margin": -bits}
    scores |= {"items": 1000, "chance": 0.25, "bits_per_byte_error": 0.01, "accuracy_error": 0.01}
    return runs.assign(**{f"task_{name}_{key}": value for key, value in scores.items()})
