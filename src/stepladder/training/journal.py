"""What a run says: events.jsonl for programs, log.txt and stderr for people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from stepladder.record.events import EventLog
from stepladder.training.lineage import utc_now


class Journal:
    """Writes for the first rank of a run; on the others it is silent."""

    def __init__(self, run_dir: Path, name: str, silent: bool) -> None:
        self.path, self._name, self._silent = run_dir / "events.jsonl", name, silent
        if not silent:
            self._events = EventLog(self.path)
            self._log = (run_dir / "log.txt").open("a", encoding="utf-8")

    def write(self, event: str, **fields: Any) -> None:
        """Append one record; see `EventLog.write`."""
        self.write_many(event, [fields])

    def write_many(self, event: str, records: list[dict[str, Any]]) -> None:
        """Append several records of one kind."""
        if not self._silent:
            self._events.write_many(event, records)

    def say(self, text: str) -> None:
        """One line for a person, on stderr and in log.txt."""
        if self._silent:
            return
        line = f"{self._name}  {text}"
        print(line, file=sys.stderr, flush=True)
        print(f"{utc_now()}  {line}", file=self._log, flush=True)

    def warn(self, text: str) -> None:
        """A warning, as an event and for a person."""
        self.write("warning", message=text)
        self.say(f"warning: {text}")
