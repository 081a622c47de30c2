"""Fits, comparisons, predictions and next runs as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stepladder.decision.comparison import Comparison
from stepladder.decision.prediction import Prediction
from stepladder.decision.run_options import NextRuns
from stepladder.display import numbers as fmt
from stepladder.display.terminal import MIN_WIDTH, plain, show, warn
from stepladder.laws.envelope import EnvelopeFit
from stepladder.laws.isoflop import IsoflopFit
from stepladder.laws.law_fit import LawFit
from stepladder.record.learning_rates import Tuning
from stepladder.report.sections.tuning import law_sentences, optima_table, rates_table
from stepladder.report.sections.verdict import eg, trend


def _table(title: str, *columns: str) -> Table:
    """First column to the left, numbers to the right."""
    table = Table(
        box=None, title=title, title_justify="left", title_style="bold", pad_edge=False, padding=(0, 3, 0, 0)
    )
    for i, name in enumerate(columns):
        table.add_column(
            name, justify="left" if i == 0 else "right", style="" if i else "bold", header_style="dim"
        )
    return table


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, width=max(Console().width, MIN_WIDTH))


def number(value: float | None, digits: int = 5) -> str:
    """Significant digits; a dash where there is none."""
    return fmt.MISSING if value is None else f"{value:.{digits}g}"


def ends(interval: Sequence[float | None] | None, digits: int = 4) -> str:
    """[low, high]."""
    if interval is None:
        return fmt.MISSING
    low, high = ("∞" if i and end is None else number(end, digits) for i, end in enumerate(interval))
    return f"[{low}, {high}]"


def print_fit(fit: LawFit | IsoflopFit | EnvelopeFit) -> None:
    """Parameters with uncertainty, then how the fit went."""
    console = _console()
    level = f"{100 * fit.confidence:g} % interval"
    head = fit.formula if isinstance(fit, LawFit) else fit.method
    console.print(f"[bold]{head}[/]  n = {fit.n} rows")
    table = _table("", "parameter", "estimate", "standard error", level, "unit")
    errors, intervals = fit.standard_errors or {}, fit.intervals or {}
    units = fit.units if isinstance(fit, LawFit) else {}
    for name, value in fit.parameters.items():
        error = number(errors.get(name), 3)
        table.add_row(escape(name), number(value), error, ends(intervals.get(name)), units.get(name, ""))
    console.print(table)
    if isinstance(fit, LawFit):
        console.print(
            f"objective {fit.objective:.8g} ({fit.norm}, delta {fit.delta:g}, summed), "
            f"{'converged' if fit.converged else 'NOT converged'}; {fit.starts:,} starts screened, "
            f"{fit.starts_agreeing} of {fit.starts_polished} polished agree; condition number "
            f"{fit.condition:.3g}; residual sd {100 * fit.residuals.sd:.2f} %; {fit.seconds:.1f} s"
        )
        if a := fit.allocation:
            interval = ends(a.intervals.a if a.intervals else None, 3)
            console.print(f"compute-optimal: N* ∝ C^{number(a.a, 3)} {interval}, D* ∝ C^{number(a.b, 3)}")
    else:
        for row in fit.targets:
            console.print(
                f"at {row.flops:.3g} FLOPs: "
                f"N* = {fmt.count(row.parameters)} {ends(row.parameters_interval)}, "
                f"D* = {fmt.count(row.tokens)} tokens {ends(row.tokens_interval)}"
            )
    for warning in fit.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")


def print_comparison(result: Comparison) -> None:
    """Verdict, gain and trend per comparison and axis, then warnings."""
    console = _console()
    table = _table(
        "", "candidate / reference", "verdict", "axis", "EG at largest rung", "pooled", "× per decade", "n"
    )
    for pair in result.comparisons:
        for i, (axis, gain) in enumerate(pair.gains.items()):
            head = (f"{pair.candidate} / {pair.reference}", pair.verdict) if i == 0 else ("", "")
            if gain.reason:
                table.add_row(*head, axis, gain.reason, "", "", "")
                continue
            n = f"{sum(r.n + r.n_reference for r in gain.rungs)} runs, {len(gain.rungs)} rungs"
            table.add_row(*head, axis, eg(gain.at_largest), eg(gain.pooled), trend(gain), n)
    console.print(table)
    for pair in result.comparisons:
        console.print(f"{pair.candidate}: {pair.verdict}, {pair.because}")
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")


def print_predictions(rows: Sequence[Prediction]) -> None:
    """One line per point."""
    table = _table(
        "", "at", "loss (nats/token)", "interval of the law", "interval of a run", "beyond the data"
    )
    for row in rows:
        at = ", ".join(f"{name} {value:g}" for name, value in row.at.items())
        beyond = ", ".join(f"{name} × {value:.3g}" for name, value in row.beyond.items() if value > 1) or "no"
        label = f"{row.variant}: {at}" if row.variant else at
        table.add_row(label, number(row.predicted), ends(row.interval), ends(row.run_interval), beyond)
    _console().print(table)


def print_next(result: NextRuns, rows: int = 12) -> None:
    """The best candidates per accelerator-hour, and what the budget would buy."""
    console = _console()
    console.print(
        f"ln EG of {result.candidate} over {result.reference} at {result.target_flops:.3g} "
        f"FLOPs is known to "
        f"× or ÷ {result.interval_factor_now:.3f} ({100 * result.confidence:g} %)"
    )
    table = _table("", "rung", "FLOPs", "runs", "accelerator-hours", "then × or ÷", "narrower by", "per hour")
    for row in result.candidates[:rows]:
        table.add_row(
            row.rung + (" (new)" if row.new else ""),
            f"{row.flops:.3g}",
            " + ".join(row.runs),
            number(row.accelerator_hours, 3),
            f"{row.interval_factor_after:.3f}",
            f"{100 * row.narrowing:.1f} %",
            f"{100 * row.narrowing_per_hour:.3g} %",
        )
    console.print(table)
    if result.unaffordable:
        console.print(f"{result.unaffordable} more cost over {result.hours:g} accelerator-hours each.")
    plan = result.plan
    counts: dict[str, int] = {}
    for step in plan.steps:
        key = f"{step.rung} ({' + '.join(step.runs)})"
        counts[key] = counts.get(key, 0) + 1
    chosen = ", ".join(f"{count} × {key}" for key, count in counts.items()) or "nothing that would help"
    console.print(
        f"With {result.hours:g} accelerator-hours: {chosen}; {plan.accelerator_hours:.3g} hours, "
        f"then × or ÷ "
        f"{plan.interval_factor_after:.3f}."
    )


def print_tuning(found: Tuning) -> None:
    """Every bowl's optimum, then the rate of every rung, then what to know."""
    show(optima_table(found), rates_table(found), *map(plain, law_sentences(found)))
    show(*map(warn, found.warnings))
