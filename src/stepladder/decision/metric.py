"""The metric that decides, in the place where laws and gains look for the loss."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from stepladder.schema.metric import Metric, metric

SCORED = re.compile(r"validation_(\w+)_bytes")
"""Columns of the table of runs that say how much text of a domain was scored."""

TASK_SCORED = re.compile(r"task_([\w.-]+)_bits_per_byte")
SUITE_SCORED = re.compile(r"macro_([\w.-]+)_bits_per_byte")
"""Columns of the table of runs that say what right answers of a task, or of a suite, cost."""


def named(column: re.Pattern[str], columns: Iterable[object]) -> list[str]:
    """What the columns of a kind are named after, in their order."""
    return [found[1] for name in map(str, columns) if (found := column.fullmatch(name))]


def tasks_of(columns: Iterable[object]) -> list[str]:
    """Names of the tasks that a table with these columns has."""
    return named(TASK_SCORED, columns)


def on_metric(runs: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table of runs with the metric as its `loss`.

    Args:
        name: of the metric, as `analysis.metric` has it.

    Raises:
        ValueError: the table does not have it, or its runs were scored on different text.
    """
    chosen = metric(name)
    if chosen.column not in runs:
        there = ", ".join(name for name in map(str, runs) if "bits_per_byte" in name and "error" not in name)
        hint = (
            f"of its kind there are: {there}"
            if there
            else "metrics are those of a ladder's runs.parquet: for another table leave --metric out"
        )
        raise ValueError(f"metric {name}: the table of runs has no column {chosen.column}; {hint}")
    if chosen.per_byte:
        _check_same_text(runs, chosen)
    if runs[chosen.column].isna().any():
        lacking = runs.loc[runs[chosen.column].isna(), "id"].iloc[0]
        raise ValueError(
            f"metric {name}: {lacking} has none (column {chosen.column}): score it with the others"
        )
    return runs if chosen.column == "loss" else runs.assign(loss=runs[chosen.column])


def _check_same_text(runs: pd.DataFrame, chosen: Metric) -> None:
    """By how many bytes of each domain there were: what is cut at a number of tokens is cut at other bytes by
    another tokenizer."""
    for column in map(str, runs):
        domain = SCORED.fullmatch(column)
        if domain is None or (chosen.column not in ("bits_per_byte", f"bits_per_byte_{domain[1]}")):
            continue
        scored = runs.dropna(subset=[column]).drop_duplicates(column)
        if len(scored) > 1:
            told = ", ".join(f"{run} {n:,.0f}" for run, n in zip(scored["id"], scored[column], strict=True))
            raise ValueError(
                f"runs were scored on different text of {domain[1]} (bytes: {told:.300}): raise "
                "data.max_validation_tokens above the held-out tokens of every tokenizer"
            )
