"""The verdict in words and one table, from comparison.json: what to promote, hold and reject, and why.

What is not known is said with its reason, and a null result is called one.
"""

from __future__ import annotations

import math

from stepladder.decision.by_metric import ByMetric, MetricVerdict
from stepladder.decision.comparison import (
    Comparison,
    Equivalence,
    Interaction,
    PairComparison,
    RungDifference,
)
from stepladder.decision.efficiency import AxisGain, Gain
from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.schema.analysis import AXES, Axis
from stepladder.schema.metric import domain_of, macro_of, metric, task_of

OUTCOMES = {
    **{verdict: verdict for verdict in ("promote", "hold", "reject", "equivalent", "not equivalent")},
    "unknown": "not known whether equivalent:",
}
"""Verdict to what the headline calls it, in its order."""


def headline(comparison: Comparison) -> str:
    """What to promote, hold and reject: a sentence per reference."""
    pairs = comparison.comparisons
    sentences = []
    for reference in dict.fromkeys(c.reference for c in pairs):
        parts = []
        for verdict, words in OUTCOMES.items():
            names = [c.candidate for c in pairs if (c.reference, c.verdict) == (reference, verdict)]
            if names:
                parts.append(f"{words} {_and(names)}")
        sentences.append(f"Against {reference}: {', '.join(parts)}.")
    if not sentences:
        return "Nothing to compare: only the baseline has runs."
    mark = comparison.rule_check and comparison.rule_check.mark
    return " ".join([*sentences, *([f"Mind: {mark}."] if mark else [])])


def metric_sentence(comparison: Comparison) -> str:
    """What "loss" stands for where it is not the target loss; empty where it is."""
    if comparison.metric == "target_loss":
        return ""
    name = comparison.metric
    domain, task, suite, chosen = domain_of(name), task_of(name), macro_of(name), metric(name)
    of = f"held-out text of the domain {domain}" if domain else "held-out text, domains weighted as below"
    if task:
        of = f"the right answers of the task {task}"
    elif suite:
        of = f"the right answers of tasks, their mean over the suite {suite}"
    return f"Loss here is {comparison.metric}: {chosen.unit} of {of}. Laws, gains and verdicts are about it."


def metrics_table(found: ByMetric | None, comparison: Comparison | None = None) -> Table | None:
    """Verdict and gains by every metric, the deciding one first; None where there is no other."""
    rows = _verdicts(found, comparison)
    if found is None or not found.verdicts:
        return None
    pairs = dict.fromkeys((row.candidate, row.reference) for row in rows)
    axes = [*dict.fromkeys(axis for row in rows for axis in row.gains)]
    cells = [
        [
            " / ".join(pair) if row is mine[0] else "",
            row.metric + (" (decides)" if row.metric == found.metric else ""),
            *(eg(row.gains.get(axis)) for axis in axes),
            next((f"{gain.n} + {gain.n_reference}" for gain in row.gains.values() if gain), fmt.MISSING),
            row.verdict,
        ]
        for pair in pairs
        for mine in [[row for row in rows if (row.candidate, row.reference) == pair]]
        for row in mine
    ]
    return table(
        [
            "<Candidate / reference",
            "<Metric",
            *(f"EG on {AXES[axis].title}" for axis in axes),
            "n",
            "<Verdict",
        ],
        cells,
        title="The same by other metrics",
        note="EG at the candidate's largest rung, with its interval; n: runs of candidate + reference. Other "
        f"metrics: {found.draws} bootstrap draws, no looks between rungs. bits_per_byte weighs domains as "
        "the target loss does; domain:<name>: bits per byte of that one; task:<name>: bits per byte of its "
        "right answers; macro:<suite>: their mean over tasks.",
    )


def metrics_sentence(found: ByMetric | None, comparison: Comparison) -> str:
    """Where metrics disagree on what to do; empty where there is one metric. Pairs that a gate decided have
    fewer rungs by the others, and are left out."""
    if found is None or not (found.verdicts or found.refused):
        return ""
    gated = {(pair.candidate, pair.reference) for pair in comparison.comparisons if pair.gate}
    rows = [row for row in _verdicts(found, comparison) if (row.candidate, row.reference) not in gated]
    told = []
    for pair in dict.fromkeys((row.candidate, row.reference) for row in rows):
        by_verdict: dict[str, list[str]] = {}
        for row in rows:
            if (row.candidate, row.reference) == pair:
                by_verdict.setdefault(row.verdict, []).append(row.metric)
        if len(by_verdict) > 1:
            said = "; ".join(f"{verdict} by {_and(names)}" for verdict, names in by_verdict.items())
            told.append(f"{pair[0]} against {pair[1]}: {said}.")
    names = dict.fromkeys(row.metric for row in rows)
    said = f"Metrics disagree. {' '.join(told)}" if told else ""
    if not told and rows:
        said = f"All metrics ({', '.join(names)}) give the same verdicts."
    return " ".join([said, *unjudged(found)]).strip()


def unjudged(found: ByMetric) -> list[str]:
    """By which metrics nothing is known, a sentence each."""
    return [f"By {name} nothing is known: {why}." for name, why in found.refused.items()]


def _verdicts(found: ByMetric | None, comparison: Comparison | None) -> list[MetricVerdict]:
    deciding = [] if comparison is None else [*MetricVerdict.of(comparison)]
    return [*deciding, *(found.verdicts if found else ())]


def findings(comparison: Comparison) -> list[str]:
    """One sentence per comparison: what the gain is, on FLOPs and on time, with interval and n."""
    pairs = comparison.comparisons
    reasons = {c.gains["flops"].reason for c in pairs if c.equivalence is None}
    if len(reasons) == 1 and None not in reasons:
        return [f"No candidate could be judged: {reasons.pop()}."]
    return [
        same_loss(c, c.equivalence) if c.equivalence else finding(c, comparison.rule.minimal_gain)
        for c in pairs
    ]


def same_loss(c: PairComparison, found: Equivalence) -> str:
    """What a test of equivalence shows, in plain words, with the speed that the change is for."""
    who = f"{c.candidate} against {c.reference}"
    if not found.rungs:
        return f"{who}: not judged, because {found.reason}."
    worst = max(found.rungs, key=lambda row: max(map(abs, row.interval)))
    level = fmt.level(1 - 2 * found.alpha)
    text = (
        f"{who}: {c.verdict}; {c.because}. The widest: {_difference(worst)} of loss at {worst.label} "
        f"({level} interval, n = {worst.n} + {worst.n_reference} runs, {fmt.fixed(worst.dof, 1)} degrees of "
        f"freedom), margin ± {fmt.percent(found.margin, 3)}."
    )
    top = found.rungs[-1]
    if top.speed is not None:
        text += f" Speed at {top.label}: {fmt.gain(top.speed, top.speed_interval)} times the reference's."
    return text


def _difference(row: RungDifference) -> str:
    logs = (row.difference, *row.interval)
    value, low, high = (fmt.percent(math.expm1(log), 3, sign=True) for log in logs)
    return f"{value} [{low}, {high}]"


def equivalence_table(comparison: Comparison) -> Table | None:
    """Every difference of loss at equal steps; None where the rule is about gains."""
    rows = [
        [
            f"{c.candidate} / {c.reference}" if i == 0 else "",
            row.label,
            f"{row.n} + {row.n_reference}",
            _difference(row),
            fmt.fixed(row.dof, 1),
            fmt.gain(row.speed, row.speed_interval),
        ]
        for c in comparison.comparisons
        if c.equivalence
        for i, row in enumerate(c.equivalence.rungs)
    ]
    if not rows:
        return None
    level = fmt.level(1 - 2 * comparison.rule.alpha)
    return table(
        ["<Candidate / reference", "<Rung", "n", "Difference of loss", "Degrees of freedom", "Speed"],
        rows,
        title="Equal loss at equal steps",
        note=f"Candidate's loss over the reference's, less 1 (geometric means), with {level} intervals (two "
        f"one-sided tests at {fmt.percent(comparison.rule.alpha)}); margin ± "
        f"{fmt.percent(comparison.rule.margin, 3)}. Speed: accelerator time of the reference over the "
        "candidate's.",
    )


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
    limit = "of any size" if high is None else f"of up to × {fmt.ratio(high)}"
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


def trend(gain: AxisGain) -> str:
    """Factor on EG per ten times the cost: `1.03 [0.79, 1.37]`."""
    slope = gain.trend
    if slope is None or slope.slope_per_decade is None:
        return fmt.MISSING
    low, high = (None if end is None else fmt.exponential(end) for end in slope.interval or (None, None))
    return fmt.gain(fmt.exponential(slope.slope_per_decade), (low, high) if slope.interval else None)


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


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
