"""The verdict's evidence in tables: gains, criteria, laws, held-out rungs, floors and seed noise, from
comparison.json and fits/flops.json.
"""

from __future__ import annotations

from stepladder.decision.axis_fit import AxisFit, Floor
from stepladder.decision.comparison import Comparison, Criterion, PairComparison
from stepladder.decision.efficiency import FloorGain
from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.report.sections.verdict import axes_of, eg
from stepladder.schema.analysis import AXES
from stepladder.schema.metric import metric

FLOORS = {"shared": "shared by all variants", "free": "one per variant"}


def gains_table(comparison: Comparison) -> Table:
    """Every gain on every axis, per rung and pooled."""
    axes = axes_of(comparison)
    rows = []
    for c in comparison.comparisons:
        pair, gains = f"{c.candidate} / {c.reference}", [c.gains[axis] for axis in axes]
        if gains[0].reason:
            rows.append([pair, *[fmt.MISSING] * (len(gains) + 2), gains[0].reason])
            continue
        for i, rung in enumerate(gains[0].rungs):
            # A fit may be refused on one axis alone.
            cells = [eg(g.rungs[i] if g.rungs else None) for g in gains]
            marks = ["held out"] * rung.held_out + ["beyond the reference"] * rung.extrapolated
            n = f"{rung.n} + {rung.n_reference}"
            rows.append([pair if i == 0 else "", rung.label, *cells, n, ", ".join(marks)])
        pooled = [eg(g.pooled) for g in gains]
        rows.append(["", "all", *pooled, "", f"geometric mean of {len(gains[0].rungs)}"])
    titles = [f"{'~' if axis in axes[2:] else ''}EG on {AXES[axis].title}" for axis in axes]
    return table(["<Candidate / reference", "<Rung", *titles, "n", "<<Note"], rows)


def criteria_tables(comparison: Comparison, width: int = 4) -> list[Table]:
    """The rule's criteria by comparison, at most `width` comparisons side by side."""
    pairs = comparison.comparisons
    tables = []
    for start in range(0, len(pairs), width):
        group = pairs[start : start + width]
        names = [criterion.name for criterion in group[0].criteria]
        rows = []
        for i, name in enumerate(names):
            criteria = [c.criteria[i] for c in group]
            rows.append([name, _threshold(criteria[0].threshold), *map(_outcome, criteria)])
        rows.append(["Verdict", "", *(c.verdict for c in group)])
        tables.append(table(["<<Criterion", "Threshold", *map(_stacked, group)], rows, total=True))
    return tables


def rule_sentence(comparison: Comparison) -> str:
    """Whether the rule was written down before the first result."""
    check = comparison.rule_check
    if check is None or check.recorded_at is None:
        return (
            "The rule is the ladder file's; nothing shows that it was written down before the first result."
        )
    if not check.before:
        there = (
            f"when {check.results_then} runs had results" if check.results_then else "after a run had ended"
        )
        return f"The rule is the ladder file's; it went on record on {check.recorded_at}, {there}."
    if check.changes:
        return f"The rule was changed after the first result; on record since {check.recorded_at} is another."
    return f"The rule is the ladder file's, on record since {check.recorded_at}, before the first result."


def rule_changes_table(comparison: Comparison) -> Table | None:
    """The rule on record beside that of now, where they differ; None where they do not."""
    changes = comparison.rule_check.changes if comparison.rule_check else ()
    rows = [[change.field, _setting(change.then), _setting(change.now)] for change in changes]
    return table(["<Setting", "<On record", "<Now"], rows) if rows else None


def _setting(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _stacked(c: PairComparison) -> str:
    """A column title on two lines."""
    return f"{c.candidate}\n/ {c.reference}"


def _threshold(value: float | bool) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else f"{value:g}"


def _outcome(criterion: Criterion) -> str:
    value = criterion.value
    if value is None:
        text = "∞" if criterion.passed else fmt.MISSING
    elif isinstance(value, bool):
        text = _threshold(value)
    elif isinstance(value, int):
        text = str(value)
    else:
        text = fmt.fixed(value, 3) if abs(value) >= 1e-3 else fmt.p_value(value) if value >= 0 else "0.000"
    return f"{text} {'✓' if criterion.passed else '✗'}"


def laws_table(fit: AxisFit) -> Table:
    """Parameters of every law with intervals, and how far the cells lie from it."""
    rows = []
    for name, law in fit.laws.items():
        cells = []
        intervals = dict(law.intervals.items()) if law.intervals else {}
        for key, value in law.parameters.items():
            low, high = intervals.get(key, (None, None))
            cells.append(fmt.interval(value, low, high, decimals=3))
        residuals = [cell.residual for cell in law.cells]
        worst = max(residuals, key=abs)
        rows.append(
            [
                name,
                *cells,
                str(len(residuals)),
                str(sum(c.n for c in law.cells)),
                fmt.percent(worst, 2, sign=True),
            ]
        )
    unit = fit.metric.unit
    return table(
        [
            "<Variant",
            f"E ({unit})",
            f"A ({unit})",
            "α",
            "Cells",
            "Runs",
            "Largest residual",
        ],
        rows,
    )


def fit_sentence(fit: AxisFit) -> str:
    """How the fit went: floor, convergence, bootstrap."""
    floor = _floor(fit.floor, fit.metric.unit)
    converged = "converged" if fit.converged else "did not converge"
    return (
        f"The cost unit is {fmt.flops(fit.unit_cost)}; the floor E is {floor}; the fit {converged}, "
        f"{fit.starts_agreeing} of {fit.starts} starts agree; "
        f"{fmt.whole(fit.bootstrap_draws)} bootstrap draws."
    )


def held_out_table(fit: AxisFit) -> Table:
    """The largest rung, predicted from the smaller ones before it was used."""
    rows = []
    for p in fit.held_out.predictions if fit.held_out else ():
        low, high = p.interval or (None, None)
        inside = {True: "yes", False: "no", None: f"{fmt.MISSING} (no interval)"}[p.inside]
        rows.append(
            [
                p.variant,
                p.label,
                fmt.flops(p.cost),
                str(p.n),
                fmt.interval(p.predicted, low, high, decimals=3),
                fmt.fixed(p.observed, 3),
                fmt.percent(p.relative_error, 2, sign=True),
                inside,
            ]
        )
    return table(
        ["<Variant", "<Rung", "FLOPs", "n", "Predicted loss", "Observed", "Error", "<Inside"],
        rows,
    )


def sensitivity_table(comparison: Comparison, fit: AxisFit) -> Table:
    """Gain at the largest rung under other assumptions about the floor E."""
    pairs = [c for c in comparison.comparisons if not c.gains["flops"].reason]
    rows = []
    for i, choice in enumerate(fit.sensitivity):
        cells = [_sensitive(c.gains["flops"].sensitivity[i]) for c in pairs]
        fitted = sorted({round(law.E, 2) for law in choice.laws.values()})
        shown = " to ".join(fmt.fixed(v, 2) for v in ([fitted[0], fitted[-1]] if len(fitted) > 1 else fitted))
        rows.append([_floor(choice.floor, fit.metric.unit), shown or fmt.MISSING, *cells])
    return table(
        ["<Floor E", "Fitted E", *map(_stacked, pairs)],
        rows,
    )


def _floor(floor: Floor, unit: str) -> str:
    """What is assumed about the floor E."""
    return FLOORS.get(str(floor), f"pinned at {floor} {unit}")


def _sensitive(row: FloorGain) -> str:
    if row.reason:
        return fmt.MISSING
    return fmt.ratio(row.gain)


def seeds_table(comparison: Comparison) -> Table:
    """Paired test over (rung, seed), and how many pairs the wanted gain would need."""
    rows = []
    for c in comparison.comparisons:
        test, needed = c.seed_test, c.seeds_needed
        rows.append(
            [
                f"{c.candidate} / {c.reference}",
                f"{test.pairs} in {test.rungs} rungs",
                _per_cent(test.mean_log_difference),
                _per_cent(test.sd_log_difference, signed=False),
                fmt.p_value(test.p_better),
                _per_cent(test.detectable_log_difference, signed=False),
                fmt.whole(needed.pairs) if needed else fmt.MISSING,
                test.reason or "",
            ]
        )
    return table(
        [
            "<Candidate / reference",
            "<Pairs",
            "Difference",
            "sd",
            "p (better)",
            "Detectable",
            f"Pairs for EG {wanted(comparison)}",
            "<<Note",
        ],
        rows,
    )


def wanted(comparison: Comparison) -> str:
    """The gain that the numbers of pairs are for, `analysis.wanted_gain`: 1.01."""
    found = [c.seeds_needed for c in comparison.comparisons if c.seeds_needed]
    return f"{found[0].gain:g}" if found else fmt.MISSING


def noise_table(comparison: Comparison) -> Table:
    """Seed noise of every variant."""
    rows = [
        [name, fmt.fixed(noise.sd_loss, 4), str(noise.dof), str(noise.runs)]
        for name, noise in comparison.noise.items()
    ]
    return table(
        ["<Variant", f"sd of loss ({metric(comparison.metric).unit})", "Degrees of freedom", "Runs"],
        rows,
    )


def noise_sentence(fit: AxisFit) -> str:
    """What moves losses in every interval: seed noise as a line over the rungs, and misfit."""
    noise, misfit, prior = fit.noise, fit.misfit, fit.made_from.misfit
    if misfit is None or noise.sd_log_loss is None:
        return ""
    spread = [sd for sd in noise.sd_log_loss.values() if sd is not None]
    ends = sorted({_per_cent(min(spread), signed=False), _per_cent(max(spread), signed=False)})
    low, high = misfit.interval or (None, None)
    known = f" [{_per_cent(low, signed=False)}, {_per_cent(high, signed=False)}]" if misfit.interval else ""
    line = fmt.fixed(noise.sd_per_decade, 2)
    return (
        f"In intervals it is a line over all rungs: {' to '.join(ends)} of the loss at the largest rung "
        f"({fmt.fixed(noise.dof, 1)} degrees of freedom), × {line} for ten times the cost. Beside it "
        f"cells lie {_per_cent(misfit.sd_log_loss, signed=False)}{known} off their law (sd), and "
        f"{fmt.percent(prior.share)} of them are taken to be undertuned, by about "
        f"{_per_cent(prior.by, signed=False)}."
    )


def _per_cent(value: float | None, signed: bool = True) -> str:
    return fmt.percent(value, 2, sign=signed)
