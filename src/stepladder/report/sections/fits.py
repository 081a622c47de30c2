"""Laws fitted to a table of runs, in a table and sentences."""

from __future__ import annotations

from stepladder.decision.axis_fit import AxisFit
from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.laws.envelope import EnvelopeFit
from stepladder.laws.isoflop import IsoflopFit
from stepladder.laws.law_fit import LawFit
from stepladder.laws.sigmoid_fit import CurveFit
from stepladder.schema.analysis import AXES, Axis

TableFit = LawFit | IsoflopFit | EnvelopeFit | CurveFit
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
    head = fit.formula if isinstance(fit, LawFit | CurveFit) else fit.method
    level = f"{fmt.level(fit.confidence)} interval"
    return table(
        ["<Parameter", "Estimate", "Standard error", level, "<Unit"], rows, title=f"{head}, n = {fit.n} rows"
    )


def fit_sentences(fit: TableFit) -> list[str]:
    """How the fit went, and how parameters and tokens go with compute where it tells."""
    if isinstance(fit, CurveFit):
        return curve_sentences(fit)
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


def curve_sentences(fit: CurveFit) -> list[str]:
    """How each curve was fitted and foretold its own end, and how the curves differ."""
    told = []
    if fit.skipped_below is not None:
        told.append(f"{fmt.whole(fit.skipped)} points below compute {fit.skipped_below:g} were left out.")
    for curve in fit.curves:
        end = curve.held_out
        foretold = "too short to predict its end from its first half"
        if end is not None:
            foretold = (
                f"the first half of its compute predicts {fmt.significant(end.predicted, 4)} "
                f"{fmt.bounds(end.interval)} for the last {end.n} points, whose mean is "
                f"{fmt.significant(end.observed, 4)}"
            )
        told.append(
            f"{curve.name or 'Curve'}: {curve.n} points, residual sd {fmt.general(curve.residual_sd)}, "
            f"correlation of neighbours {fmt.fixed(curve.correlation, 2)}; {foretold}."
        )
    for row in fit.contrasts:
        apart = "not known" if row.asymptote is None else f"{row.asymptote:+.4g}"
        told.append(
            f"{row.candidate} against {row.reference}: A {apart} {fmt.bounds(row.asymptote_interval)}; "
            f"compute of {row.reference} over {row.candidate}'s to reach {fmt.significant(row.level, 4)}: "
            f"{fmt.ratio(row.efficiency)} {fmt.bounds(row.efficiency_interval)}."
        )
    return told


def axis_fit_sentence(fit: AxisFit) -> str:
    """What the laws of a ladder's variants are, and what they and their intervals rest on; one line."""
    runs = f"{fit.n_runs} runs in {fit.n_cells} cells"
    if fit.reason or fit.unit_cost is None:
        return f"no laws on {AXES[fit.axis].title} from {runs}: {fit.reason}"
    laws = "1 law" if len(fit.laws) == 1 else f"{len(fit.laws)} laws"
    intervals = f"{fmt.level(fit.confidence)} intervals from {fmt.whole(fit.bootstrap_draws)} draws"
    return (
        f"{laws} E + A (C / {_cost(fit.axis, fit.unit_cost)})^−α on {AXES[fit.axis].title} from {runs}; "
        f"{f'no intervals: {fit.noise.reason}' if fit.noise.reason else intervals}"
    )


def _cost(axis: Axis, cost: float) -> str:
    """A cost with its unit."""
    if axis == "flops":
        return fmt.flops(cost)
    return fmt.duration(cost) if axis == "seconds" else f"{fmt.count(cost)} {AXES[axis].unit}"
