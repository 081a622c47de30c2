"""The two tables of a ladder's runs. A missing number stays missing; nothing is grepped from logs.

They are written by `write_table` and read by `read_table`, with a version in their metadata.

runs.parquet has one row per run: the fields of its result, nested names joined by `_` (`Result.row`), and
`planned_flops`. steps.parquet has one row per logged step: `RUN_COLUMNS`, which say of which run it is, and
the fields of `StepRecord`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyarrow import ArrowException

from stepladder.documents.document import FIRST, DocumentError
from stepladder.documents.files import write_atomically
from stepladder.record.events import read_steps
from stepladder.record.paths import RunFolder
from stepladder.record.result import Result

VERSION = 1
"""Raise it when a column changes its meaning; columns may come and go without it."""

RUN_COLUMNS = ("id", "variant", "rung", "budget", "seed")
"""Columns of steps.parquet that say which run a step is of, as in runs.parquet."""


def collect(
    paths: Iterable[Path], planned_flops: Mapping[str, float] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per run, and one row per logged step.

    Args:
        paths: result.json files; events.jsonl is read from beside each.
        planned_flops: run id to the plan's model FLOPs, where there is a plan.

    Raises:
        FileNotFoundError: a result or a log is missing.
        ValueError: a file is not what it should be; the message names file and line or field.
    """
    results = {path: Result.read(path) for path in paths}
    return runs_table(results.values(), planned_flops), steps_table(results)


def read_runs(paths: Iterable[Path]) -> pd.DataFrame:
    """One row per run, for those who need no steps; see `collect`."""
    return runs_table(map(Result.read, paths))


def runs_table(results: Iterable[Result], planned_flops: Mapping[str, float] | None = None) -> pd.DataFrame:
    """One row per run; `planned_flops` is missing where the plan does not have the run."""
    planned = planned_flops or {}
    return pd.DataFrame([result.row() | {"planned_flops": planned.get(result.id)} for result in results])


def steps_table(results: Mapping[Path, Result]) -> pd.DataFrame:
    """One row per logged step of the runs whose results lie at these paths.

    Raises:
        ValueError: a line of a log is not a record; the message names file and line.
    """
    rows = []
    for path, result in results.items():
        names = {name: getattr(result, name) for name in RUN_COLUMNS}
        rows += [{**names, **step} for step in read_steps(RunFolder.of_result(path).events)]
    return pd.DataFrame(rows)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write Parquet with the version of the columns, whole or not at all."""
    table.attrs = {"schema_version": VERSION}
    write_atomically(path, table.to_parquet())


def check_columns(table: pd.DataFrame, names: Iterable[str], numbers: Iterable[str]) -> None:
    """Refuse a table that somebody made or changed.

    Args:
        names: columns that must hold a text in every row.
        numbers: columns that must hold a finite number in every row.

    Raises:
        ValueError: a column is missing or holds something else; the message names column and row, from 1.
    """
    for name in numbers:
        _column(table, name)
        kind = table[name].dtype
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind):
            raise ValueError(f"column {name} is {kind} and not a number")
        _refuse_cells(name, np.isfinite(table[name].to_numpy(float, na_value=np.nan)), "no finite number")
    for name in names:
        _column(table, name)
        if isinstance(table[name].dtype, pd.CategoricalDtype):
            raise ValueError(f"column {name} is {table[name].dtype} and not text")
        _refuse_cells(name, np.array([isinstance(value, str) for value in table[name]]), "no text")


def _column(table: pd.DataFrame, name: str) -> None:
    if name not in table:
        raise ValueError(f"no column {name!r}")


def _refuse_cells(name: str, good: npt.NDArray[np.bool_], what: str) -> None:
    if not good.all():
        raise ValueError(f"column {name} holds {what} in row {int(good.argmin()) + 1}")


def read_table(path: Path, names: Iterable[str] = (), numbers: Iterable[str] = ()) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        DocumentError: it is of another version, no Parquet, or lacks these columns (`check_columns`).
    """
    content = path.read_bytes()
    try:
        table = pd.read_parquet(io.BytesIO(content))
    except (
        ArrowException,
        ValueError,
        OSError,
    ) as error:  # Arrow says of broken files that they cannot be read
        raise DocumentError(f"{path}: {str(error).splitlines()[0]}: run snakemake again") from None
    version = table.attrs.get("schema_version", FIRST)
    if version != VERSION:
        raise DocumentError(
            f"{path}: schema_version {version}, this code reads {VERSION}: run snakemake again"
        )
    try:
        check_columns(table, names, numbers)
    except ValueError as error:
        raise DocumentError(f"{path}: {error}: run snakemake again") from None
    return table
