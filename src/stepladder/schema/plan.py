"""`plan:` assumptions for pricing a ladder before it runs."""

from __future__ import annotations

from pydantic import Field

from stepladder.schema.settings import Settings


class PlanSettings(Settings):
    """Assumptions for pricing a ladder before it runs, and the limit that it must keep."""

    mfu: float = Field(default=0.4, gt=0, le=1)
    """Assumed model FLOPs utilisation."""
    flops_per_second: float | None = Field(default=None, gt=0)
    """Assumed achieved FLOP/s per accelerator; replaces peak * mfu (needed for `accelerator: cpu`)."""
    overhead_seconds_per_run: float = Field(default=10.0, ge=0)
    """Start-up and evaluation, seconds per run."""
    price_per_accelerator_hour: float | None = Field(default=None, ge=0)
    """Replaces the price in configs/hardware.yaml."""
    max_accelerator_hours: float = Field(gt=0)
    """The guard: a dearer ladder is not started."""
