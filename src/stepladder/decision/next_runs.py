"""Which runs next: by how much each would narrow the interval of the gain at the target, per hour."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.cells import make_cells
from stepladder.decision.noise import measure_noise
from stepladder.decision.run_options import NextRuns
from stepladder.decision.spending import Problem
from stepladder.laws.distributions import t_quantile
from stepladder.schema.analysis import AnalysisConfig

UNKNOWN = 20.0
"""Half-width of the interval of ln EG beyond which linearised laws say nothing."""


def rank_runs(
    runs: pd.DataFrame,
    fit: AxisFit,
    candidate: str,
    reference: str,
    config: AnalysisConfig,
    hours: float,
    target: float | None = None,
) -> NextRuns:
    """Rank what could be run next, and fill the budget greedily.

    Args:
        runs: the table that `fit`, which is on FLOPs, was made from.
        hours: accelerator-hours that may be spent.
        target: FLOPs at which the gain matters; default `config.target_flops`, else the largest rung.

    Raises:
        ValueError: no fit, a fit of other runs, no seed noise, or unknown variants.
    """
    if fit.axis != "flops":
        raise ValueError(
            "give the fit of the ladder on FLOPs: fits/flops.json, or `stepladder fit RUNS --out F`"
        )
    if fit.reason:
        raise ValueError(f"there is no fit to plan from: {fit.reason}")
    cells = make_cells(runs)
    for name in (candidate, reference):
        if name not in cells.variants:
            raise ValueError(f"{name!r} has no runs; there are: {', '.join(cells.variants)}")
    if missing := {"flops", "seconds"} - set(cells.table):
        raise ValueError(
            f"the table has no {' and no '.join(sorted(missing))}: planning needs FLOPs and seconds"
        )
    if fit.made_from.rows_sha256 != cells.rows_sha256:
        raise ValueError("the fit was made from other runs than these: make it again")
    if reason := fit.why_not(candidate, reference):
        raise ValueError(f"nothing to plan from: {reason}")
    noise = measure_noise(cells, stated=config.noise)
    if not noise.known:
        raise ValueError(
            "no rung has two seeds that every variant ran: seed noise is unknown; repeat the smallest rung"
        )
    goal = target or config.target_flops or float(cells.table["flops"].max())
    problem = Problem.of(cells, noise, fit, candidate, reference, goal)
    now = problem.sd(problem.places)
    quantile = t_quantile((1 + config.confidence) / 2, fit.noise.dof)
    if not 0 < quantile * now < UNKNOWN:
        raise ValueError(
            f"by these laws the gain at {goal:.3g} FLOPs is infinite, undefined or quite unknown: nothing "
            "can be planned from their slopes"
        )
    rows = [problem.describe(option, now, quantile) for option in problem.options(goal)]
    affordable = [row for row in rows if row.accelerator_hours <= hours]
    affordable.sort(key=lambda row: (not row.worthwhile, -row.narrowing_per_hour))
    return NextRuns(
        candidate=candidate,
        reference=reference,
        target_flops=goal,
        hours=hours,
        confidence=config.confidence,
        sd_log_gain=now,
        interval_factor_now=float(np.exp(quantile * now)),
        misfit_sd=problem.misfit,
        candidates=affordable,
        unaffordable=len(rows) - len(affordable),
        plan=problem.fill(goal, hours, quantile),
    )
