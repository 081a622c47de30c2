"""What a scheduler and a run tell each other: stop, how far it is, whether it was started before."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType

EXIT_STOPPED = 75
"""Exit status after SIGTERM or SIGUSR2 (EX_TEMPFAIL): a checkpoint was saved, run again to go on."""


class StopSignal:
    """Whether SIGTERM or SIGUSR2 asked the process to save and stop."""

    def __init__(self) -> None:
        self.number = 0
        """Of the signal; 0 if there was none. Ranks agree on the largest."""
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.number = number


def tell_progress(text: str) -> None:
    """Let the executor that started this know what was saved: restarts with progress are not bounded."""
    if path := os.environ.get("SUBMITIT_PROGRESS"):
        Path(path).write_text(text, encoding="utf-8")


def was_restarted() -> bool:
    """Whether this is the same job again, after preemption, a time limit or a lost node."""
    return os.environ.get("SUBMITIT_RESTARTS", "0") != "0"
