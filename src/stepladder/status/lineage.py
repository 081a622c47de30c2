"""From any file of a ladder down to the shards: what each was made from, and whether that is still so."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import pandas as pd
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from stepladder.data.manifest import fingerprints, verify
from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.by_metric import ByMetric
from stepladder.decision.cells import DECISIVE, make_cells
from stepladder.decision.comparison import Comparison
from stepladder.decision.foreign import NAMES, NUMBERS
from stepladder.decision.metric import on_metric
from stepladder.decision.rule_record import RuleRecord
from stepladder.decision.signal import Signal, signal_rows_sha256
from stepladder.decision.size_laws import SizeLaws
from stepladder.decision.tasks import TaskLaws, task_rows_sha256
from stepladder.display.table import Table, table
from stepladder.documents.document import DocumentError
from stepladder.record.evaluation import RungEvaluations
from stepladder.record.gates import GateRecord, ended, runs_left
from stepladder.record.paths import LadderFolder, RunFolder
from stepladder.record.plan import Plan, PlannedRun
from stepladder.record.result import Result
from stepladder.record.swarm import SwarmOutcome
from stepladder.record.tables import Finished, read_table
from stepladder.record.top import TopRung
from stepladder.schema.analysis import AXES, Axis
from stepladder.schema.design import TOP

AXIS_NAMES: tuple[Axis, ...] = tuple(AXES)


@dataclass(frozen=True)
class Link:
    """A file and what it was made from."""

    file: Path
    made_from: str
    """In words, with how many there are."""
    problem: str = ""
    """What does not agree; empty where all does."""


def ladder_of(path: Path) -> LadderFolder | None:
    """The ladder's folder that a file lies in; None where there is no plan.json above it."""
    here = Path(os.path.abspath(path))
    folders = map(LadderFolder, (here, *here.parents))
    return next((folder for folder in folders if folder.plan.exists()), None)


def walk(path: Path) -> list[Link]:
    """The links from a file of a ladder's folder, or from the folder, down to its shards.

    Raises:
        ValueError: the file is in no ladder's folder.
    """
    path, folder = Path(os.path.abspath(path)), ladder_of(path)
    if folder is None:
        raise ValueError(f"{path}: not in a ladder's folder (no plan.json above it)")
    chain = Chain(folder, path if path.suffix == ".pdf" else None)
    if run := chain.run_of(path):
        return [chain.result(run), *chain.data()]
    if any(path.is_relative_to(top) for top in (folder.manifest.parent, folder.corpora)):
        return [*chain.data()]
    if path in (fits := [folder.fit(axis) for axis in AXES]):
        return [*chain.fits([AXIS_NAMES[fits.index(path)]]), *chain.table(), *chain.results(), *chain.data()]
    steps = {
        folder.comparison: (
            *(chain.comparison, chain.fits, chain.rule),
            *(chain.table, chain.results, chain.data),
        ),
        folder.top: (chain.top, chain.table, chain.results, chain.data),
        folder.swarm: (chain.swarm, chain.data),
        folder.metrics: (chain.metrics, chain.table, chain.results, chain.data),
        folder.signal: (chain.signal, chain.table, chain.scores, chain.results, chain.data),
        folder.size_laws: (chain.size_laws, chain.table, chain.results, chain.data),
        folder.runs_table: (chain.table, chain.scores, chain.results, chain.data),
        folder.steps_table: (chain.steps, chain.table, chain.results, chain.data),
        folder.plan: (chain.results, chain.data),
    }
    report = (
        *(chain.report, chain.comparison, chain.fits, chain.metrics, chain.signal, chain.size_laws),
        *(chain.rule, chain.decided),
    )
    rows = (chain.table, chain.scores, chain.steps, chain.results)
    everything = (*report, chain.top, chain.swarm, *rows, chain.data)
    return [link for step in steps.get(path, everything) for link in step()]


SCORES = ("bits_per_byte", "loss_", "validation_")
"""How columns of the table of runs begin that another metric takes the place of the loss from."""


def _rows(runs: pd.DataFrame, metric: str) -> str:
    """Digest of what laws and verdicts of this metric read of the runs."""
    return make_cells(on_metric(runs, metric)).rows_sha256


def _differs(told: object, there: object) -> bool:
    """Whether a cell of a table is another than a result's; NaN is what a result does not have."""
    return told != there and not (there is None and told != told)


class Chain:
    """What the files of one ladder were made from; each file is read once."""

    def __init__(self, lies: LadderFolder, report: Path | None = None) -> None:
        """Args:
        report: the PDF that is asked about; report.pdf of the ladder unless told otherwise.
        """
        self.lies, self.pdf = lies, report or lies.path / "report.pdf"
        self._finished: dict[str, Result] = {}

    @cached_property
    def plan(self) -> dict[str, PlannedRun]:
        """Planned runs by id, segments of trunks included."""
        return {run.id: run for run in Plan.read(self.lies.plan).runs}

    @cached_property
    def shards(self) -> dict[str | None, str]:
        """Fingerprints of the ladder's data, as far as they are there."""
        return fingerprints(self.lies)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """runs.parquet."""
        return read_table(self.lies.runs_table, NAMES, NUMBERS)

    def finished(self, run: str) -> Result:
        """The checked result of a run.

        Raises:
            ValueError: it is not what it should be.
        """
        if run in self._finished:
            return self._finished[run]
        if run not in self.plan:
            raise ValueError("the plan has no such run")
        planned = self.plan[run]
        folder = RunFolder(self.lies.path / "trunks" / run) if planned.trunk else self.lies.run(run)
        result = Finished.read(folder, planned).result
        if self.shards.get(result.prepared) not in (None, result.lineage.data_sha256):
            raise ValueError("the data are others now")
        self._finished[run] = result
        return result

    def run_of(self, path: Path) -> str | None:
        """Id of the run, or of the segment of a trunk, in whose folder a path lies."""
        for top in (self.lies.runs, self.lies.path / "trunks"):
            if path.is_relative_to(top) and path != top:
                inner = path.relative_to(top)
                names = [str(inner), *map(str, inner.parents)]
                return next((name for name in names if name in self.plan), str(inner))
        return None

    def report(self) -> Iterator[Link]:
        """The report, from the comparison that it names."""

        def check() -> None:
            told = report_digest(self.pdf)
            if told is None:
                raise ValueError("it does not say which comparison it shows: an earlier version made it")
            if told != Comparison.read(self.lies.comparison).content_sha256():
                raise ValueError("comparison.json is another now: make the report again")

        yield Link(self.pdf, "comparison.json", _said(check))

    def comparison(self) -> Iterator[Link]:
        """comparison.json, from the fits whose digests it holds."""

        def check() -> None:
            for axis, told in Comparison.read(self.lies.comparison).fits.items():
                if AxisFit.read(self.lies.fit(axis)).content_sha256() != told:
                    raise ValueError(f"the fit on {axis} is another now")

        yield Link(self.lies.comparison, "fits", _said(check))

    def fits(self, axes: Sequence[Axis] = AXIS_NAMES) -> Iterator[Link]:
        """Fits, from the rows whose digest they hold."""
        for axis in axes:

            def check(axis: Axis = axis) -> None:
                told = AxisFit.read(self.lies.fit(axis)).made_from
                if told.rows_sha256 != _rows(self.runs, told.metric):
                    raise ValueError("the rows of runs.parquet are others now")

            yield Link(self.lies.fit(axis), "runs.parquet", _said(check))

    def size_laws(self) -> Iterator[Link]:
        """laws.json, of a ladder that has one, from the rows whose digest it holds."""

        def check() -> None:
            told = SizeLaws.read(self.lies.size_laws)
            if told.rows_sha256 != _rows(self.runs, told.metric):
                raise ValueError("the rows of runs.parquet are others now")

        if self.lies.size_laws.exists():
            yield Link(self.lies.size_laws, "runs.parquet", _said(check))

    def metrics(self) -> Iterator[Link]:
        """metrics.json, from the rows whose digest it holds."""

        def check() -> None:
            told = ByMetric.read(self.lies.metrics)
            if told.rows_sha256 != _rows(self.runs, told.metric):
                raise ValueError("the rows of runs.parquet are others now")

        if self.lies.metrics.exists():
            yield Link(self.lies.metrics, "runs.parquet", _said(check))

    def signal(self) -> Iterator[Link]:
        """signal.json and task_laws.json, from the rows whose digests they hold."""

        def check_signal() -> None:
            told = Signal.read(self.lies.signal)
            if told.rows_sha256 != signal_rows_sha256(self.runs, told.metric):
                raise ValueError("the rows of runs.parquet are others now")

        def check_laws() -> None:
            if TaskLaws.read(self.lies.task_laws).rows_sha256 != task_rows_sha256(self.runs):
                raise ValueError("the rows of runs.parquet are others now")

        for path, check in ((self.lies.signal, check_signal), (self.lies.task_laws, check_laws)):
            if path.exists():
                yield Link(path, "runs.parquet", _said(check))

    def top(self) -> Iterator[Link]:
        """top.json, of a ladder that has one, from the rows of all other runs."""

        def check() -> None:
            told, others = TopRung.read(self.lies.top), self.runs[self.runs["rung"] != TOP]
            if told.rows_sha256 != _rows(others, told.metric):
                raise ValueError("the runs that it rests on are others now")

        if self.lies.top.exists():
            yield Link(self.lies.top, "results of the other rungs", _said(check))

    def swarm(self) -> Iterator[Link]:
        """swarm.json, of a ladder that has one, from the runs that it lists."""

        def check() -> None:
            for row in SwarmOutcome.read(self.lies.swarm).runs:
                if self.finished(row.id).losses != row.losses:
                    raise ValueError(f"the losses of {row.id} are others now")

        if self.lies.swarm.exists():
            yield Link(self.lies.swarm, "results on drawn mixtures", _said(check))

    def table(self) -> Iterator[Link]:
        """runs.parquet, from the results that are its rows."""

        def check() -> None:
            for row in self.runs.to_dict("records"):
                now = self.finished(str(row["id"])).row()
                scores = [name for name in map(str, row) if name.startswith(SCORES)]
                names = [*DECISIVE, *scores]
                if changed := [name for name in names if name in row and _differs(row[name], now.get(name))]:
                    raise ValueError(
                        f"{row['id']}: {changed[0]} = {row[changed[0]]}, its result says otherwise"
                    )

        yield Link(self.lies.runs_table, "results", _said(check))

    def scores(self) -> Iterator[Link]:
        """Columns of tasks in runs.parquet, from the scores of the runs of each rung."""
        files = sorted((self.lies.path / "evaluations").glob("*.json"))

        def check() -> None:
            rows = {str(row["id"]): row for row in self.runs.to_dict("records")}
            for one in (one for path in files for one in RungEvaluations.read(path).evaluations):
                row, now = rows.get(one.run, {}), one.row()
                if changed := [name for name in now if name in row and _differs(row[name], now[name])]:
                    said = f"{changed[0]} = {row[changed[0]]}, its scores say otherwise"
                    raise ValueError(f"{one.run}: {said}")

        if files:
            yield Link(self.lies.runs_table, "scores on tasks", _said(check))

    def steps(self) -> Iterator[Link]:
        """steps.parquet, as it was written, from the logs of the runs in runs.parquet."""

        def check() -> None:
            there = read_table(self.lies.steps_table, ("id",), ("step",))["id"].unique()
            if other := set(there) - set(self.runs["id"]):
                raise ValueError(f"{min(other)} is no run of runs.parquet")

        yield Link(self.lies.steps_table, "logs of the results", _said(check))

    def rule(self) -> Iterator[Link]:
        """What the comparison says of the rule on record; nothing where none is."""

        def check() -> None:
            told = Comparison.read(self.lies.comparison).rule_check
            now = RuleRecord.read(self.lies.rule)
            if told and (told.recorded_at, told.results_then) != (now.recorded_at, now.results_then):
                raise ValueError("the rule on record is another now: compare again")

        if self.lies.rule.exists():
            yield Link(self.lies.comparison, "rule.json", _said(check))

    @cached_property
    def gates(self) -> dict[Path, GateRecord]:
        """What was decided between rungs, by file; those that can be read."""
        found = {}
        for path in sorted((self.lies.path / "gates").glob("*.json")):
            with suppress(DocumentError):
                found[path] = GateRecord.read(path)
        return found

    def decided(self) -> Iterator[Link]:
        """Gates, from the runs that they rest on: the comparison holds them as they are, and they these
        rows."""

        def check(path: Path) -> None:
            record = GateRecord.read(path)
            if self.lies.comparison.exists() and record not in Comparison.read(self.lies.comparison).gates:
                raise ValueError("comparison.json rests on another decision: compare again")
            ended_before = ended(
                other for other in self.gates.values() if len(other.rungs) < len(record.rungs)
            )
            seen = self.runs["rung"].isin(record.rungs) & ~self.runs["variant"].isin(ended_before)
            if _rows(self.runs[seen], record.metric) != record.rows_sha256:
                raise ValueError("the runs that it rests on are others now")

        for path in sorted((self.lies.path / "gates").glob("*.json")):
            yield Link(path, "results up to its rung", _said(partial(check, path)))

    def results(self) -> Iterator[Link]:
        """The results of the ladder's own runs; those that are not there yet in one line. What gates spared
        is not missing."""
        proper = [run for run in self.plan.values() if run.proper]
        own = runs_left(proper, list(self.gates.values()))
        there = [name for name in own if self.lies.run(name).result.exists()]
        yield from map(self.result, there)
        if missing := len(own) - len(there):
            yield Link(self.lies.runs, f"{len(own)} results", f"{missing} are not there yet")

    def result(self, run: str) -> Link:
        """One result, from its spec, its log and the data."""
        trunk = run in self.plan and self.plan[run].trunk
        folder = RunFolder(self.lies.path / "trunks" / run) if trunk else self.lies.run(run)
        return Link(folder.result, "spec.json, events.jsonl, data", _said(lambda: self.finished(run)))

    def data(self) -> Iterator[Link]:
        """The manifests, from every byte of their shards."""
        yield from map(_shards, self.lies.manifests.values() or [self.lies.manifest])


def _shards(manifest: Path) -> Link:
    count: list[int] = []
    problem = _said(lambda: count.append(len(verify(manifest).files)))
    return Link(manifest, f"{count[0] if count else 0} files of tokens", problem)


def lineage_table(links: list[Link]) -> Table:
    """One line per link."""
    here = Path.cwd()
    rows = [
        [
            str(link.file.relative_to(here) if link.file.is_relative_to(here) else link.file),
            link.made_from,
            (link.problem or "agrees") if link.file.exists() else "not there yet",
        ]
        for link in links
    ]
    return table(["<File", "<Made from", "<<Is it still so?"], rows)


def report_digest(path: Path) -> str | None:
    """`content_sha256` of the comparison that a report shows, as it says itself; None where it does not.

    Raises:
        ValueError: it is no PDF.
    """
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what it meets on the way is said by its error
    try:
        told = PdfReader(path).metadata
        words = str(told.keywords if told else "").replace(",", " ").split()
    except (PyPdfError, ValueError, OSError) as error:
        raise ValueError(f"{path}: not a PDF ({error})") from None
    return next((word.removeprefix("comparison:") for word in words if word.startswith("comparison:")), None)


def _said(check: Callable[[], object]) -> str:
    """What a check objects to; empty if to nothing."""
    try:
        check()
    except FileNotFoundError as error:
        return f"{error.filename or error} is missing"
    except (OSError, ValueError) as error:
        return str(error)
    return ""
