"""Anyone's table of runs as a ladder's: what the comparison needs and the table lacks is filled in, or
asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from stepladder.laws.tables import refuse_steps, rows_of, select
from stepladder.schema.analysis import AXES


MARKS = ("parameters_active_non_embedding", "learning_rate_factor", "accelerator_seconds")
"""Columns that only a runs.parquet of a ladder has."""

NAMES = ("id", "variant", "architecture", "recipe", "rung", "budget")
NUMBERS = (*MARKS, "depth", "budget_multiple", "seed", "loss", "flops", "tokens")
"""What else the analysis reads of one."""

SHOWN = 12
"""Columns that a message names."""


def as_runs(table: pd.DataFrame, columns: Mapping[str, str], any_units: bool = False) -> pd.DataFrame:
    """A table with the columns of runs.parquet that the analysis reads.

    A runs.parquet is returned as it is. Of any other table `variant`, `rung`, `loss` and one cost axis are
    needed, and `seed` where a rung of a variant has several rows; it is the variants' common seeds that are
    paired.

    Raises:
        ValueError: a column is missing, or holds what it must not; the message names rows.
    """
    if set(MARKS) <= set(table):
        _check(table)
        return table
    axes = [name for name in AXES if columns.get(name, name) in table]
    if not axes:
        there = ", ".join(map(str, table.columns[:SHOWN]))
        raise ValueError(
            f"the table has no cost axis (its columns: {there}): give one of {', '.join(AXES)} with "
            "--columns flops=NAME"
        )
    refuse_steps(table, columns)
    chosen = select(
        table, ["loss", "variant", "rung", *axes], columns, ["seed", "budget", "parameters"], any_units
    )
    keys = ["variant", "rung", *(["budget"] if "budget" in chosen else [])]
    if "seed" not in chosen and chosen.duplicated(keys).any():
        row = chosen[chosen.duplicated(keys)].iloc[0]
        raise ValueError(
            f"{row['variant']} at {row['rung']} has several rows: name the column that tells them apart with "
            "--columns seed=NAME"
        )
    size = chosen["parameters"] if "parameters" in chosen else chosen[axes[0]]
    ids = zip(chosen["variant"], chosen["rung"], chosen.index, strict=True)
    renamed = {name: axis.column for name, axis in AXES.items() if name in axes}
    runs: pd.DataFrame = chosen.rename(columns=renamed).assign(
        id=[f"{variant}/{rung}/row{i}" for variant, rung, i in ids],
        architecture="",
        recipe=chosen["variant"],
        depth=0,
        budget=chosen.get("budget", "1x"),
        budget_multiple=1.0,
        seed=chosen.get("seed", 0),
        learning_rate_factor=1.0,
        parameters_active_non_embedding=np.asarray(size, dtype=float),
    )
    return runs


def _check(runs: pd.DataFrame) -> None:
    """Refuse a runs.parquet that somebody made, or changed, without what the analysis reads.

    Raises:
        ValueError: a column is missing or of another type.
    """
    remedy = "give the runs.parquet that `stepladder collect` wrote, as it is"
    if missing := [name for name in (*NAMES, *NUMBERS) if name not in runs]:
        raise ValueError(f"no column {missing[0]!r}, which every runs.parquet has: {remedy}")
    types = pd.api.types
    for name in NUMBERS:
        if not types.is_numeric_dtype(runs[name]) or types.is_bool_dtype(runs[name]):
            raise ValueError(f"{name} is {runs[name].dtype} and not a number: {remedy}")
        if (bad := ~np.isfinite(runs[name].to_numpy(float, na_value=np.nan))).any():
            raise ValueError(f"{name} is missing or infinite in {rows_of(pd.Series(bad), 'row')}: {remedy}")
    for name in NAMES:
        texts = runs[name].map(lambda value: isinstance(value, str)).astype(bool)
        if not texts.all():
            raise ValueError(f"{name} is no text in {rows_of(~texts.reset_index(drop=True), 'row')}: {remedy}")
