"""Choose the size of a top rung by the law of the other runs, and write down what to expect of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from stepladder.decision.cells import make_cells
from stepladder.decision.fit_size_laws import DRAWS, fit_joint
from stepladder.decision.surface import Surface
from stepladder.laws.forms import Array
from stepladder.laws.numbers import percentile_interval
from stepladder.record.top import TopPrediction, TopRung
from stepladder.schema.analysis import AnalysisConfig

APART = 2.0
"""Factor between N* and the nearest size from which it is none that the law chose."""


def choose_top(
    runs: pd.DataFrame, sizes: Mapping[int, float], flops: float, config: AnalysisConfig, made_from: str
) -> TopRung:
    """The depth whose size is nearest, in logs, to the baseline's N* at `flops` by Chinchilla's law of runs.

    Args:
        runs: all others, as in runs.parquet.
        sizes: depth to active non-embedding parameters of the baseline's architecture.
        flops: of one run of the top rung.
        made_from: digest of the design and of the other runs.

    Raises:
        ValueError: the runs do not identify the law, or its optimum is none of the sizes.
    """
    cells = make_cells(runs)
    table = cells.made_of.assign(parameters=cells.made_of["parameters_active_non_embedding"])
    draws = min(DRAWS, config.bootstrap_draws)
    law = fit_joint(table, "chinchilla", config, draws)
    if law.fit is None:
        raise ValueError(f"the top rung cannot be sized, because the other runs tell no law: {law.reason}")
    surfaces = {v: Surface.of(law.fit, v, table[table["variant"] == v]) for v in cells.variants}
    baseline = surfaces[config.baseline]
    N, D = baseline.best(np.full_like(baseline.E, flops))
    if not min(sizes.values()) / APART <= N[0] <= max(sizes.values()) * APART:
        raise ValueError(
            f"the top rung cannot be sized: by the law of the other runs N* is {N[0]:.3g}, and the ladder's "
            f"sizes go from {min(sizes.values()):.3g} to {max(sizes.values()):.3g}: add runs whose sizes or "
            "budgets differ more, or change `shape`"
        )
    depth = min(sizes, key=lambda depth: abs(math.log(sizes[depth] / N[0])))
    at = sizes[depth]
    generator = np.random.default_rng(config.seed)
    noise = law.fit.residuals.sd * generator.standard_normal(len(baseline.E))
    return TopRung(
        made_from=made_from,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        flops=flops,
        confidence=config.confidence,
        metric=config.metric,
        baseline=config.baseline,
        best_parameters=float(N[0]),
        best_parameters_interval=_interval(N, config.confidence),
        best_tokens=float(D[0]),
        best_tokens_interval=_interval(D, config.confidence),
        depth=depth,
        parameters=at,
        n_runs=len(table),
        rows_sha256=cells.rows_sha256,
        predictions=tuple(
            _prediction(variant, surface, at, flops, noise, config.confidence)
            for variant, surface in surfaces.items()
        ),
    )


def _interval(values: Array, confidence: float) -> tuple[float | None, float | None]:
    """Of (B,), the first being the estimate."""
    return percentile_interval(values[1:], confidence) or (None, None)


def _prediction(
    variant: str, surface: Surface, at: float, flops: float, noise: Array, confidence: float
) -> TopPrediction:
    """Of one run: the law in every draw, times a residual of its runs."""
    N = np.full_like(surface.E, at)
    D = surface.tokens_of(np.full_like(surface.E, flops), N)
    loss = surface.loss(N, D)
    return TopPrediction(
        variant=variant,
        tokens=float(D[0]),
        loss=float(loss[0]),
        interval=_interval(loss * np.exp(noise), confidence),
    )
