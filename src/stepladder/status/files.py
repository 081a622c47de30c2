"""What the folder of a run tells: cheap for done runs, and only the end of a long log."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from statistics import median
from typing import Literal

from stepladder.record.checkpoints import complete_newest_first, read_state
from stepladder.record.events import (
    Record,
    StepRecord,
    history,
    read_tail,
    restarts,
    steps_done,
    steps_of,
    working_seconds,
)
from stepladder.record.paths import RunFolder
from stepladder.record.result import Result
from stepladder.record.spec import RunSpec
from stepladder.status.model import Log

RECENT_STEPS = 20
"""Step records over which rates are taken: one step's time jumps."""


def read_result(path: Path) -> Result | None:
    """A done run's result; None if there is none, or none that can be read."""
    try:
        stat = path.stat()
        return _read_result(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError):
        return None


# The unnamed arguments tell versions of the file apart, so that --watch reads each result once.
@cache
def _read_result(path: Path, _mtime_ns: int, _size: int) -> Result:
    return Result.read(path)


def is_of(spec: RunSpec, folder: RunFolder) -> bool:
    """Whether the unfinished run in the folder is of this spec; if not, training moves it aside."""
    try:
        return folder.spec.read_text(encoding="utf-8").strip() == spec.to_json()
    except (OSError, ValueError):
        return False


def read_log(folder: RunFolder) -> Log | None:
    """Where an unfinished run stands by its event log and newest checkpoint; None if it never began."""
    records = history(read_tail(folder.events))
    if not records:
        return None
    carried, saved = saved_seconds(folder.checkpoints)
    recent = steps_of(records)[-RECENT_STEPS:]
    last = records[-1]
    return Log(
        time=last["time"],
        last=last["event"],
        steps_done=steps_done(records),
        seconds=carried + working_seconds(records, saved),
        resumes=restarts(records),
        tokens_per_second=_median(recent, "tokens_per_second"),
        positions_per_second=_median(recent, "positions_per_second"),
        mfu=_median(recent, "mfu"),
        gave_up=last_words(records),
    )


def saved_seconds(checkpoints: Path) -> tuple[float, float | None]:
    """Working time of all attempts up to the newest complete checkpoint, and when it was saved."""
    for path in complete_newest_first(checkpoints):
        # A checkpoint may be replaced while this reads it: then the one before it will do.
        with suppress(OSError, ValueError):
            state = read_state(path)
            return state["seconds"]["total"], state["time"]
    return 0.0, None


def last_words(records: Sequence[Record]) -> str | None:
    """The warning with which a run gave up: the last record, unless its attempt only began with it."""
    warned = 0
    while warned < len(records) and records[-1 - warned]["event"] == "warning":
        warned += 1
    if not warned or warned == len(records) or records[-1 - warned]["event"] in ("start", "resume"):
        return None
    return records[-1]["message"]


def _median(
    steps: Sequence[StepRecord], name: Literal["tokens_per_second", "positions_per_second", "mfu"]
) -> float | None:
    values = [value for step in steps if (value := step.get(name)) is not None]
    return median(values) if values else None
