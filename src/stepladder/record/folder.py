"""The folder of a run: what an earlier attempt left there, and writing into it safely."""

from __future__ import annotations

import shutil
from pathlib import Path

from stepladder.documents.files import write_atomically
from stepladder.record.events import read_events
from stepladder.record.paths import RunFolder
from stepladder.record.result import Result
from stepladder.record.spec import RunSpec


def take_folder(run_dir: Path, spec: RunSpec, identity: dict[str, str]) -> Path | None:
    """Make a run's folder ready for an attempt: nothing of other runs, no finished one, its spec.json.

    Args:
        identity: `spec_sha256` and `data_sha256`, as the start and resume events carry them.

    Returns:
        Where files of another run were moved, or None.
    """
    folder = RunFolder(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    aside = set_aside(folder, identity)
    forget_if_ended(folder)
    write_atomically(folder.spec, spec.to_json() + "\n")
    return aside


def holds_result(run_dir: Path, spec: RunSpec) -> bool:
    """Whether the result of this very spec is there, and readable."""
    try:
        return Result.read(RunFolder(run_dir).result).spec_sha256 == spec.sha256
    except (FileNotFoundError, ValueError):
        return False


def set_aside(folder: RunFolder, identity: dict[str, str]) -> Path | None:
    """Move a run's files away if they belong to another spec or other data, or to nobody knows what.

    Returns:
        The folder they were moved to, `superseded-<spec hash>`, or None if nothing was moved.
    """
    records = read_events(folder.events) if folder.events.exists() else []
    begun = [record for record in records if "spec_sha256" in record]
    if begun and begun[-1].items() >= identity.items():
        return None
    if not begun and not folder.checkpoints.exists():
        return None
    old = begun[-1]["spec_sha256"][:12] if begun else "unknown"
    number = sum(1 for _ in folder.path.glob(f"superseded-{old}*"))
    target = folder.path / (f"superseded-{old}" + (f"-{number}" if number else ""))
    target.mkdir()
    for path in folder.everything:
        if path.exists():
            shutil.move(path, target / path.name)
    return target


def forget_if_ended(folder: RunFolder) -> None:
    """Remove the checkpoints of a run that had written its result: who asks again wants it trained again."""
    if folder.events.exists() and (records := read_events(folder.events)) and records[-1]["event"] == "end":
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
