"""What the folder of a run tells: cheap for done runs, and only the end of a long log."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from stepladder.record.spec import RunSpec
from stepladder.status.model import Log, Result

TAIL_BYTES = 65_536
"""Of events.jsonl: more than a hundred step records."""
RECENT_STEPS = 20
"""Step records over which rates are taken: one step's time jumps."""

Records = list[dict[str, Any]]


def read_result(run_dir: Path) -> Result | None:
    """What a done run scored and took; None if it has no readable result."""
    path = run_dir / "result.json"
    try:
        stat = path.stat()
        return _read_result(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError, KeyError, TypeError):
        return None


# The unnamed arguments tell versions of the file apart, so that --watch reads each result once.
@cache
def _read_result(path: Path, _mtime_ns: int, _size: int) -> Result:
    values = json.loads(path.read_bytes())
    return Result(
        spec_sha256=values["spec_sha256"],
        seconds=values["seconds"]["total"],
        loss=values["loss"],
        tokens_per_second=values.get("tokens_per_second"),
        mfu=(values.get("mfu") or {}).get("median"),
        restarts=values.get("restarts", 0),
    )


def is_of(spec: RunSpec, run_dir: Path) -> bool:
    """Whether the unfinished run in the folder is of this spec; if not, training moves it aside."""
    try:
        return (run_dir / "spec.json").read_text(encoding="utf-8").strip() == spec.to_json()
    except OSError:
        return False


def read_log(run_dir: Path) -> Log | None:
    """Where an unfinished run stands by its event log and newest checkpoint; None if it never began."""
    records = tail_records(run_dir / "events.jsonl")
    if not records:
        return None
    carried, saved = checkpoint_seconds(run_dir / "checkpoints")
    recent = [record for record in records if record["event"] == "step"][-RECENT_STEPS:]
    last = records[-1]
    return Log(
        time=last["time"],
        last=last["event"],
        steps_done=steps_done(records),
        seconds=carried + worked_after(records, saved),
        resumes=sum(record["event"] == "resume" for record in records),
        tokens_per_second=_median(recent, "tokens_per_second"),
        positions_per_second=_median(recent, "positions_per_second"),
        mfu=_median(recent, "mfu"),
        gave_up=last_words(records),
    )


def tail_records(path: Path, size: int = TAIL_BYTES) -> Records:
    """The last finished records of an event log, of the newest start from step 0; none if it is missing."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - size)
            file.seek(start)
            lines = file.read().split(b"\n")
    except OSError:
        return []
    # The first line is cut off unless the file starts with it; the last one may still be being written.
    records: Records = []
    for line in lines[bool(start) : -1]:
        with suppress(ValueError):
            record = json.loads(line)
            records.append(record)
    starts = [index for index, record in enumerate(records) if record["event"] == "start"]
    return records[starts[-1] :] if starts else records


def steps_done(records: Records) -> int:
    """Optimizer steps done at the last record; a step's own record carries the number before it."""
    last = next((record for record in reversed(records) if "step" in record), None)
    return 0 if last is None else last["step"] + (last["event"] == "step")


def worked_after(records: Records, saved: float | None) -> float:
    """Working time after the checkpoint of Unix time `saved`; what passed between attempts is waiting."""
    worked, before = 0.0, saved or records[0]["time"]
    for record in records:
        if saved is None or record["time"] > saved:
            before = record.get("began", before)
            worked += record["time"] - before
            before = record["time"]
    return worked


def checkpoint_seconds(folder: Path) -> tuple[float, float | None]:
    """Working time of all attempts up to the newest complete checkpoint, and when it was saved."""
    for path in sorted(folder.glob("step-*"), key=lambda path: int(path.name[5:]), reverse=True):
        # A checkpoint may be replaced while this reads it: then the one before it will do.
        with suppress(OSError, ValueError, KeyError):
            if (path / "manifest.json").exists():
                state = json.loads((path / "state.json").read_bytes())
                return state["seconds"]["total"], state["time"]
    return 0.0, None


def last_words(records: Records) -> str | None:
    """The warning with which a run gave up: the last record, unless its attempt only began with it."""
    warned = 0
    while warned < len(records) and records[-1 - warned]["event"] == "warning":
        warned += 1
    if not warned or warned == len(records) or records[-1 - warned]["event"] in ("start", "resume"):
        return None
    return records[-1]["message"]


def _median(records: Records, name: str) -> float | None:
    values = [record[name] for record in records if record.get(name) is not None]
    return median(values) if values else None
