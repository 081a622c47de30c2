"""The top rung that laws sized: what was chosen and why, what was expected, and what came."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.record.top import TopRung
from stepladder.schema.design import TOP
from stepladder.schema.metric import metric


def top_sentence(found: TopRung) -> str:
    """The choice, with what it rests on."""
    best = _count(found.best_parameters, found.best_parameters_interval)
    tokens = _count(found.best_tokens, found.best_tokens_interval)
    return (
        f"Rung {TOP} has {found.depth} layers and {fmt.count(found.parameters)} active non-embedding "
        f"parameters. By Chinchilla's law of the {found.n_runs} other runs N* = {best} and D* = {tokens} "
        f"tokens are best for {found.baseline} at {fmt.flops(found.flops)} "
        f"({fmt.level(found.confidence)} intervals), and of all depths this one is nearest. "
        f"Written down on {found.made_at}."
    )


def _count(value: float, interval: Sequence[float | None]) -> str:
    low, high = interval
    return f"{fmt.count(value)} [{fmt.count(low)}, {'∞' if high is None else fmt.count(high)}]"


def predictions_table(found: TopRung, runs: pd.DataFrame | None = None) -> Table:
    """What was expected of every variant, beside what came.

    Args:
        runs: as in runs.parquet; None before any of the rung's ran.
    """
    rows = []
    for row in found.predictions:
        low, high = (fmt.fixed(end, 4) for end in row.interval)
        line = [row.variant, fmt.count(row.tokens), f"{fmt.fixed(row.loss, 4)} [{low}, {high}]"]
        if runs is not None:
            mine = runs[(runs["variant"] == row.variant) & (runs["rung"] == TOP)]
            line += _came(row.loss, row.interval, mine)
        rows.append(line)
    came = ["Came", "Runs", "Error", "Inside"] if runs is not None else []
    return table(
        ["<Variant", "Tokens", f"Expected loss [{fmt.level(found.confidence)}]", *came],
        rows,
        title=f"Rung {TOP}: expected by the law of the others",
        note=f"Losses in {metric(found.metric).unit}; the interval is that of one run: the law's error and "
        "the residuals of its runs.",
    )


def _came(loss: float, interval: Sequence[float | None], runs: pd.DataFrame) -> list[str]:
    if runs.empty:
        return [fmt.MISSING, "0", fmt.MISSING, fmt.MISSING]
    mean = float(runs["loss"].mean())
    low, high = (math.nan if end is None else end for end in interval)
    inside = "✓" if low <= mean <= high else "✗"
    return [fmt.fixed(mean, 4), str(len(runs)), fmt.percent(loss / mean - 1, 2, sign=True), inside]


def written_before(found: TopRung, runs: pd.DataFrame) -> str:
    """Whether it was written down before the rung's first run began, in a sentence; empty where none ran."""
    mine = runs[runs["rung"] == TOP]
    started = mine["lineage_started"].dropna() if "lineage_started" in mine else pd.Series(dtype=str)
    if started.empty:
        return ""
    first = pd.to_datetime(started, utc=True).min()
    before = pd.to_datetime(found.made_at, utc=True) <= first
    if before:
        return f"Its first run began after that, {first.isoformat(timespec='seconds')}."
    return (
        f"This was written down again after its first run had begun ({first.isoformat(timespec='seconds')}): "
        "it is no prediction."
    )
