"""Tasks and metrics in words and tables: compute to accuracy in two steps, and what tells variants apart."""

from __future__ import annotations

from typing import Any

from stepladder.decision.signal import Agreement, Signal, SignalNoise
from stepladder.decision.tasks import ScoreForecast, TaskEstimate, TaskLaw, TaskLaws
from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.laws.forms import E as FLOOR


def task_laws_context(found: TaskLaws) -> dict[str, Any]:
    """What the report says of both steps."""
    return {
        "sentences": task_sentences(found),
        "forecasts": task_forecasts_table(found),
        "steps": steps_table(found),
    }


def signal_summary(found: Signal) -> Table | None:
    """Signal over noise of every metric at every place, and how many pairs the last but one has in the order
    of the largest; `signal_table` has all."""
    places = list(dict.fromkeys(row.place for row in found.signals))
    if not places:
        return None
    last = places[-2] if len(places) > 1 else places[-1]
    ratio = {(row.metric, row.place): _ratio(row) for row in found.signals}
    pairs = {(row.metric, row.by): row for row in found.agreements if row.place == last}
    rows = [
        [
            name,
            *(ratio.get((name, place), fmt.MISSING) for place in places),
            _share(pairs.get((name, name))),
            _share(pairs.get((name, found.metric))),
        ]
        for name in dict.fromkeys(row.metric for row in found.signals)
    ]
    n = {row.place: f"{row.n_runs} of {row.variants} variants" for row in found.signals}
    there = ", ".join(f"{n[place]} at {place}" for place in places)
    return table(
        ["<Metric", *places, f"Pairs at {last} as at the largest", f"as by {found.metric}"],
        rows,
        title="Signal over noise, and decision accuracy",
        note="By rung: spread of the variants' means over the standard deviation of one run over seeds "
        f"(runs: {there}); 1 or less tells nothing. Pairs of variants that {last} puts in the order of the "
        "largest rung, by the same metric and by the one that decides. In brackets "
        f"{fmt.level(found.confidence)} intervals by noise of seeds: with few pairs they are wide.",
    )


def _ratio(row: SignalNoise) -> str:
    return fmt.MISSING if row.ratio is None else fmt.estimate(row.ratio, row.ratio_interval, 2)


HITS = {True: "yes", False: "no", None: fmt.MISSING}


def steps_table(found: TaskLaws) -> Table | None:
    """Both steps of every task; None where no task has any."""
    fitted = [law for law in found.tasks if law.first and law.second]
    if not fitted:
        return None
    rows = [row for law in fitted for row in _steps(law)]
    level = fmt.level(found.confidence)
    return table(
        ["<Task", "<Step", "<Parameter", "Estimate", f"{level}: seeds", "Items", "Both"],
        rows,
        title="From compute to bits per byte to accuracy",
        note="Intervals by noise of training, by the items being a sample, and by the two together. n: runs. "
        "E and b_mid in bits/byte, k in bytes/bit, R0 a share; A is what is added to E at one unit of its "
        "input.",
    )


def _steps(law: TaskLaw) -> list[list[str]]:
    assert law.first is not None and law.second is not None
    rows = [
        [number, name, *_estimate(estimate, number == "1" and name.split("[")[0] == FLOOR.name)]
        for number, step in (("1", law.first), ("2", law.second))
        for name, estimate in step.parameters.items()
    ]
    return [[f"{law.task} (n = {law.n_runs})" if i == 0 else "", *row] for i, row in enumerate(rows)]


def _estimate(found: TaskEstimate, floor: bool) -> list[str]:
    """Value and intervals. A floor at the lower end of its range is not told by the runs, and neither is how
    sure it would be."""
    if floor and found.value is not None and found.value <= FLOOR.low * 1.01:
        return ["at its lower bound", *[fmt.MISSING] * 3]
    return [fmt.significant(found.value), *(_bounds(ends) for ends in (found.seeds, found.items, found.both))]


def _bounds(ends: tuple[float | None, float | None] | None) -> str:
    return fmt.MISSING if ends is None else fmt.bounds(ends)


def task_forecasts_table(found: TaskLaws) -> Table | None:
    """The largest rung as the others foretold it; None where there is none."""
    rows = [
        [law.task, row.variant, row.place, str(row.n), what, *_forecast(score)]
        for law in found.tasks
        for row in law.forecasts
        for what, score in (("bits per byte", row.bits), ("accuracy", row.accuracy))
    ]
    if not rows:
        return None
    level = fmt.level(found.confidence)
    titles = ["<Task", "<Variant", "<Rung", "Runs", "<Score", f"Predicted [{level}]", "Expected of runs"]
    return table(
        [*titles, "Measured", "Inside"],
        rows,
        title="The largest rung, predicted by laws that were fitted without it",
        note="Predicted: by the laws, with the noise of seeds and of items that they rest on. Expected of "
        "runs: with the noise of the runs themselves, on the same items.",
    )


def _forecast(score: ScoreForecast) -> list[str]:
    predicted = fmt.estimate(score.predicted.value, score.predicted.both or score.predicted.seeds)
    return [predicted, _bounds(score.expected), fmt.significant(score.measured), HITS[score.hit]]


def task_sentences(found: TaskLaws) -> list[str]:
    """Which tasks have no laws or no forecast, and where variants do not lie on one curve."""
    told = []
    for law in found.tasks:
        told += [f"{law.task}: {name} is left out, {why}." for name, why in law.left_out.items()]
        if law.reason:
            told.append(f"{law.task}: no laws, because {law.reason}.")
        elif law.forecast_reason:
            told.append(f"{law.task}: no forecast, because {law.forecast_reason}.")
        if law.second and law.second.p_same is not None and law.second.p_same < 0.05:
            gaps = ", ".join(f"{name} {fmt.signed(gap)}" for name, gap in law.second.gaps.items())
            told.append(
                f"{law.task}: variants do not lie on one curve of accuracy over bits per byte "
                f"(p = {fmt.p_value(law.second.p_same)}; accuracy above it: {gaps})."
            )
    return told


def signal_table(found: Signal) -> Table | None:
    """Signal and noise of every metric at every place, and how many pairs are in the largest's order."""
    if not found.signals:
        return None
    own = {(row.metric, row.place): row for row in found.agreements if row.by == row.metric}
    deciding = {(row.metric, row.place): row for row in found.agreements if row.by == found.metric}
    rows, before = [], ""
    for row in found.signals:
        key = row.metric, row.place
        rows.append(
            [
                row.metric if row.metric != before else "",
                *_signal(row),
                _share(own.get(key)),
                _share(deciding.get(key)),
                str(row.n_runs),
            ]
        )
        before = row.metric
    return table(
        [
            *("<Metric", "<Rung", "Signal", "By noise", "Noise", f"Ratio [{fmt.level(found.confidence)}]"),
            *("Pairs as at the largest", f"as by {found.metric}", "Runs"),
        ],
        rows,
        title="Signal, noise and decision accuracy",
        note="Signal: largest less smallest mean of variants, over their mean; by noise: what variants "
        "without any difference would show. Noise: standard deviation over seeds, over the same mean. Pairs: "
        "share of pairs of variants in the order of the largest rung, by the same metric and by the one that "
        "decides.",
    )


def _signal(row: SignalNoise) -> list[str]:
    ratio = fmt.MISSING if row.ratio is None else fmt.estimate(row.ratio, row.ratio_interval)
    shares = (fmt.percent(value, 2) for value in (row.signal, row.by_noise, row.noise))
    return [row.place, *shares, ratio]


def _share(row: Agreement | None) -> str:
    if row is None:
        return fmt.MISSING
    ends = row.interval and [fmt.percent(end) for end in row.interval]
    return f"{fmt.percent(row.share)} of {row.pairs}" + (f" [{ends[0]}, {ends[1]}]" if ends else "")
