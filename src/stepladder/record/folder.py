"""The folder of a run: what an earlier attempt left there, and writing into it safely."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from stepladder.record.events import read_events
from stepladder.record.files import write_atomically
from stepladder.record.spec import RunSpec

RUN_FILES = ("spec.json", "events.jsonl", "log.txt", "checkpoints", "result.json")
"""What a run leaves in its folder."""


def take_folder(run_dir: Path, spec: RunSpec, identity: dict[str, str]) -> Path | None:
    """Make a run's folder ready for an attempt: nothing of other runs, no finished one, its spec.json.

    Returns:
        Where files of another run were moved, or None.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    aside = set_aside(run_dir, identity)
    forget_if_ended(run_dir)
    write_atomically(run_dir / "spec.json", spec.to_json() + "\n")
    return aside


def holds_result(run_dir: Path, spec: RunSpec) -> bool:
    """Whether the result of this very spec is there."""
    try:
        result = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return bool(result["spec_sha256"] == spec.sha256)


def set_aside(run_dir: Path, identity: dict[str, str]) -> Path | None:
    """Move a run's files away if they belong to another spec or other data, or to nobody knows what.

    Args:
        identity: `spec_sha256` and `data_sha256`, as the start and resume events carry them.

    Returns:
        The folder they were moved to, `superseded-<spec hash>`, or None if nothing was moved.
    """
    log = run_dir / "events.jsonl"
    begun = [record for record in read_events(log) if "spec_sha256" in record] if log.exists() else []
    if begun and all(begun[-1][key] == value for key, value in identity.items()):
        return None
    if not begun and not (run_dir / "checkpoints").exists():
        return None
    old = begun[-1]["spec_sha256"][:12] if begun else "unknown"
    number = sum(1 for _ in run_dir.glob(f"superseded-{old}*"))
    target = run_dir / (f"superseded-{old}" + (f"-{number}" if number else ""))
    target.mkdir()
    for path in (run_dir / name for name in RUN_FILES):
        if path.exists():
            shutil.move(path, target / path.name)
    return target


def forget_if_ended(run_dir: Path) -> None:
    """Remove the checkpoints of a run that had written its result: who asks again wants it trained again."""
    log = run_dir / "events.jsonl"
    if log.exists() and (records := read_events(log)) and records[-1]["event"] == "end":
        shutil.rmtree(run_dir / "checkpoints", ignore_errors=True)
