"""The three tables of a ladder's runs. A missing number stays missing; nothing is grepped from logs.

They are written by `write_table` and read by `read_table`, with a version in their metadata.

runs.parquet has one row per run: the fields of its result, nested names joined by `_` (`Result.row`), and
`planned_flops`. steps.parquet has one row per logged step: `RUN_COLUMNS`, which say of which run it is, and
the fields of `StepRecord`. looks.parquet has one row per look at held-out loss along a run: the same columns
of the run, and the fields of `stepladder.record.curve.Look`.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyarrow import ArrowException

from stepladder.documents.document import FIRST, DocumentError
from stepladder.documents.files import write_atomically
from stepladder.record.check import NOTHING_KNOWN, Shards, check_result, check_same_data, read_spec
from stepladder.record.curve import Look, looks_of
from stepladder.record.evaluated import read_scores, scores_of
from stepladder.record.evaluation import RungEvaluations
from stepladder.record.events import DamagedLog, StepRecord, read_log, steps_of
from stepladder.record.gates import GateRecord, runs_left
from stepladder.record.paths import LadderFolder, RunFolder
from stepladder.record.plan import Plan, PlannedRun
from stepladder.record.result import Result

VERSION = 1
"""Raise it when a column changes its meaning; columns may come and go without it."""

RUN_COLUMNS = ("id", "variant", "rung", "budget", "seed")
"""Columns of steps.parquet that say which run a step is of, as in runs.parquet."""


LOOK_COLUMNS = [*RUN_COLUMNS, *(name for name in Look.__annotations__ if name != "losses")]
"""Columns of looks.parquet, which has no rows where training never looked at held-out loss."""


class Tables(NamedTuple):
    """The tables of a ladder's runs."""

    runs: pd.DataFrame
    """One row per run."""
    steps: pd.DataFrame
    """One row per logged step."""
    looks: pd.DataFrame
    """One row per look at held-out loss."""


@dataclass(frozen=True)
class Finished:
    """A run that has a result which its spec, its plan and its log agree with."""

    result: Result
    steps: list[StepRecord]
    looks: list[Look]

    @classmethod
    def read(cls, folder: RunFolder, planned: PlannedRun | None = None) -> Finished:
        """Read a run's result and log, and check them. Damaged lines of a log are left out with a warning
        (`DamagedLog`); what is left of it still binds, but for the medians over its steps.

        Raises:
            FileNotFoundError: there is no result or no log.
            ValueError: a file is not what it should be; the message names it, and field or line.
        """
        result = Result.read(folder.result)
        try:
            log = read_log(folder.events)
        except OSError as error:
            said = f"{error.strerror}: remove the run's folder and run snakemake again, which trains it again"
            raise type(error)(error.errno, said, error.filename) from None
        if log.damage:
            warnings.warn(log.damage, DamagedLog, stacklevel=2)
        spec = read_spec(folder, planned)
        check_result(result, folder.result, spec, log.records, whole_log=log.damage is None)
        return cls(result, steps_of(log.records), looks_of(log.records))


def collect(
    ladder: LadderFolder,
    plan: Plan,
    shards: Shards = NOTHING_KNOWN,
    gates: Collection[GateRecord] = (),
    evaluations: Collection[RungEvaluations] = (),
) -> Tables:
    """The tables of all runs of the ladder proper.

    Args:
        shards: the fingerprints of those whose manifests are there.
        gates: what was decided between rungs; the runs that were spared have no rows.
        evaluations: how runs did on tasks; none of a ladder without.

    Raises:
        FileNotFoundError: a result or a log is missing.
        ValueError: a file is not what it should be, or of another plan or other data; the message names it.
    """
    proper = [run for run in plan.runs if run.proper]
    left = set(runs_left(proper, gates))
    planned = [run for run in proper if run.id in left]
    found = {ladder.run(run.id).result: Finished.read(ladder.run(run.id), run) for run in planned}
    check_same_data({path: run.result for path, run in found.items()}, shards)
    flops = {run.id: run.flops for run in planned}
    scored = scores_of({run.result.id: run.result for run in found.values()}, evaluations)
    rows = [
        run.result.row() | {"planned_flops": flops[run.result.id]} | scored.get(run.result.id, {})
        for run in found.values()
    ]
    names = {path: {name: getattr(run.result, name) for name in RUN_COLUMNS} for path, run in found.items()}
    steps = [names[path] | step for path, run in found.items() for step in run.steps]
    looks = [names[path] | seen(look) for path, run in found.items() for look in run.looks]
    return Tables(pd.DataFrame(rows), pd.DataFrame(steps), pd.DataFrame(looks, columns=LOOK_COLUMNS))


def seen(look: Look) -> dict[str, Any]:
    """A row of looks.parquet: losses by domain are in the log alone."""
    return {name: look.get(name) for name in Look.__annotations__ if name != "losses"}


def read_runs(
    ladder: LadderFolder,
    runs: Iterable[str],
    plan: Plan | None = None,
    shards: Shards = NOTHING_KNOWN,
    scored: bool = False,
) -> pd.DataFrame:
    """One row per run, for those who need no steps; see `collect`.

    Args:
        scored: whether to add how they did on tasks.
    """
    planned = {run.id: run for run in plan.runs} if plan else {}
    found = {ladder.run(run).result: Finished.read(ladder.run(run), planned.get(run)).result for run in runs}
    check_same_data(found, shards)
    results = {result.id: result for result in found.values()}
    rungs = dict.fromkeys(result.rung for result in found.values())
    scores = scores_of(results, read_scores(ladder, rungs)) if scored else {}
    return pd.DataFrame([result.row() | scores.get(name, {}) for name, result in results.items()])


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write Parquet with the version of the columns and a digest of the rows, whole or not at all."""
    table.attrs = {"schema_version": VERSION, "content_sha256": table_sha256(table)}
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
    if table.attrs.get("content_sha256") not in (None, table_sha256(table)):
        raise DocumentError(f"{path}: changed since it was written: run snakemake again")
    return table


def table_sha256(table: pd.DataFrame) -> str:
    """Digest of columns and cells, the same before and after Parquet."""
    digest = hashlib.sha256(repr(list(table.columns)).encode())
    for name in table:
        column = table[name]
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
            digest.update(column.to_numpy().tobytes())
        else:
            digest.update(repr([_plain(value) for value in column]).encode())
    return digest.hexdigest()


def _plain(value: object) -> object:
    """A cell without the types of pandas and numpy."""
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is None or value is pd.NA or value != value else value
