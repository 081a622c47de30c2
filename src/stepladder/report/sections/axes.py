"""A comparison axis by axis, for a terminal: nothing that was asked for is left out for want of room."""

from __future__ import annotations

from stepladder.decision.comparison import Comparison
from stepladder.display.table import Table, table
from stepladder.report.sections.verdict import axes_of, eg, trend
from stepladder.schema.analysis import AXES


def outcomes_table(comparison: Comparison) -> Table:
    """The verdict on every candidate, and what decided it."""
    rows = [[c.candidate, c.reference, c.verdict, c.because] for c in comparison.comparisons]
    return table(["<Candidate", "<Against", "<Verdict", "<<Decided by"], rows)


def axes_table(comparison: Comparison) -> Table:
    """Per pair and axis: gain at the largest rung, over all rungs, its trend, and what it rests on; or why
    there is none."""
    rows = []
    for c in comparison.comparisons:
        for i, axis in enumerate(axes_of(comparison)):
            gain = c.gains[axis]
            runs = sum(rung.n + rung.n_reference for rung in gain.rungs)
            rows.append(
                [
                    f"{c.candidate} / {c.reference}" if i == 0 else "",
                    AXES[axis].title,
                    eg(gain.at_largest),
                    eg(gain.pooled),
                    trend(gain),
                    gain.reason or f"{runs} runs, {len(gain.rungs)} rungs",
                ]
            )
    return table(
        ["<<Candidate / reference", "<Axis", "EG at largest rung", "Pooled", "× per decade", "<<n"], rows
    )


def rungs_table(comparison: Comparison) -> Table:
    """Per pair, axis and rung: the gain by the measured loss."""
    rows = []
    for c in comparison.comparisons:
        pair = f"{c.candidate} / {c.reference}"
        for axis in axes_of(comparison):
            for i, rung in enumerate(c.gains[axis].rungs):
                marks = ["held out"] * rung.held_out + ["beyond the reference"] * rung.extrapolated
                head = [pair, AXES[axis].title] if i == 0 else ["", ""]
                rows.append([*head, rung.label, eg(rung), f"{rung.n} + {rung.n_reference}", ", ".join(marks)])
                pair = ""
    return table(["<Candidate / reference", "<Axis", "<Rung", "EG", "n", "<<Note"], rows)
