"""What the steps of a run measured: read seldom, checked, booked and logged."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch

from stepladder.data.batches import Corpus
from stepladder.record.checkpoints import HealthTally
from stepladder.record.cost import flops_until
from stepladder.record.events import StepRecord
from stepladder.training.accounting import (
    STEP_CAUSES,
    Mark,
    StepClock,
    Throughput,
    TimeAccount,
    check_mfu,
)
from stepladder.training.feed import Place
from stepladder.training.health import (
    GRADIENT_FACTOR,
    SlowStep,
    SlowStepDetector,
    Spike,
    SpikeDetector,
)
from stepladder.training.journal import Journal
from stepladder.training.progress_line import progress_line
from stepladder.training.trainer import Metrics, Trainer

RECORDED_STEPS = 500
"""About how many steps of a run are written to events.jsonl, evenly spaced; all are checked."""

MAX_NOTES = 10
"""Spikes, skipped and slow steps of a run that its result tells."""

MAX_REPORTED = 100
"""Slow steps and spikes of a run that events.jsonl has one by one; the others are only counted."""

MAX_SAID = 3
"""Slow steps of a run that are said one by one; of later ones a line per flush says how many."""


class NonFiniteLoss(ArithmeticError):
    """Too many losses or gradients became infinite or NaN; the message names step and text."""


class PendingStep(NamedTuple):
    """A step whose measurements are still on the device."""

    place: Place
    metrics: Metrics
    start: Mark
    """At the end of the step before, or of what came between."""
    ticks: list[tuple[str, Mark]]
    """Causes of seconds, each with the mark at its end."""


class Meter:
    """Times steps, and keeps what they measured on the device until `flush`."""

    def __init__(
        self,
        trainer: Trainer,
        corpus: Corpus,
        throughput: Throughput,
        journal: Journal,
        account: TimeAccount,
        health: HealthTally,
        max_skipped_steps: int,
    ) -> None:
        """Args:
        account: gets the steps' seconds by cause.
        health: of the run so far; what stands out is added.
        """
        self.trainer, self.corpus, self.throughput, self.journal = trainer, corpus, throughput, journal
        self.spec, self.ranks = trainer.spec, trainer.ranks
        self.account, self.health, self.max_skipped_steps = account, health, max_skipped_steps
        self.clock = StepClock(trainer.device)
        self.pending: list[PendingStep] = []
        self.ticks: list[tuple[str, Mark]] = []
        """Of the step that is under way."""
        self.spike_detectors = {
            "loss": SpikeDetector(),
            "gradient_norm": SpikeDetector(least_excess=math.log(GRADIENT_FACTOR)),
        }
        self.slow_step_detector = SlowStepDetector(self.ranks.world.rank)
        self.start = self.clock.mark()

    def restart(self) -> None:
        """Time the next step from here: what came before it is booked elsewhere."""
        self.start = self.clock.mark()

    def tick(self, cause: str) -> None:
        """Mark the end of a part of the step that is under way."""
        self.ticks.append((cause, self.clock.mark()))

    def end_step(self, place: Place, metrics: Metrics) -> None:
        """Keep a step's metrics and marks; the next one begins here."""
        self.pending.append(PendingStep(place, metrics, self.start, self.ticks))
        self.start, self.ticks = self.ticks[-1][1], []

    def flush(self) -> None:
        """Read the pending steps' measurements (the only wait for the device), check, book and log them.

        Raises:
            NonFiniteLoss: more steps than allowed had to be skipped.
            ValueError: MFU above 1.
        """
        if not self.pending:
            return
        measured = self.read()
        seconds = [self.clock.by_cause(step.start, step.ticks) for step in self.pending]
        for parts in seconds:
            for cause, value in parts.items():
                self.account.add(cause, value)
        finite = self.skip_non_finite(measured)
        self.log_steps(measured, seconds)
        self.log_spikes(finite)
        self.log_slow_steps(seconds)
        self.pending.clear()

    def read(self) -> list[Metrics]:
        """The pending steps' metrics as numbers, averaged over ranks."""
        columns = []
        for column in zip(*(step.metrics for step in self.pending), strict=True):
            missing = column[0] is None
            columns.append(column if missing else self.ranks.mean_(torch.stack(column)).tolist())
        return [Metrics(*row) for row in zip(*columns, strict=True)]

    def log_steps(self, measured: list[Metrics], seconds: list[dict[str, float]]) -> None:
        """Write the records of some of the steps, and a line for people."""
        every = max(1, self.spec.recipe.steps // RECORDED_STEPS)
        records = [
            self.record(step.place, values, parts)
            for step, values, parts in zip(self.pending, measured, seconds, strict=True)
            if step.place.first
            or step.place.step % every == 0
            or step.place.step == self.spec.recipe.steps - 1
        ]
        self.journal.write_many("step", records)
        check_mfu(records, self.throughput.hardware)
        if records:
            self.journal.say(progress_line(records[-1], self.spec.recipe))

    def record(self, place: Place, measured: Metrics, seconds: dict[str, float]) -> StepRecord:
        """Fields of a step record; what was not finite is null."""
        stepping = sum(seconds[cause] for cause in STEP_CAUSES if cause in seconds)
        fields = {
            "step": place.step,
            "phase": place.phase.name,
            "learning_rate": self.trainer.learning_rate(place.step),
            "tokens": place.tokens,
            "positions": place.positions,
            "flops": flops_until(self.spec, place.step + 1),
            **{name: _finite(value) for name, value in measured._asdict().items()},
            **self.throughput.of_step(place.phase, stepping),
            **{f"{cause}_seconds": round(value, 6) for cause, value in seconds.items()},
        }
        return cast("StepRecord", fields)

    def skip_non_finite(self, measured: list[Metrics]) -> list[tuple[Place, Metrics]]:
        """Log the steps that the optimizer skipped; returns the others.

        Raises:
            NonFiniteLoss: they are more than allowed.
        """
        finite = []
        for step, values in zip(self.pending, measured, strict=True):
            # The optimizer goes by the gradient alone: a loss that is not finite has no finite gradient.
            if math.isfinite(values.gradient_norm) and math.isfinite(values.loss):
                finite.append((step.place, values))
                continue
            self.health["skipped_steps"] += 1
            message = (
                f"loss {values.loss} with gradient norm {values.gradient_norm} at step {step.place.step} "
                f"({step.place.phase.name}); the batch came from {', '.join(self.documents(step.place))}"
            )
            if self.health["skipped_steps"] > self.max_skipped_steps:
                message += (
                    f"; {self.health['skipped_steps']} steps were not finite and max_skipped_steps is "
                    f"{self.max_skipped_steps}: try a lower learning rate"
                )
                self.journal.write("warning", message=message)
                self.ranks.wait()  # a launcher kills all ranks when the first has failed
                raise NonFiniteLoss(f"{self.spec.id}: {message}")
            self.note(f"step {step.place.step} skipped: not finite")
            self.journal.write("skipped", step=step.place.step, message=message)
            self.journal.warn(f"step skipped: {message}")
        return finite

    def log_spikes(self, finite: list[tuple[Place, Metrics]]) -> None:
        """Log steps whose loss or gradient norm stands out, with the documents that they read."""
        for kind, detector in self.spike_detectors.items():
            for places, values in _by_phase(finite, kind):
                if places[0].first:
                    detector.begin_phase()
                for spike in detector.find(values):
                    self.log_spike(kind, places[spike.number], spike)

    def log_spike(self, kind: str, place: Place, spike: Spike) -> None:
        """Log one spike; a gradient norm is judged by its logarithm, because its noise is a factor."""
        self.health["spikes"] += 1
        if self.health["spikes"] > MAX_REPORTED:
            return
        undo = math.exp if kind == "gradient_norm" else float
        found = {
            "step": place.step,
            "phase": place.phase.name,
            "kind": kind,
            "value": undo(spike.value),
            "median": undo(spike.median),
            "z": spike.z,
        }
        size = f"{found['value']:.3g} (median {found['median']:.3g})"
        self.note(f"{kind.replace('_', ' ')} {size} at step {place.step}")
        self.journal.write("spike", **found, documents=self.documents(place))
        self.journal.say(
            f"spike: {kind} {found['value']:.4g} at step {place.step}, median {found['median']:.4g} "
            f"(z {spike.z:.0f})"
        )

    def log_slow_steps(self, seconds: list[dict[str, float]]) -> None:
        """Log steps that took far longer than usual, on whichever rank, with the cause."""
        found = []
        run: list[tuple[int, dict[str, float]]] = []
        for step, parts in zip(self.pending, seconds, strict=True):
            if step.place.first:
                found += self.slow_step_detector.find(run)
                self.slow_step_detector.begin_phase()
                run = []
            run.append((step.place.step, parts))
        found += self.slow_step_detector.find(run)
        slow_steps = sorted(slow for rank in self.ranks.gather(found) for slow in rank)
        unsaid = len(slow_steps) - max(0, MAX_SAID - self.health["slow_steps"])
        for slow in slow_steps:
            self.log_slow_step(slow)
        if unsaid > 0:
            self.journal.say(f"and {unsaid} more slow steps")

    def log_slow_step(self, slow: SlowStep) -> None:
        """Log one of them."""
        self.health["slow_steps"] += 1
        if slow.rank == 0:  # whose seconds are booked; while others are slow, it waits
            lost = slow.seconds - slow.median_seconds
            self.health["slow_seconds"] = self.health.get("slow_seconds", 0.0) + lost
        if self.health["slow_steps"] > MAX_REPORTED:
            return
        self.note(f"step {slow.step} took {slow.seconds:.2g} s on rank {slow.rank} ({slow.cause})")
        self.journal.write("slow_step", **slow._asdict())
        if self.health["slow_steps"] <= MAX_SAID:
            self.journal.say(
                f"slow step {slow.step} on rank {slow.rank}: {slow.seconds:.2f} s, usually "
                f"{slow.median_seconds:.3f} s; {slow.cause} took {slow.cause_seconds:.2f} s"
            )

    def note(self, text: str) -> None:
        """Keep one for the result."""
        if len(self.health["notes"]) < MAX_NOTES:
            self.health["notes"].append(text)

    def documents(self, place: Place) -> list[str]:
        """Where the text of a step's batch came from."""
        origins = self.corpus.documents_of(self.spec.seed, place.windows)
        return sorted({origin.place for row in origins for origin in row})


def _by_phase(finite: list[tuple[Place, Metrics]], kind: str) -> list[tuple[list[Place], list[float]]]:
    """The steps' places and values of one kind, cut where a phase begins."""
    runs: list[tuple[list[Place], list[float]]] = []
    for place, measured in finite:
        if place.first or not runs:
            runs.append(([], []))
        value = getattr(measured, kind)
        runs[-1][0].append(place)
        runs[-1][1].append(math.log(max(value, 1e-30)) if kind == "gradient_norm" else value)
    return runs


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
