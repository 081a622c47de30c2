"""What the steps of a run measured: read seldom, checked, booked and logged."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch

from stepladder.data.batches import Corpus
from stepladder.training.accounting import STEP_CAUSES, Ledger, Rates, StepClock, check_mfu
from stepladder.training.journal import Journal
from stepladder.training.loop import Metrics, Place, Trainer
from stepladder.training.progress import progress

RECORDED_STEPS = 500
"""About how many steps of a run are written to events.jsonl, evenly spaced; all are checked."""


class NonFiniteLoss(ArithmeticError):
    """The training loss became infinite or NaN; the message names step and text."""


class Meter:
    """Keeps what steps measured on the device until `flush`."""

    def __init__(self, trainer: Trainer, corpus: Corpus, rates: Rates, journal: Journal) -> None:
        self.trainer, self.corpus, self.rates, self.journal = trainer, corpus, rates, journal
        self.spec, self.ranks = trainer.spec, trainer.ranks
        self.clock = StepClock(trainer.device)
        self.pending: list[tuple[Place, Metrics, list[Any]]] = []

    def add(self, place: Place, metrics: Metrics, marks: list[Any]) -> None:
        """Keep a step's metrics and the marks between its causes of seconds."""
        self.pending.append((place, metrics, marks))

    def flush(self, ledger: Ledger) -> None:
        """Read the pending steps' measurements (the only wait for the device), check, book and log them.

        Raises:
            NonFiniteLoss: see there.
            ValueError: MFU above 1.
        """
        if not self.pending:
            return
        every = max(1, self.spec.recipe.steps // RECORDED_STEPS)
        records = []
        for (place, _, marks), measured in zip(self.pending, self.read(), strict=True):
            for cause, (start, end) in zip(STEP_CAUSES, pairwise(marks), strict=True):
                ledger.add(cause, self.clock.seconds(start, end))
            if not (math.isfinite(measured.loss) and math.isfinite(measured.gradient_norm)):
                self.stop_on_non_finite(place, measured)
            if place.first or place.step % every == 0 or place.step == self.spec.recipe.steps - 1:
                seconds = self.clock.seconds(marks[0], marks[-1])
                records.append(self.record(place, measured, seconds))
        self.pending.clear()
        self.journal.write_many("step", records)
        check_mfu(records, self.rates.hardware)
        if records:
            self.journal.say(progress(records[-1], self.spec.recipe))

    def read(self) -> list[Metrics]:
        """The pending steps' metrics as numbers, averaged over ranks."""
        columns = []
        for column in zip(*(metrics for _, metrics, _ in self.pending), strict=True):
            missing = column[0] is None
            columns.append(column if missing else self.ranks.mean_(torch.stack(column)).tolist())
        return [Metrics(*row) for row in zip(*columns, strict=True)]

    def record(self, place: Place, measured: Metrics, seconds: float) -> dict[str, Any]:
        """Fields of a step record."""
        return {
            "step": place.step,
            "phase": place.phase.name,
            "learning_rate": self.trainer.learning_rate(place.step),
            "tokens": place.tokens,
            "positions": place.positions,
            "flops": self.rates.cumulative_flops(place.step + 1),
            **measured._asdict(),
            **self.rates.of_step(place.phase, seconds),
        }

    def stop_on_non_finite(self, place: Place, measured: Metrics) -> None:
        """Log the step and the text it read, then give up.

        Raises:
            NonFiniteLoss: always.
        """
        phase = place.phase
        length = phase.positions * phase.bag_size
        origins = self.corpus.documents_of(self.spec.seed, place.position, phase.sequences, length)
        documents = sorted({origin.place for row in origins for origin in row})
        message = (
            f"loss {measured.loss} with gradient norm {measured.gradient_norm} at step {place.step} "
            f"({phase.name}): try a lower learning rate; the batch came from {', '.join(documents)}"
        )
        self.journal.write("warning", message=message)
        self.ranks.wait()  # a launcher kills all ranks when the first has failed
        raise NonFiniteLoss(f"{self.spec.id}: {message}")
