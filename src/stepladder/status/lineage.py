"""From any file of a ladder down to the shards: what each was made from, and whether that is still so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from stepladder.data.manifest import parse, verify
from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.cells import make_cells
from stepladder.decision.comparison import Comparison
from stepladder.display.table import Table, table
from stepladder.record.paths import LadderFolder, RunFolder
from stepladder.record.plan import Plan
from stepladder.record.tables import Finished, read_table
from stepladder.schema.analysis import AXES


@dataclass(frozen=True)
class Link:
    """A file and what it was made from."""

    file: Path
    made_from: str
    """In words, with how many there are."""
    problem: str = ""
    """What does not agree; empty where all does."""


Check = Callable[[LadderFolder], Iterator[Link]]


def ladder_of(path: Path) -> LadderFolder | None:
    """The ladder's folder that a file lies in; None where there is no plan.json above it."""
    folders = map(LadderFolder, path.resolve().parents)
    return next((folder for folder in folders if folder.plan.exists()), None)


def walk(path: Path) -> list[Link]:
    """The links from a file of a ladder's folder down to its shards.

    Raises:
        ValueError: the file is in no ladder's folder, or of a kind that nothing is made from.
    """
    path, folder = path.resolve(), ladder_of(path)
    if folder is None:
        raise ValueError(f"{path}: not in a ladder's folder (no plan.json above it)")
    below = folder.path / "runs"
    if path.is_relative_to(below):
        return [*_run(folder, RunFolder(path if path.is_dir() else path.parent)), *_data(folder)]
    starts: dict[Path, int] = {
        folder.comparison: 1,
        **{folder.fit(axis): 2 for axis in AXES},
        folder.runs_table: 3,
        folder.steps_table: 3,
        folder.manifest: 5,
    }
    first = 0 if path.suffix == ".pdf" else starts.get(path)
    if first is None:
        raise ValueError(
            f"{path}: give report.pdf, comparison.json, a fit, runs.parquet, a run or data/manifest.json"
        )
    steps: list[Check] = [
        lambda lies: _report(lies, path),
        _comparison,
        lambda lies: _fits(lies, path if first == 2 else None),
        _table,
        _results,
        _data,
    ]
    return [link for step in steps[first:] for link in step(folder)]


def lineage_table(links: list[Link]) -> Table:
    """One line per link."""
    here = Path.cwd()
    rows = [
        [
            str(link.file.relative_to(here) if link.file.is_relative_to(here) else link.file),
            link.made_from,
            link.problem or "agrees",
        ]
        for link in links
    ]
    return table(["<File", "<Made from", "<<Is it still so?"], rows)


def _report(lies: LadderFolder, path: Path) -> Iterator[Link]:
    def check() -> None:
        told = report_digest(path)
        if told is None:
            raise ValueError("it does not say which comparison it shows: an earlier version made it")
        if told != Comparison.read(lies.comparison).content_sha256():
            raise ValueError("comparison.json is another now: make the report again")

    yield Link(path, "comparison.json", _said(check))


def report_digest(path: Path) -> str | None:
    """`content_sha256` of the comparison that a report shows, as it says itself; None where it does not.

    Raises:
        ValueError: it is no PDF.
    """
    try:
        told = PdfReader(path).metadata
        words = str(told.keywords if told else "").replace(",", " ").split()
    except (PyPdfError, ValueError, OSError) as error:
        raise ValueError(f"{path}: not a PDF ({error})") from None
    return next((word.removeprefix("comparison:") for word in words if word.startswith("comparison:")), None)


def _comparison(lies: LadderFolder) -> Iterator[Link]:
    def check() -> None:
        found = Comparison.read(lies.comparison)
        for axis, told in found.fits.items():
            if AxisFit.read(lies.fit(axis)).content_sha256() != told:
                raise ValueError(f"the fit on {axis} is another now")

    yield Link(lies.comparison, "fits", _said(check))


def _fits(lies: LadderFolder, only: Path | None) -> Iterator[Link]:
    for axis in AXES:
        path = lies.fit(axis)
        if only in (None, path) and path.exists():

            def check(path: Path = path) -> None:
                rows = make_cells(read_table(lies.runs_table)).rows_sha256
                if AxisFit.read(path).made_from.rows_sha256 != rows:
                    raise ValueError("the rows of runs.parquet are others now")

            yield Link(path, "runs.parquet", _said(check))


def _table(lies: LadderFolder) -> Iterator[Link]:
    ids: list[str] = []

    def check() -> None:
        runs = read_table(lies.runs_table)
        ids.extend(runs["id"])
        told = dict(zip(runs["id"], runs["loss"], strict=True))
        for run, loss in told.items():
            if Finished.read(lies.run(run)).result.loss != loss:
                raise ValueError(f"the result of {run} is another now")

    problem = _said(check)
    yield Link(lies.runs_table, f"{len(ids)} results", problem)


def _results(lies: LadderFolder) -> Iterator[Link]:
    plan = Plan.read(lies.plan)
    for run in plan.runs:
        if not run.sweep and not run.trunk:
            yield from _run(lies, lies.run(run.id))


def _run(lies: LadderFolder, folder: RunFolder) -> Iterator[Link]:
    def check() -> None:
        planned = {run.id: run for run in Plan.read(lies.plan).runs}
        name = str(folder.path.relative_to(lies.runs))
        if name not in planned:
            raise ValueError("the plan has no such run")
        result = Finished.read(folder, planned[name]).result
        if lies.manifest.exists() and parse(lies.manifest).sha256 != result.lineage.data_sha256:
            raise ValueError("the data are others now")

    yield Link(folder.result, "spec.json, events.jsonl, data", _said(check))


def _data(lies: LadderFolder) -> Iterator[Link]:
    count: list[int] = []
    problem = _said(lambda: count.append(len(verify(lies.manifest).files)))
    yield Link(lies.manifest, f"{count[0] if count else 0} files of tokens", problem)


def _said(check: Callable[[], object]) -> str:
    """What a check objects to; empty if to nothing."""
    try:
        check()
    except FileNotFoundError as error:
        return f"{error.filename or error} is missing"
    except (OSError, ValueError) as error:
        return str(error)
    return ""
