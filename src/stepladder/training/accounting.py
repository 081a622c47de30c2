"""Where a run's time and arithmetic went.

FLOPs count latent positions, never raw tokens: a bag of s tokens is one position (otherwise MFU would
be s times too large). MFU counts model FLOPs only; what activation checkpointing computes again is in the
hardware FLOPs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from stepladder.record.cost import Convention, step_flops, training_flops
from stepladder.record.events import StepRecord
from stepladder.record.pace import mfu_spread
from stepladder.record.result import Mfu
from stepladder.record.same_document import SameDocument, within_documents
from stepladder.record.spec import PhaseSpec, RunSpec
from stepladder.training.device import Hardware

STEP_CAUSES = ("data", "forward", "backward", "communication", "optimizer")
"""What a step consists of, in order. `communication` is the reduction of the gradient over ranks, waiting
for the slowest included; the experts' loads are reduced within `forward`, and sharded weights and gradients
travel within `forward` and `backward`."""

CAUSES = ("startup", *STEP_CAUSES, "stall", "checkpoint", "evaluation", "lost")
"""What a run's seconds are booked to. `stall`: between the end of a step and the next one, with nothing to
save or log. `checkpoint`: what training waits for, not what is written beside it. `lost`: work that a kill
threw away. What remains is `other`: reading and writing measurements, and the ranks' agreement on whether to
save or stop. Of several ranks, the first one's seconds are kept."""


class TimeAccount:
    """Seconds of a run by cause, over all its attempts."""

    def __init__(self, begin: float, carried: dict[str, float] | None = None) -> None:
        """Start an attempt that began at `begin` (Unix seconds) on top of what earlier ones `carried`."""
        self.begin = begin
        self.seconds = {cause: 0.0 for cause in CAUSES} | (carried or {})
        # The carried total holds the seconds lost until then; only what is lost from now on is added.
        self._earlier = self.seconds.pop("total", 0.0) - self.seconds["lost"]
        self.seconds.pop("step", None)
        self.seconds.pop("other", None)

    def add(self, cause: str, seconds: float) -> None:
        """Book seconds to a cause."""
        self.seconds[cause] += seconds

    @contextmanager
    def timed(self, cause: str) -> Iterator[None]:
        """Book the time the block takes."""
        start = time.perf_counter()
        yield
        self.add(cause, time.perf_counter() - start)

    def totals(self) -> dict[str, float]:
        """Seconds by cause, with `step` (the sum of `STEP_CAUSES`), `total` and `other`."""
        total = self._earlier + self.seconds["lost"] + time.time() - self.begin
        step = sum(self.seconds[cause] for cause in STEP_CAUSES)
        other = max(0.0, total - sum(self.seconds.values()))
        return self.seconds | {"step": step, "other": other, "total": total}


Mark = Any
"""A point in time as `StepClock.mark` gives it: a reading of the clock, or an event of CUDA."""


class StepClock:
    """Marks in time that do not wait for the device: clock readings on CPU, events on GPU."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"

    def mark(self) -> Mark:
        """A mark at this point of the program (CPU) or of the stream (GPU)."""
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Mark, end: Mark) -> float:
        """Seconds between two marks. On GPU both must have been reached: read something first."""
        seconds: float = start.elapsed_time(end) / 1000 if self._cuda else end - start
        return seconds

    def by_cause(self, start: Mark, ticks: list[tuple[str, Mark]]) -> dict[str, float]:
        """Seconds of each cause, from marks set when something of that cause had ended."""
        seconds: dict[str, float] = {}
        for cause, mark in ticks:
            seconds[cause] = seconds.get(cause, 0.0) + self.seconds(start, mark)
            start = mark
        return seconds


@dataclass(frozen=True)
class Throughput:
    """What a step's seconds say about the run's accelerators: rates and MFU."""

    spec: RunSpec
    hardware: Hardware
    accelerators: int = 1
    """Ranks that share each batch."""
    same: SameDocument | None = None
    """Where attention stays within documents."""

    def of_step(self, phase: PhaseSpec, seconds: float) -> dict[str, float | None]:
        """Rates of one step of the whole batch that took `seconds`; MFU is None without a peak."""
        positions = phase.sequences * phase.positions
        convention: Convention = self.same.counting(phase.bag_size) if self.same else "causal"
        flops = step_flops(self.spec.model, self.spec.recipe, phase, convention)
        peak = self.hardware.peak_flops_per_second
        return {
            "step_seconds": seconds,
            "accelerators": self.accelerators,
            "tokens_per_second": positions * phase.bag_size / seconds,
            "positions_per_second": positions / seconds,
            "mfu": flops / seconds / (peak * self.accelerators) if peak else None,
        }


def check_mfu(records: Sequence[StepRecord], hardware: Hardware) -> None:
    """Refuse a peak that is too low.

    Raises:
        ValueError: half of the steps ran faster than the peak allows.
    """
    mfus = [record["mfu"] for record in records if record["mfu"] is not None]
    if mfus and median(mfus) > 1:
        raise ValueError(
            f"MFU {median(mfus):.2f} is above 1: the peak of {hardware.name} in {hardware.dtype}, "
            f"{hardware.peak_flops_per_second:.3g} FLOP/s ({hardware.source}), is wrong; "
            "correct configs/hardware.yaml, or run `stepladder calibrate` again on a quiet machine"
        )


def summarise_mfu(
    spec: RunSpec, hardware: Hardware, steps: Sequence[StepRecord], same: SameDocument | None = None
) -> Mfu | None:
    """Spread of MFU over the logged steps, with what it is stated against; None without a peak."""
    if hardware.peak_flops_per_second is None:
        return None
    spread = mfu_spread(steps)
    if spread is None:
        return None
    middle, low, high = spread
    within = within_documents(spec, same) if same else None
    counted = within.flops if within else training_flops(spec.model, spec.recipe)
    ratio = training_flops(spec.model, spec.recipe, "palm") / counted
    return Mfu(
        median=middle,
        p10=low,
        p90=high,
        convention="causal, within documents" if within else "causal",
        palm_median=middle * ratio,
        peak_flops_per_second=hardware.peak_flops_per_second,
        dtype=hardware.dtype,
        peak_source=hardware.source,
    )
