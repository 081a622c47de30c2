"""events.jsonl: what happened in a run, one JSON object per line, only ever appended to.

Every record has `event` and `time` (Unix seconds). A run that was killed and resumed repeats steps;
the last record of a step counts. Reading needs no torch.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any


class EventLog:
    """Append records; each is flushed, so that a killed process loses at most a cut-off last line."""

    def __init__(self, path: Path) -> None:
        heal(path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, event: str, **fields: Any) -> None:
        """Append one record.

        Raises:
            ValueError: a field is not a finite number; write None for what is missing.
        """
        self.write_many(event, [fields])

    def write_many(self, event: str, records: list[dict[str, Any]]) -> None:
        """Append several records of one kind and flush once."""
        now = round(time.time(), 3)
        for fields in records:
            line = json.dumps({"event": event, "time": now} | fields, allow_nan=False)
            self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def heal(path: Path) -> None:
    """Cut off a last line that a kill left unfinished."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def read_events(path: Path) -> list[dict[str, Any]]:
    """All records in order; an unfinished last line is left out.

    Raises:
        ValueError: a finished line is not JSON; the message names file and line.
    """
    lines = path.read_bytes().split(b"\n")[:-1]
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: not a JSON record ({error}); restore it or run the run again"
            ) from error
    return records


def read_attempts(path: Path) -> list[dict[str, Any]]:
    """The records since the run last started from step 0: one start, then resumes if it was stopped."""
    records = read_events(path)
    starts = [index for index, record in enumerate(records) if record["event"] == "start"]
    return records[starts[-1] :] if starts else []


def lost_seconds(path: Path, saved: float) -> float:
    """Working time of killed attempts after the checkpoint of Unix time `saved`; waiting is not counted."""
    lost, before = 0.0, saved
    for record in read_events(path):
        if record["time"] > saved:
            before = record.get("began", before)
            lost += record["time"] - before
            before = record["time"]
    return lost


def read_steps(path: Path) -> list[dict[str, Any]]:
    """Records of the logged steps in order of step, without `event` and `time`.

    What counts is the history of the newest start: of the steps that a kill threw away, and the resumed run
    has trained again, the last record; of those that it has not reached yet, none.

    Raises:
        ValueError: a finished line is not JSON; the message names file and line.
    """
    steps: dict[int, dict[str, Any]] = {}
    for record in read_attempts(path):
        if record["event"] == "step":
            fields = {key: value for key, value in record.items() if key not in ("event", "time")}
            steps[record["step"]] = fields
        elif record["event"] == "resume":
            steps = {step: fields for step, fields in steps.items() if step < record["step"]}
    return [steps[step] for step in sorted(steps)]
