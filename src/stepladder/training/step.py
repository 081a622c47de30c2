"""One optimizer step: what is done in which order."""

from __future__ import annotations

from stepladder.training.feed import Place
from stepladder.training.meter import Meter
from stepladder.training.prefetch import Prefetch
from stepladder.training.trainer import Trainer


def take_step(trainer: Trainer, batches: Prefetch, meter: Meter, place: Place) -> None:
    """Take the step at `place`; what it measured stays on the device until the meter is read."""
    meter.tick("stall")
    trainer.seed_step(place.step)
    batch = batches.batch(place)
    meter.tick("data")
    metrics = trainer.gradients(*batch, meter.tick)
    if trainer.ranks.several:
        trainer.average_gradient()
        meter.tick("communication")
    metrics = trainer.update(metrics, place.step)
    meter.tick("optimizer")
    meter.end_step(place, metrics)
