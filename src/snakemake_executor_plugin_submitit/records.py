"""What happened to one job over all its restarts: a file of one JSON object per line, and its progress.

Written on the node, where each attempt also locks it, and read by the head. Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any


class Record:
    """The attempts of one job: `start`, `requeue` and `end` from the node, `resubmit` from the head."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.progress_path = self.path.with_suffix(".progress")

    def write(self, event: str, **fields: Any) -> None:
        """Append an event with the time and the progress at this moment."""
        line = {"event": event, "time": round(time.time(), 3), "progress": self.progress(), **fields}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def events(self) -> list[dict[str, Any]]:
        """All events in order; a line that a kill cut off is left out."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        events = []
        for line in text.splitlines():
            with suppress(ValueError):
                events.append(json.loads(line))
        return events

    def progress(self) -> str:
        """What the command last wrote to $SUBMITIT_PROGRESS; empty if nothing."""
        try:
            return self.progress_path.read_text(encoding="utf-8").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return ""

    def last(self, *events: str) -> dict[str, Any] | None:
        """The newest of these events."""
        return next((e for e in reversed(self.events()) if e["event"] in events), None)

    def stalled_restarts(self) -> int:
        """How many restarts in a row began with the progress that is there now; the first start is none."""
        progress = self.progress()
        counts = {}
        for event in ("start", "resubmit"):
            seen = [e["progress"] for e in self.events() if e["event"] == event]
            trailing = 0
            while trailing < len(seen) and seen[-1 - trailing] == progress:
                trailing += 1
            counts[event] = trailing
        return max(max(0, counts["start"] - 1), counts["resubmit"])

    def lock(self, patience: float = 0.0) -> IO[bytes] | None:
        """Hold the job: two attempts of one job must never run at once. Freed when the holder ends.

        Returns:
            The open file that holds the lock, or None if another attempt held it for `patience` seconds.
        """
        file = self.path.with_suffix(".lock").open("ab")
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file
            except BlockingIOError:
                if time.monotonic() >= until:
                    file.close()
                    return None
                time.sleep(0.2)

    def held(self) -> bool:
        """Whether an attempt is running now."""
        if not self.path.exists():
            return False
        file = self.lock()
        if file is None:
            return True
        file.close()
        return False
