"""`plan:` assumptions for pricing a ladder before it runs."""

from __future__ import annotations

from typing import Annotated

from stepladder.schema import ranges
from stepladder.schema.settings import Settings


class PlanSettings(Settings):
    """Assumptions for pricing a ladder before it runs, and the limit that it must keep."""

    mfu: Annotated[float, ranges.MFU] = 0.4
    """Assumed model FLOPs utilisation."""
    flops_per_second: Annotated[float, ranges.FLOPS_PER_SECOND] | None = None
    """Assumed achieved FLOP/s per accelerator; replaces peak * mfu (needed for `accelerator: cpu`)."""
    overhead_seconds_per_run: Annotated[float, ranges.OVERHEAD_SECONDS] = 10.0
    """Start-up and evaluation, seconds per run."""
    price_per_accelerator_hour: Annotated[float, ranges.PRICE_PER_HOUR] | None = None
    """Replaces the price in configs/hardware.yaml."""
    max_accelerator_hours: Annotated[float, ranges.ACCELERATOR_HOURS]
    """The guard: a dearer ladder is not started."""
