"""Anyone's table of runs as a ladder's: what the comparison needs and the table lacks is filled in, or
asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from stepladder.laws.forms import Array
from stepladder.laws.tables import refuse_steps, select
from stepladder.record.tables import check_columns
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
    paired. Columns about tasks, `task_...`, come along.

    Raises:
        ValueError: a column is missing, or holds what it must not; the message names rows.
    """
    if set(MARKS) <= set(table):
        try:
            check_columns(table, NAMES, NUMBERS)
        except ValueError as error:
            raise ValueError(
                f"{error}: give the runs.parquet that `stepladder collect` wrote, as it is"
            ) from None
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
    return runs.assign(**_scores_of_tasks(table))


def _scores_of_tasks(table: pd.DataFrame) -> dict[str, Array]:
    """Columns about tasks as numbers, (M,) each.

    Raises:
        ValueError: one holds a text.
    """
    columns = [name for name in map(str, table) if name.startswith("task_")]
    for name in columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise ValueError(f"{name} holds {table[name].iloc[0]!r}: give scores of tasks as numbers")
    return {name: table[name].to_numpy(dtype=float) for name in columns}
