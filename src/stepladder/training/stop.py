"""Being asked to stop: by Slurm before preemption or the time limit, or by a person."""

from __future__ import annotations

import signal
from typing import Any

EXIT_STOPPED = 75
"""Exit status after SIGTERM or SIGUSR2 (EX_TEMPFAIL): a checkpoint was saved, run again to go on."""


class StopSignal:
    """Whether SIGTERM or SIGUSR2 asked the process to save and stop."""

    def __init__(self) -> None:
        self.number = 0
        """Of the signal; 0 if there was none. Ranks agree on the largest."""
        for number in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        self.number = number
