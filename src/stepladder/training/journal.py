"""What a run says: events.jsonl for programs, log.txt and stderr for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from stepladder.record.events import EventLog
from stepladder.record.paths import RunFolder
from stepladder.training.lineage import utc_now


class Journal:
    """Writes for the first rank of a run; on the others it is silent."""

    def __init__(self, run_dir: Path, name: str, silent: bool) -> None:
        folder = RunFolder(run_dir)
        self.path, self._name, self._silent = folder.events, name, silent
        if not silent:
            self._events = EventLog(folder.events)
            self._log = folder.log.open("a", encoding="utf-8")

    def write(self, event: str, **fields: object) -> None:
        """Append one record; see `EventLog.write`."""
        self.write_many(event, [fields])

    def write_many(self, event: str, records: Sequence[Mapping[str, object]]) -> None:
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
