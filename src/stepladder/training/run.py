"""One run from start, or from its newest checkpoint, to result.json.

A run's folder holds spec.json, events.jsonl (append-only), log.txt, checkpoints/ and, written last and
atomically, result.json. Killing the process at any moment loses no more than the steps since the last
checkpoint, and the run that goes on gives the same losses bit for bit (same machine, same threads).
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from stepladder.data.batches import Corpus
from stepladder.ladder.spec import RunSpec
from stepladder.training import accounting, hardware
from stepladder.training.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint
from stepladder.training.evaluate import DomainLoss, evaluate
from stepladder.training.events import EventLog, lost_seconds, read_attempts, steps_from_events
from stepladder.training.folder import forget_if_ended, set_aside, write_atomically
from stepladder.training.lineage import trace, utc_now
from stepladder.training.loop import Metrics, Place, Trainer, places, read_batch
from stepladder.training.progress import progress
from stepladder.training.result import identify, score
from stepladder.training.stop import EXIT_STOPPED, StopSignal

RECORDED_STEPS = 500
"""About how many steps of a run are written to events.jsonl, evenly spaced; all are checked."""


class NonFiniteLoss(ArithmeticError):
    """The training loss became infinite or NaN; the message names step and text."""


def train(
    spec: RunSpec,
    manifest: Path,
    run_dir: Path,
    machine: Path | None = None,
    *,
    threads: int = 1,
    device: str = "auto",
    checkpoint_seconds: float = 30.0,
    log_seconds: float = 5.0,
) -> Path:
    """Train, evaluate and write result.json; goes on from the newest complete checkpoint.

    Files of an earlier run with another spec or other data are moved aside to `superseded-<hash>`. A run that
    had ended is trained again from step 0.

    Args:
        manifest: the shards' manifest.json.
        run_dir: the run's folder; made if it is missing.
        machine: machine.json of `stepladder calibrate`, for the peak of a CPU.
        checkpoint_seconds: longest time between checkpoints.
        log_seconds: time between progress lines; step records are flushed as often.

    Returns:
        Path of result.json.

    Raises:
        NonFiniteLoss: the loss became infinite or NaN.
        ValueError: MFU came out above 1, so the peak is wrong.
        SystemExit: with status 75 after SIGTERM or SIGUSR2, once a checkpoint is saved.
    """
    stop = StopSignal()
    began = psutil.Process().create_time()
    hardware.configure_process(threads)
    run = Run(spec, manifest, run_dir, machine, threads, hardware.pick_device(device), began)
    run.begin()
    run.ledger.add("startup", time.time() - began)
    run.train_steps(stop, checkpoint_seconds, log_seconds)
    result = run.result(run.evaluate())
    path = run_dir / "result.json"
    write_atomically(path, json.dumps(result, indent=1, allow_nan=False) + "\n")
    run.events.write("end", loss=result["loss"], seconds=result["seconds"]["total"])
    run.say(f"done: loss {result['loss']:.4f}, {result['bits_per_byte']:.4f} bits per byte")
    return path


class Run:
    """State of one attempt: the trainer, the corpus, the log and the ledger of seconds."""

    def __init__(
        self,
        spec: RunSpec,
        manifest: Path,
        run_dir: Path,
        machine: Path | None,
        threads: int,
        device: torch.device,
        began: float,
    ) -> None:
        self.spec, self.run_dir, self.threads, self.device = spec, run_dir, threads, device
        self.corpus = Corpus.open(manifest, spec.data.max_validation_tokens)
        self.identity = {"spec_sha256": spec.sha256, "data_sha256": self.corpus.manifest.sha256}
        run_dir.mkdir(parents=True, exist_ok=True)
        aside = set_aside(run_dir, self.identity)
        forget_if_ended(run_dir)
        write_atomically(run_dir / "spec.json", spec.to_json() + "\n")
        self.events = EventLog(run_dir / "events.jsonl")
        self.log = (run_dir / "log.txt").open("a", encoding="utf-8")
        self.hardware = hardware.describe(device, spec.precision, threads, machine)
        self.rates = accounting.Rates(spec, self.hardware)
        self.ledger = accounting.Ledger(began)
        self.started = utc_now()
        self.warnings: list[str] = []
        self.trainer = Trainer(spec, device)
        self.step = 0
        self.clock = accounting.StepClock(device)
        self.pending: list[tuple[Place, Metrics, list[Any]]] = []
        if aside:
            self.warnings.append(f"the spec or the data changed: earlier files are in {aside.name}/")
        if self.hardware.peak_flops_per_second is None:
            self.warnings.append(f"no peak FLOP/s, so no MFU: {self.hardware.source}")

    def say(self, text: str) -> None:
        """One line for a person, on stderr and in log.txt."""
        line = f"{self.spec.id}  {text}"
        print(line, file=sys.stderr, flush=True)
        print(f"{utc_now()}  {line}", file=self.log, flush=True)

    def begin(self) -> None:
        """Take over the newest complete checkpoint if there is one, and log how the attempt begins."""
        checkpoint, problems = newest_checkpoint(self.run_dir / "checkpoints")
        self.warnings += [f"checkpoint not used: {problem}" for problem in problems]
        warnings = self.warnings
        if checkpoint is None:
            self.events.write("start", **self.identity, began=self.ledger.begin)
        else:
            lost = lost_seconds(self.run_dir / "events.jsonl", checkpoint.state["time"])
            self.take_over(checkpoint)
            self.ledger.add("lost", lost)
            resumed = {"step": self.step, "lost_seconds": lost, "began": self.ledger.begin}
            self.events.write("resume", **self.identity, **resumed)
            self.say(f"resumed at step {self.step}/{self.spec.recipe.steps}")
        for text in warnings:
            self.events.write("warning", message=text)
            self.say(f"warning: {text}")

    def take_over(self, checkpoint: Checkpoint) -> None:
        """Set weights, moments, step, ledger and warnings to what was saved."""
        tensors, state = checkpoint
        with torch.no_grad():
            for name, parameter in self.trainer.model.named_parameters():
                parameter.copy_(tensors[f"model.{name}"])
        moments = {name[10:]: t for name, t in tensors.items() if name.startswith("optimizer.")}
        self.step = state["step"]
        self.trainer.optimizer.load_state(moments, self.step)
        self.ledger = accounting.Ledger(self.ledger.begin, state["seconds"])
        self.started = state["started"]
        self.warnings = state["warnings"] + [w for w in self.warnings if w not in state["warnings"]]

    def train_steps(self, stop: StopSignal, checkpoint_seconds: float, log_seconds: float) -> None:
        """All remaining steps, with checkpoints on the clock, at phase switches and at the end."""
        saved = logged = time.monotonic()
        first, total = self.step, self.spec.recipe.steps
        for place in places(self.spec, self.corpus.order, first):
            now = time.monotonic()
            if stop.received or now - saved > checkpoint_seconds or (place.first and place.step > first):
                self.save(stop)
                saved = time.monotonic()
            elif now - logged > log_seconds:
                self.flush()
                logged = now
            if place.first:
                self.events.write("phase", step=place.step, phase=place.phase.name)
            self.take_step(place)
        if first < total:
            self.save(stop)

    def take_step(self, place: Place) -> None:
        """One optimizer step; what it measured stays on the device until `flush`."""
        mark = self.clock.mark
        marks = [mark()]
        inputs_BTS, targets_BTS = read_batch(self.corpus, self.spec, place, self.device)
        marks.append(mark())
        metrics = self.trainer.forward_backward(inputs_BTS, targets_BTS)
        marks.append(mark())
        metrics = self.trainer.update(metrics, place.step)
        marks.append(mark())
        self.pending.append((place, metrics, marks))
        self.step = place.step + 1

    def flush(self) -> None:
        """Read the pending steps' measurements (the only wait for the device), check and log them.

        Raises:
            NonFiniteLoss: see there.
            ValueError: MFU above 1.
        """
        if not self.pending:
            return
        columns = zip(*(metrics for _, metrics, _ in self.pending), strict=True)
        values = [None if column[0] is None else torch.stack(column).tolist() for column in columns]
        every = max(1, self.spec.recipe.steps // RECORDED_STEPS)
        records = []
        for index, (place, _, marks) in enumerate(self.pending):
            measured = Metrics(*(None if column is None else column[index] for column in values))
            for cause, start in zip(("data", "forward_backward", "optimizer"), range(3), strict=True):
                self.ledger.add(cause, self.clock.seconds(marks[start], marks[start + 1]))
            if not all(math.isfinite(value) for value in measured[:2]):
                self.stop_on_non_finite(place, measured)
            if place.first or place.step % every == 0 or place.step == self.spec.recipe.steps - 1:
                seconds = self.clock.seconds(marks[0], marks[-1])
                records.append(self.record(place, measured, seconds))
        self.pending.clear()
        self.events.write_many("step", records)
        accounting.check_mfu(records, self.hardware)
        if records:
            self.say(progress(records[-1], self.spec.recipe))

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
        self.events.write("warning", message=message)
        raise NonFiniteLoss(f"{self.spec.id}: {message}")

    def save(self, stop: StopSignal) -> None:
        """Flush and save a checkpoint of the steps done so far; leaves the process if asked to stop.

        Raises:
            SystemExit: with status 75 after SIGTERM or SIGUSR2.
        """
        self.flush()
        with self.ledger.timed("checkpoint"):
            tensors = {f"model.{name}": p for name, p in self.trainer.model.named_parameters()}
            tensors |= {f"optimizer.{name}": t for name, t in self.trainer.optimizer.state().items()}
            state = {
                **self.identity,
                "step": self.step,
                "time": time.time(),
                "started": self.started,
                "seconds": self.ledger.totals(),
                "warnings": self.warnings,
            }
            path = save_checkpoint(self.run_dir / "checkpoints", self.step, tensors, state)
        self.events.write("checkpoint", step=self.step, path=path.name)
        if stop.received:
            self.events.write("stopped", step=self.step, signal=stop.received)
            self.say(f"{stop.received}: saved step {self.step}, stopping")
            raise SystemExit(EXIT_STOPPED)

    def evaluate(self) -> dict[str, DomainLoss]:
        """Held-out loss of every domain that the target loss weights."""
        with self.ledger.timed("evaluation"):
            losses = {
                domain: evaluate(self.trainer, self.corpus.validation(domain))
                for domain in self.spec.data.domain_weights
            }
        nats = {domain: loss.nats_per_token for domain, loss in losses.items()}
        self.events.write("evaluation", step=self.step, losses=nats)
        return losses

    def result(self, losses: dict[str, DomainLoss]) -> dict[str, Any]:
        """Everything result.json holds."""
        log = self.run_dir / "events.jsonl"
        return (
            identify(self.spec)
            | score(self.spec, self.corpus, losses)
            | accounting.summarise(self.spec, self.hardware, steps_from_events(log))
            | {
                "seconds": self.ledger.totals(),
                "peak_memory_bytes": hardware.peak_memory_bytes(self.device),
                "restarts": sum(record["event"] == "resume" for record in read_attempts(log)),
                "warnings": self.warnings,
                "lineage": trace(self.spec, self.corpus, self.hardware, self.threads)
                | {"started": self.started, "finished": utc_now()},
            }
        )
