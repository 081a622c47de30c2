"""The verdict and its evidence in words and tables, from comparison.json and fits/flops.json.

What is not known is said with its reason, and a null result is called one.
"""

from __future__ import annotations

import math

from stepladder.decision.axis_fit import AxisFit, Floor
from stepladder.decision.comparison import Comparison, Criterion, Interaction, PairComparison
from stepladder.decision.efficiency import AxisGain, FloorGain, Gain
from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.schema.analysis import AXES, Axis

FLOORS = {"shared": "shared by all variants", "free": "one per variant"}


def headline(comparison: Comparison) -> str:
    """What to promote, hold and reject: a sentence per reference."""
    pairs = comparison.comparisons
    sentences = []
    for reference in dict.fromkeys(c.reference for c in pairs):
        parts = []
        for verdict in ("promote", "hold", "reject"):
            names = [c.candidate for c in pairs if (c.reference, c.verdict) == (reference, verdict)]
            if names:
                parts.append(f"{verdict} {_and(names)}")
        sentences.append(f"Against {reference}: {', '.join(parts)}.")
    return " ".join(sentences) or "Nothing to compare: only the baseline has runs."


def findings(comparison: Comparison) -> list[str]:
    """One sentence per comparison: what the gain is, on FLOPs and on time, with interval and n."""
    pairs = comparison.comparisons
    reasons = {c.gains["flops"].reason for c in pairs}
    if len(reasons) == 1 and None not in reasons:
        return [f"No candidate could be judged: {reasons.pop()}."]
    return [finding(c, comparison.rule.minimal_gain) for c in pairs]


def finding(c: PairComparison, minimal_gain: float) -> str:
    """What one comparison shows, in plain words; `minimal_gain` is the smallest gain worth having."""
    by_flops, by_time = c.gains["flops"], c.gains["seconds"]
    who = f"{c.candidate} against {c.reference}"
    top = by_flops.at_largest
    if top is None:
        return f"{who}: not judged, because {by_flops.reason}."
    where = f"at {top.label}, n = {top.n} + {top.n_reference} runs"
    numbers = f"EG on FLOPs {eg(top)} {where}"
    on_time = by_time.at_largest
    if on_time:
        numbers += f"; on time {eg(on_time)}"
    claims = {
        "saves": "saves compute",
        "costs": "costs compute: it needs more than the reference for the same loss",
        "null": _null(top, minimal_gain),
        "unknown": "has no interval, so a gain cannot be told from seed noise",
    }
    claim = claims[_sign(top)]
    if on_time and {_sign(top), _sign(on_time)} == {"saves", "costs"}:
        claim += ", but costs time" if _sign(top) == "saves" else ", but saves time"
    elif on_time and _sign(top) == "saves" and _sign(on_time) == "null":
        claim += ", but no time that the data can show"
    return f"{who}: {claim}. {numbers}."


def eg(found: Gain | None) -> str:
    """An efficiency gain with its interval; a dash where there is none."""
    return fmt.MISSING if found is None else fmt.gain(found.gain, found.interval)


def _null(row: Gain, minimal_gain: float) -> str:
    """Words for an interval that holds 1: a gain worth having is ruled out, or it is not."""
    high = row.interval[1] if row.interval else None
    if high is not None and high < minimal_gain:
        return "does not help at this scale"
    limit = "of any size" if high is None else f"of up to × {fmt.fixed(high, 2)}"
    return f"no saving beyond the noise at this scale; one {limit} is not ruled out"


def _sign(row: Gain) -> str:
    """Which side of 1 the whole interval lies on; an end that is null is infinite."""
    if row.interval is None:
        return "unknown"
    low, high = (math.inf if end is None else end for end in row.interval)
    return "saves" if low > 1 else "costs" if high < 1 else "null"


def verdict_table(comparison: Comparison) -> Table:
    """Candidate by reference: verdict, gains at the largest rung, trend, n, what decided."""
    axes = axes_of(comparison)
    rows = []
    for c in comparison.comparisons:
        main = c.gains[axes[0]]
        gains = [eg(c.gains[axis].at_largest) for axis in axes[:2]]
        rows.append([c.candidate, c.reference, c.verdict, *gains, trend(main), _n(main), c.because])
    titles = [f"<EG on {AXES[axis].title}" for axis in axes[:2]]
    return table(
        ["<Candidate", "<Against", "<Verdict", *titles, "~<Trend", "~<n", "<<Decided by"],
        rows,
    )


def axes_of(comparison: Comparison) -> list[Axis]:
    """The cost axes that were compared, FLOPs first where they are among them."""
    return [axis for axis in AXES if all(axis in c.gains for c in comparison.comparisons)]


def _has_gain(c: PairComparison) -> bool:
    return not c.gains["flops"].reason


def trend(gain: AxisGain) -> str:
    """Factor on EG per ten times the cost: `1.03 [0.79, 1.37]`."""
    slope = gain.trend
    if slope is None or slope.slope_per_decade is None:
        return fmt.MISSING
    low, high = (None if end is None else math.exp(end) for end in slope.interval or (None, None))
    return fmt.gain(math.exp(slope.slope_per_decade), (low, high) if slope.interval else None)


def trend_sentences(comparison: Comparison) -> list[str]:
    """Whether each gain grows or shrinks with scale, and whether that is more than noise."""
    sentences, places = [], _places(comparison)
    for c in comparison.comparisons:
        gain = c.gains["flops"]
        slope = gain.trend
        if slope is None or slope.slope_per_decade is None:
            continue
        ends = slope.interval
        low, high = ends if ends else (None, None)
        if ends is None:
            claim = "no interval, so the direction is not known"
        elif low is not None and low > 0:
            claim = "the gain grows with scale"
        elif high is not None and high < 0:
            claim = "the gain shrinks with scale"
        else:
            claim = "no trend beyond the noise"
        sentences.append(
            f"{c.candidate} against {c.reference}: {claim}. EG changes by a factor of {trend(gain)} "
            f"for ten times the FLOPs ({slope.n_rungs} {places})."
        )
    interactions = [row for row in comparison.interactions if row.axis == "flops"]
    return sentences + [_interaction(row, places) for row in interactions]


def _places(comparison: Comparison) -> str:
    """What gains were measured at: rungs, or rungs at budgets, as their labels say."""
    gains = [c.gains["flops"].rungs for c in comparison.comparisons]
    budgets = any(r.label != r.rung for rungs in gains for r in rungs)
    return "pairs of rung and budget" if budgets else "rungs"


def _interaction(row: Interaction, places: str) -> str:
    """Whether a recipe saves as much on another architecture as on the baseline's."""
    head = f"{row.recipe} on {row.architecture}, its gain over that on the baseline's architecture"
    pooled = row.pooled
    if pooled is None:
        return f"{head}: unknown ({row.reason})."
    measured = f"geometric mean of {pooled.n_rungs} {places}"
    return f"{head}: × {eg(pooled)}, {measured} (at 1 the savings multiply)."


def _n(gain: AxisGain) -> str:
    rungs = gain.rungs
    if not rungs:
        return fmt.MISSING
    seeds = {r.n for r in rungs} | {r.n_reference for r in rungs}
    spread = str(min(seeds)) if len(seeds) == 1 else f"{min(seeds)}–{max(seeds)}"
    runs = sum(r.n + r.n_reference for r in rungs)
    return f"{runs} / {len(rungs)} / {spread}"


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
                f"{fmt.signed(100 * worst, 2)} %",
            ]
        )
    return table(
        ["<Variant", "E (nats/token)", "A (nats/token)", "α", "Cells", "Runs", "Largest residual"],
        rows,
    )


def fit_sentence(fit: AxisFit) -> str:
    """How the fit went: floor, convergence, bootstrap."""
    floor = _floor(fit.floor)
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
                f"{fmt.signed(100 * p.relative_error, 2)} %",
                inside,
            ]
        )
    return table(
        ["<Variant", "<Rung", "FLOPs", "n", "Predicted loss", "Observed", "Error", "<Inside"],
        rows,
    )


def sensitivity_table(comparison: Comparison, fit: AxisFit) -> Table:
    """Gain at the largest rung under other assumptions about the floor E."""
    pairs = [c for c in comparison.comparisons if _has_gain(c)]
    rows = []
    for i, choice in enumerate(fit.sensitivity):
        cells = [_sensitive(c.gains["flops"].sensitivity[i]) for c in pairs]
        fitted = sorted({round(law.E, 2) for law in choice.laws.values()})
        shown = " to ".join(fmt.fixed(v, 2) for v in ([fitted[0], fitted[-1]] if len(fitted) > 1 else fitted))
        rows.append([_floor(choice.floor), shown or fmt.MISSING, *cells])
    return table(
        ["<Floor E", "Fitted E", *map(_stacked, pairs)],
        rows,
    )


def _floor(floor: Floor) -> str:
    """What is assumed about the floor E."""
    return FLOORS.get(str(floor), f"pinned at {floor} nats/token")


def _sensitive(row: FloorGain) -> str:
    if row.reason:
        return fmt.MISSING
    return fmt.fixed(row.gain, 2) if row.gain is not None else "∞"


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
        ["<Variant", "sd of loss (nats/token)", "Degrees of freedom", "Runs"],
        rows,
    )


def _per_cent(value: float | None, signed: bool = True) -> str:
    if value is None:
        return fmt.MISSING
    return f"{fmt.signed(100 * value, 2) if signed else fmt.fixed(100 * value, 2)} %"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
