"""What lies beyond the ladder: gains at the target, crossings, predictions on record, what would settle
it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from stepladder.decision.axis_fit import AxisFit, HeldOutPrediction
from stepladder.decision.comparison import Comparison, PairsNeeded
from stepladder.decision.efficiency import Crossover
from stepladder.decision.prediction import Prediction
from stepladder.decision.run_options import LEAST, MOST, NextRuns, RunOption, SpendingPlan
from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.report.sections.verdict import eg

SHOWN = 3
"""Candidate runs per comparison."""


def beyond_table(comparison: Comparison) -> Table:
    """Gain at the target compute and where the laws cross, per comparison, on FLOPs."""
    rows = []
    for c in comparison.comparisons:
        gain = c.gains.get("flops")
        if gain is None or gain.crossover is None:
            continue
        target, crossing = gain.at_target, gain.crossover
        rows.append(
            [
                f"{c.candidate} / {c.reference}",
                eg(target),
                fmt.flops(target.cost) if target else fmt.MISSING,
                f"{fmt.general(target.beyond)} ×" if target else fmt.MISSING,
                _crossing(crossing),
                fmt.percent(crossing.share) if crossing.share is not None else fmt.MISSING,
            ]
        )
    return table(
        [
            "<Candidate / reference",
            "EG at target",
            "Target",
            "Beyond the ladder",
            "<<Laws cross at",
            "In draws",
        ],
        rows,
    )


def _crossing(crossing: Crossover) -> str:
    if crossing.cost is None:
        low, high = crossing.searched
        return f"nowhere from {fmt.flops(low)} to {fmt.flops(high)}"
    return f"{fmt.flops(crossing.cost)}; above it {crossing.better_above} is better"


def left_out_table(fit: AxisFit) -> Table:
    """Every rung predicted from all others: error of the prediction, and whether it was inside its
    interval."""
    found = fit.leave_one_out
    variants = list(fit.laws)
    rows = []
    for part in found:
        cells = []
        for name in variants:
            mine = [p for p in part.predictions if p.variant == name]
            cells.append(", ".join(map(_error, mine)) or fmt.MISSING)
        rows.append([", ".join(part.rungs), *cells, part.reason or ""])
    return table(["<Left out", *variants, "<<Note"], rows)


def _error(prediction: HeldOutPrediction) -> str:
    marks = {True: "✓", False: "✗", None: ""}
    return f"{fmt.percent(prediction.relative_error, 2, sign=True)} {marks[prediction.inside]}".strip()


def record_sentence(comparison: Comparison) -> str:
    """Whether a prediction was on record before the largest rungs ran, and whether it came true."""
    record = comparison.prediction_record
    if record is None:
        return "No prediction was on record before these runs (`snakemake preregister` makes one)."
    rungs, when = ", ".join(record.rungs), record.made_at
    head = f"On record since {when}, from {record.n_runs} runs (sha256 {record.sha256[:12]}…)"
    if not record.whole:
        return f"{head}: the record is not as it was made, so it shows nothing."
    if others := record.settings_changed:
        named = "; ".join(f"{change.field} {change.then}, now {change.now}" for change in others)
        return f"{head}: but the analysis is set otherwise now ({named}), so it shows nothing."
    if changed := record.inputs_changed:
        return (
            f"{head}: {len(changed)} of those runs have other losses now ({changed[0]}), so it shows nothing."
        )
    reasons = [f"{row.variant} {row.label} {row.reason}" for row in record.predictions if row.reason]
    if reasons:
        return f"{head}: not to be judged, because {reasons[0]}."
    if record.before is None:
        return f"{head}: not to be judged, because it is not known when the runs of {rungs} began."
    if not record.before:
        return f"{head}: but {rungs} began at {record.first_run_started}, before it was made."
    inside = [bool(row.inside) for row in record.predictions]
    verdict = "came true" if all(inside) else "did not come true"
    count = f"{sum(inside)} of {len(inside)} losses lie inside their intervals"
    code = " The code of the analysis has changed since." if record.code_changed else ""
    return f"{head}, before {rungs} began: it {verdict}, {count}.{code}"


def settle_table(comparison: Comparison) -> Table:
    """Pairs of runs that would show the wanted gain with 80 % power, by rung."""
    pairs = [(c, c.seeds_needed.rungs) for c in comparison.comparisons if c.seeds_needed]
    labels = list(dict.fromkeys(rung.label for _, rungs in pairs for rung in rungs))
    rows = []
    for c, rungs in pairs:
        needed = {rung.label: rung for rung in rungs}
        cells = [_pairs(needed.get(label)) for label in labels]
        rows.append([f"{c.candidate} / {c.reference}", *cells])
    return table(["<Candidate / reference", *labels], rows)


def _pairs(row: PairsNeeded | None) -> str:
    if row is None:
        return fmt.MISSING
    hours = row.accelerator_hours
    return f"{fmt.whole(row.pairs)} ({fmt.significant(hours)} h)" if hours else fmt.whole(row.pairs)


def next_table(comparison: Comparison) -> Table:
    """The runs that would narrow the gain's interval most per accelerator-hour."""
    rows = []
    for c in comparison.comparisons:
        plan = c.next_runs
        if not plan:
            continue
        for i, row in enumerate(plan.candidates[:SHOWN]):
            rows.append(
                [
                    f"{c.candidate} / {c.reference}" if i == 0 else "",
                    f"× ÷ {fmt.fixed(plan.interval_factor_now, 3)}" if i == 0 else "",
                    *_option(row),
                ]
            )
    return table(["<<Candidate / reference", "Now", *OPTION], rows)


def options_table(found: NextRuns, shown: int) -> Table:
    """The first runs of a ranking, and by how much an accelerator-hour on them narrows the interval."""
    rows = [
        [
            *_option(row),
            f"{fmt.general(100 * row.narrowing_per_hour)} %" if row.narrowing > 0 else fmt.MISSING,
        ]
        for row in found.candidates[:shown]
    ]
    note = "One purchase each, best per hour first. Per hour is a rate, over 100 % where a run takes minutes."
    return table([*OPTION, "Per hour"], rows, note=note)


def spending_sentences(found: NextRuns) -> list[str]:
    """How well the gain is known, and what the budget would buy and why."""
    sentences = [
        f"EG of {found.candidate} over {found.reference} at {fmt.flops(found.target_flops)} is known to "
        f"× or ÷ {fmt.fixed(found.interval_factor_now, 3)} ({fmt.level(found.confidence)}).",
        f"With {found.hours:g} accelerator-hours: {_purchase(found.plan)}",
    ]
    if found.unaffordable:
        sentences.append(f"{found.unaffordable} more cost over {found.hours:g} accelerator-hours each.")
    return sentences


def _purchase(plan: SpendingPlan) -> str:
    """What is bought, why so, and what it brings."""
    if not plan.steps:
        return (
            f"nothing is bought: no run that it can pay narrows the interval by over {fmt.percent(LEAST, 1)}."
        )
    counts = Counter(f"{step.rung} ({' + '.join(step.runs)})" for step in plan.steps)
    chosen = ", ".join(f"{n} × {place}" for place, n in counts.items())
    hours, after = fmt.significant(plan.accelerator_hours), fmt.fixed(plan.interval_factor_after, 3)
    return (
        f"{chosen}; {hours} hours, then × or ÷ {after}. The first of the ranking was bought, then all were "
        "ranked anew, as a second run like it tells less, and so on"
        f"{f' for {MOST} purchases' if len(plan.steps) == MOST else ''}."
    )


def predictions_table(rows: Sequence[Prediction], unit: str) -> Table:
    """Predicted losses, or rewards, one line per point."""
    cells = []
    for row in rows:
        at = ", ".join(f"{name} {_input(name, value)}" for name, value in row.at.items())
        beyond = [f"{name} × {fmt.general(value)}" for name, value in row.beyond.items() if value > 1]
        cells.append(
            [
                f"{row.variant}: {at}" if row.variant else at,
                fmt.significant(row.predicted, 5),
                fmt.bounds(row.interval, 4),
                fmt.bounds(row.run_interval, 4),
                ", ".join(beyond) or "no",
            ]
        )
    what = "Predicted" if any("compute" in row.at for row in rows) else f"Loss ({unit})"
    return table(["<At", what, "Interval of the law", "Interval of a run", "<<Beyond the data"], cells)


def _input(name: str, value: float) -> str:
    """A number that was asked for: 7.00B parameters, but 1.00 × 10²¹ FLOPs."""
    return fmt.count(value) if name in COUNTED else fmt.general(value)


COUNTED = ("parameters", "tokens")
"""Inputs of laws that are counts."""

OPTION = ("<Rung", "FLOPs", "<<Runs", "Acc.-hours", "Then", "Narrower by")
"""Columns of `_option`."""


def _option(row: RunOption) -> list[str]:
    """A run that could be next: what it costs, and what it would tell."""
    return [
        row.rung + (" (new)" if row.new else ""),
        fmt.flops(row.flops),
        " + ".join(row.runs),
        fmt.significant(row.accelerator_hours),
        f"× ÷ {fmt.fixed(row.interval_factor_after, 3)}",
        _narrower(row),
    ]


def _narrower(row: RunOption) -> str:
    if row.worthwhile:
        return fmt.percent(row.narrowing, 1)
    return f"< {fmt.percent(LEAST, 1)}" if row.narrowing > 0 else "no expected gain"
