"""Steps that stand out: spikes of the loss and the gradient, and steps that took far too long. No torch.

A value is judged by the steps before it in the same phase: its distance from their median in robust standard
deviations (1.4826 times the median absolute deviation), which one outlier more does not move.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.record.checkpoints import HealthTally

WINDOW = 64
"""Steps that a value is compared with; the first ones of a phase are not judged."""

SPIKE = 8.0
"""Robust standard deviations above the median that make a spike. Gaussian noise does not get there in the
lifetime of a cluster; losses of small batches, whose tails are heavier, do about once in 100,000 steps."""

GRADIENT_FACTOR = 5.0
"""A gradient norm must also be this many times its median: norms of small batches have tails of their own. On
the laptop ladder 2 to 4 times the median is reached every few hundred steps, and harms nothing."""

LEAST_SCALE = 1e-3
"""Of the median, below which a deviation is not resolved."""

SLOW, LEAST_EXCESS = 3.0, 0.05
"""A slow step takes more than SLOW times the median, and more than LEAST_EXCESS seconds longer than it."""

MUCH = 0.2
"""Share of the seconds in steps that is too much to lose to slow ones without a warning."""


def nothing_found() -> HealthTally:
    """Of a run that has not begun."""
    return HealthTally(spikes=0, skipped_steps=0, slow_steps=0, notes=[])


def slow_warning(lost_seconds: float, step_seconds: float) -> str | None:
    """What to say of a run that lost much of its time to slow steps; None of others. In tenths, so that the
    report counts runs rather than list them.

    Args:
        lost_seconds: by which slow steps took longer than usual.
        step_seconds: of all steps, and between them.
    """
    if lost_seconds <= MUCH * step_seconds:
        return None
    tens = 10 * math.floor(10 * lost_seconds / step_seconds)
    return (
        f"over {tens} % of the seconds in steps were lost to slow steps, as on a machine that is busy with "
        "something else: MFU and the time axis may be off; before you trust gains on time, run it again on a "
        "quiet machine, with `snakemake --force` and its result.json"
    )


class Spike(NamedTuple):
    """A value that stands far above those before it."""

    number: int
    """Among the values given together."""
    value: float
    median: float
    z: float
    """Robust standard deviations above the median."""


class SpikeDetector:
    """Compares each value of a stream with the `WINDOW` values before it.

    Spikes are more than `SPIKE` robust standard deviations, and at least `least_excess`, above the median.
    """

    def __init__(self, least_excess: float = 0.0) -> None:
        self._least_excess = least_excess
        self._before: deque[float] = deque(maxlen=WINDOW)

    def begin_phase(self) -> None:
        """Forget the values of another phase: its losses are of another kind."""
        self._before.clear()

    def find(self, values: list[float]) -> list[Spike]:
        """Those of the next `values` (finite) that are spikes."""
        stream = np.array([*self._before, *values])
        first = len(self._before)
        self._before.extend(values)
        judged = range(max(first, WINDOW), len(stream))
        if not judged:
            return []
        windows = np.lib.stride_tricks.sliding_window_view(stream[:-1], WINDOW)[judged.start - WINDOW :]
        median, scale = robust_scale(windows)
        excess = stream[judged.start :] - median
        z = excess / scale
        return [
            Spike(judged[k] - first, float(stream[judged[k]]), float(median[k]), float(z[k]))
            for k in np.flatnonzero((z > SPIKE) & (excess >= self._least_excess))
        ]


def robust_scale(windows_nW: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and robust standard deviation of each row."""
    median_n = np.median(windows_nW, axis=1)
    deviation_n = 1.4826 * np.median(np.abs(windows_nW - median_n[:, None]), axis=1)
    return median_n, np.maximum(deviation_n, LEAST_SCALE * np.abs(median_n) + 1e-12)


class SlowStep(NamedTuple):
    """A step that took far longer than usual on one rank."""

    step: int
    rank: int
    seconds: float
    median_seconds: float
    cause: str
    """Among the causes of seconds, the one whose excess over its own median is largest."""
    cause_seconds: float


class SlowStepDetector:
    """Finds slow steps of one rank among those of a phase."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._before: deque[dict[str, float]] = deque(maxlen=WINDOW)

    def begin_phase(self) -> None:
        """Forget the steps of another phase, which may do more work."""
        self._before.clear()

    def find(self, steps: list[tuple[int, dict[str, float]]]) -> list[SlowStep]:
        """The slow ones of the next steps: their numbers, and seconds by cause."""
        slow = []
        usual = self._usual()
        for step, seconds in steps:
            if usual and (found := self._compare(step, seconds, usual)):
                slow.append(found)
            self._before.append(seconds)
        return slow

    def _usual(self) -> dict[str, float]:
        """Median seconds of each cause and of the whole, once there are enough steps."""
        if len(self._before) < WINDOW // 2:
            return {}
        causes = {cause for seconds in self._before for cause in seconds}
        medians = {c: float(np.median([s.get(c, 0.0) for s in self._before])) for c in causes}
        return medians | {"": float(np.median([sum(s.values()) for s in self._before]))}

    def _compare(self, step: int, seconds: dict[str, float], usual: dict[str, float]) -> SlowStep | None:
        total, median = sum(seconds.values()), usual[""]
        if total < max(SLOW * median, median + LEAST_EXCESS):
            return None
        cause = max(seconds, key=lambda name: seconds[name] - usual.get(name, 0.0))
        return SlowStep(step, self._rank, total, median, cause, seconds[cause])
