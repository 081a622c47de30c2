"""A law fitted to a table of runs, in a table and sentences."""

from __future__ import annotations

from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.laws.envelope import EnvelopeFit
from stepladder.laws.isoflop import IsoflopFit
from stepladder.laws.law_fit import LawFit

TableFit = LawFit | IsoflopFit | EnvelopeFit
"""What `stepladder fit` makes of anyone's table."""


def parameters_table(fit: TableFit) -> Table:
    """Every parameter with its uncertainty."""
    errors, intervals = fit.standard_errors or {}, fit.intervals or {}
    units = fit.units if isinstance(fit, LawFit) else {}
    rows = [
        [
            name,
            fmt.general(value, 5),
            fmt.general(errors.get(name), 3),
            fmt.bounds(intervals.get(name), 4),
            units.get(name, ""),
        ]
        for name, value in fit.parameters.items()
    ]
    head = fit.formula if isinstance(fit, LawFit) else fit.method
    level = f"{fmt.level(fit.confidence)} interval"
    return table(
        ["<Parameter", "Estimate", "Standard error", level, "<Unit"], rows, title=f"{head}, n = {fit.n} rows"
    )


def fit_sentences(fit: TableFit) -> list[str]:
    """How the fit went, and how parameters and tokens go with compute where it tells."""
    if not isinstance(fit, LawFit):
        return [
            f"At {fmt.general(row.flops)} FLOPs: N* = {fmt.count(row.parameters)} "
            f"{fmt.bounds(row.parameters_interval)}, D* = {fmt.count(row.tokens)} tokens "
            f"{fmt.bounds(row.tokens_interval)}."
            for row in fit.targets
        ]
    sentences = [
        f"Objective {fmt.general(fit.objective, 8)} ({fit.norm}, delta {fit.delta:g}, summed), "
        f"{'converged' if fit.converged else 'NOT converged'}; {fmt.whole(fit.starts)} starts screened, "
        f"{fit.starts_agreeing} of {fit.starts_polished} polished agree; condition number "
        f"{fmt.general(fit.condition)}; residual sd {fmt.percent(fit.residuals.sd, 2)}; "
        f"{fmt.duration(fit.seconds)}."
    ]
    if a := fit.allocation:
        interval = fmt.bounds(a.intervals.a if a.intervals else None)
        sentences.append(
            f"Compute-optimal: N* ∝ C^{fmt.significant(a.a)} {interval}, D* ∝ C^{fmt.significant(a.b)}."
        )
    return sentences
