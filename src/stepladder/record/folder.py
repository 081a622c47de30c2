"""The folder of a run: what an earlier attempt left there, who works in it, and writing into it safely."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from stepladder.documents.files import write_atomically
from stepladder.documents.lock import hold
from stepladder.record.events import Record, read_log
from stepladder.record.paths import RunFolder
from stepladder.record.result import Result
from stepladder.record.spec import RunSpec


class Taken(NamedTuple):
    """A run's folder that is ready for an attempt."""

    aside: Path | None
    """Where files of another run were moved."""
    warnings: list[str]
    """What was not as a run leaves it."""


@contextmanager
def sole_training(run_dir: Path) -> Iterator[None]:
    """Keep other trainings out of a run's folder for the length of the block.

    Raises:
        Held: another one is at work there; the message names its process, machine and job.
    """
    folder = RunFolder(run_dir)
    if os.path.lexists(folder.lock) and not folder.lock.is_file():
        put_away(folder.lock)
    with hold(folder.lock):
        yield


def take_folder(run_dir: Path, spec: RunSpec, identity: dict[str, str]) -> Taken:
    """Make a run's folder ready for an attempt: nothing of other runs, no finished one, its spec.json.

    Args:
        identity: `spec_sha256` and `data_sha256`, as the start and resume events carry them.
    """
    folder = RunFolder(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    warnings = clear_way(folder)
    records: list[Record] = []
    if folder.events.exists():
        records, damage = read_log(folder.events)
        warnings += [damage] if damage else []
    aside = set_aside(folder, identity, records)
    if aside is None:
        forget_if_ended(folder, records)
    write_atomically(folder.spec, spec.to_json() + "\n")
    return Taken(aside, warnings)


def clear_way(folder: RunFolder) -> list[str]:
    """Move away folders that lie where a run writes a file, and files where it makes a folder; says which."""
    warnings, folders = [], (folder.checkpoints, folder.evaluations)
    for path in folder.everything:
        kind, fits = ("folder", path.is_dir) if path in folders else ("file", path.is_file)
        if os.path.lexists(path) and not fits():
            warnings.append(f"{path.name} is no {kind}: it is now called {put_away(path).name}")
    return warnings


def put_away(path: Path) -> Path:
    """Rename what lies at `path`; returns its new path."""
    target = unused(path.with_name(f"{path.name}.misplaced"))
    path.rename(target)
    return target


def unused(path: Path) -> Path:
    """This path, or the first of `<path>-1`, `<path>-2`, ... at which nothing lies."""
    candidate, number = path, 0
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def holds_result(run_dir: Path, spec: RunSpec) -> bool:
    """Whether the result of this very spec is there, and readable."""
    try:
        return Result.read(RunFolder(run_dir).result).spec_sha256 == spec.sha256
    except (FileNotFoundError, ValueError):
        return False


def set_aside(folder: RunFolder, identity: dict[str, str], records: list[Record]) -> Path | None:
    """Move a run's files away if they belong to another spec or other data, or to nobody knows what.

    Args:
        records: of its log.

    Returns:
        The folder they were moved to, `superseded-<spec hash>`, or None if nothing was moved.
    """
    begun = [record for record in records if "spec_sha256" in record]
    if begun and begun[-1].items() >= identity.items():
        return None
    if not begun and not folder.checkpoints.exists():
        return None
    old = Path(begun[-1]["spec_sha256"]).name[:12] if begun else "unknown"
    target = unused(folder.path / f"superseded-{old}")
    target.mkdir()
    for path in folder.everything:
        if path.exists():
            shutil.move(path, target / path.name)
    return target


def forget_if_ended(folder: RunFolder, records: list[Record]) -> None:
    """Remove the checkpoints of a run that had written its result: who asks again wants it trained again."""
    if records and records[-1]["event"] == "end":
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
