"""The two tables of a ladder's runs. A missing number stays missing; nothing is grepped from logs.

They are written by `write_table` and read by `read_table`, with a version in their metadata.

runs.parquet has one row per run: the fields of its result, nested names joined by `_` (`Result.row`), and
`planned_flops`. steps.parquet has one row per logged step: `RUN_COLUMNS`, which say of which run it is, and
the fields of `StepRecord`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pyarrow import ArrowInvalid

from stepladder.documents.document import FIRST, DocumentError
from stepladder.documents.files import write_atomically
from stepladder.record.check import check_result, check_same_data, read_spec
from stepladder.record.events import DamagedLog, StepRecord, read_log, steps_of
from stepladder.record.paths import LadderFolder, RunFolder
from stepladder.record.plan import Plan, PlannedRun
from stepladder.record.result import Result

VERSION = 1
"""Raise it when a column changes its meaning; columns may come and go without it."""

RUN_COLUMNS = ("id", "variant", "rung", "budget", "seed")
"""Columns of steps.parquet that say which run a step is of, as in runs.parquet."""


@dataclass(frozen=True)
class Finished:
    """A run that has a result which its spec, its plan and its log agree with."""

    result: Result
    steps: list[StepRecord]

    @classmethod
    def read(cls, folder: RunFolder, planned: PlannedRun | None = None) -> Finished:
        """Read a run's result and log, and check them. Damaged lines of a log are left out with a warning
        (`DamagedLog`); such a log says nothing against a result.

        Raises:
            FileNotFoundError: there is no result or no log.
            ValueError: a file is not what it should be; the message names it, and field or line.
        """
        result, log = Result.read(folder.result), read_log(folder.events)
        if log.damage:
            warnings.warn(log.damage, DamagedLog, stacklevel=2)
        witnesses = [] if log.damage else log.records
        check_result(result, folder.result, read_spec(folder, planned), witnesses)
        return cls(result, steps_of(log.records))


def collect(
    ladder: LadderFolder, plan: Plan, manifest_sha256: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per run of the ladder proper, and one row per logged step of these.

    Args:
        manifest_sha256: of the ladder's data, where their manifest is there.

    Raises:
        FileNotFoundError: a result or a log is missing.
        ValueError: a file is not what it should be, or of another plan or other data; the message names it.
    """
    planned = [run for run in plan.runs if not run.sweep and not run.trunk]
    found = {ladder.run(run.id).result: Finished.read(ladder.run(run.id), run) for run in planned}
    check_same_data({path: run.result for path, run in found.items()}, manifest_sha256)
    flops = {run.id: run.flops for run in planned}
    rows = [run.result.row() | {"planned_flops": flops[run.result.id]} for run in found.values()]
    names = {path: {name: getattr(run.result, name) for name in RUN_COLUMNS} for path, run in found.items()}
    steps = [names[path] | step for path, run in found.items() for step in run.steps]
    return pd.DataFrame(rows), pd.DataFrame(steps)


def read_runs(folders: Iterable[RunFolder]) -> pd.DataFrame:
    """One row per run, for those who need no steps; see `Finished.read`."""
    return pd.DataFrame([Finished.read(folder).result.row() for folder in folders])


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write Parquet with the version of the columns, whole or not at all."""
    table.attrs = {"schema_version": VERSION}
    write_atomically(path, table.to_parquet())


def read_table(path: Path) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        DocumentError: it is of another version, or no Parquet.
    """
    try:
        table = pd.read_parquet(path)
    except (ArrowInvalid, ValueError) as error:
        raise DocumentError(f"{path}: {error}: run snakemake again") from None
    version = table.attrs.get("schema_version", FIRST)
    if version != VERSION:
        raise DocumentError(
            f"{path}: schema_version {version}, this code reads {VERSION}: run snakemake again"
        )
    return table
