"""One run from start, or from its newest checkpoint, to result.json.

A run's folder holds spec.json, events.jsonl (append-only), log.txt, checkpoints/ and, written last and
atomically, result.json. Killing the process at any moment loses no more than the steps since the last
checkpoint, and the run that goes on gives the same losses bit for bit (same machine, same threads).

Several ranks (`distributed.py`) go through the same code in step; the first reads and writes the folder.
"""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from stepladder.data.batches import Corpus
from stepladder.ladder.spec import RunSpec
from stepladder.training import accounting, hardware
from stepladder.training.checkpoint import (
    Checkpoint,
    checkpoint_path,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from stepladder.training.distributed import Ranks, World, check_shares, device_of, join
from stepladder.training.evaluate import DomainLoss, evaluate
from stepladder.training.events import lost_seconds, read_attempts, steps_from_events
from stepladder.training.folder import holds_result, take_folder, write_atomically
from stepladder.training.journal import Journal
from stepladder.training.lineage import trace, utc_now
from stepladder.training.loop import Place, Trainer, places, read_batch
from stepladder.training.meter import Meter
from stepladder.training.result import identify, score
from stepladder.training.stop import EXIT_STOPPED, StopSignal, tell_progress, was_restarted

FLUSH, SAVE = 1, 2
"""What can be due between two steps; ranks do what the most pressed one needs."""


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

    If a launcher started this process as one of several ranks, they train together.

    Files of an earlier run with another spec or other data are moved aside to `superseded-<hash>`. A run that
    had ended is trained again from step 0, unless its scheduler starts the same job again.

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
        ValueError: MFU came out above 1, so the peak is wrong; or the ranks cannot share a batch equally.
        SystemExit: with status 75 after SIGTERM or SIGUSR2, once a checkpoint is saved.
    """
    if was_restarted() and holds_result(run_dir, spec):  # stopped between its last line and its end
        return run_dir / "result.json"
    stop = StopSignal()
    began = psutil.Process().create_time()
    hardware.configure_process(threads)
    world = World.from_environment()
    check_shares(spec, world)
    own = device_of(world, hardware.pick_device(device))
    with join(world, own) as ranks:
        run = Run(spec, manifest, run_dir, machine, threads, own, began, ranks)
        run.begin()
        run.ledger.add("startup", time.time() - began)
        run.train_steps(stop, checkpoint_seconds, log_seconds)
        return run.finish(run.evaluate())


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
        ranks: Ranks,
    ) -> None:
        self.spec, self.run_dir, self.threads, self.device = spec, run_dir, threads, device
        self.ranks = ranks
        self.corpus = Corpus.open(manifest, spec.data.max_validation_tokens)
        self.identity = {"spec_sha256": spec.sha256, "data_sha256": self.corpus.manifest.sha256}
        aside = take_folder(run_dir, spec, self.identity) if ranks.leads else None
        self.journal = Journal(run_dir, spec.id, silent=not ranks.leads)
        self.hardware = hardware.describe(device, spec.precision, threads, machine)
        self.ledger = accounting.Ledger(began)
        self.started = utc_now()
        self.warnings: list[str] = []
        self.trainer = Trainer(spec, device, ranks)
        self.step = 0
        rates = accounting.Rates(spec, self.hardware, ranks.world.size)
        self.meter = Meter(self.trainer, self.corpus, rates, self.journal)
        if aside:
            self.warnings.append(f"the spec or the data changed: earlier files are in {aside.name}/")
        if self.hardware.peak_flops_per_second is None:
            self.warnings.append(f"no peak FLOP/s, so no MFU: {self.hardware.source}")

    def begin(self) -> None:
        """Take over the newest complete checkpoint if there is one, and log how the attempt begins."""
        checkpoint = self.find_checkpoint()
        warnings = self.warnings
        if checkpoint is None:
            self.journal.write("start", **self.identity, began=self.ledger.begin)
        else:
            lost = lost_seconds(self.journal.path, checkpoint.state["time"]) if self.ranks.leads else 0.0
            self.take_over(checkpoint)
            self.ledger.add("lost", lost)
            resumed = {"step": self.step, "lost_seconds": lost, "began": self.ledger.begin}
            self.journal.write("resume", **self.identity, **resumed)
            self.journal.say(f"resumed at step {self.step}/{self.spec.recipe.steps}")
        for text in warnings:
            self.journal.warn(text)

    def find_checkpoint(self) -> Checkpoint | None:
        """The newest usable checkpoint: the first rank chooses it, the others read the same."""
        folder = self.run_dir / "checkpoints"
        checkpoint = None
        if self.ranks.leads:
            checkpoint, problems = newest_checkpoint(folder)
            self.warnings += [f"checkpoint not used: {problem}" for problem in problems]
            if checkpoint and any(checkpoint.state[key] != value for key, value in self.identity.items()):
                self.warnings.append("checkpoint not used: it is of another spec or of other data")
                checkpoint = None
        step = self.ranks.tell(checkpoint.state["step"] if checkpoint else None)
        if step is not None and not self.ranks.leads:
            checkpoint = load_checkpoint(checkpoint_path(folder, step))
        return checkpoint

    def take_over(self, checkpoint: Checkpoint) -> None:
        """Set weights, moments, step, ledger and warnings to what was saved."""
        tensors, state = checkpoint
        self.step = state["step"]
        self.trainer.load_state(tensors, self.step)
        self.ledger = accounting.Ledger(self.ledger.begin, state["seconds"])
        self.started = state["started"]
        self.warnings = state["warnings"] + [w for w in self.warnings if w not in state["warnings"]]

    def train_steps(self, stop: StopSignal, checkpoint_seconds: float, log_seconds: float) -> None:
        """All remaining steps, with checkpoints on the clock, at phase switches and at the end."""
        saved = logged = time.monotonic()
        first, total = self.step, self.spec.recipe.steps
        for place in places(self.spec, self.corpus.order, first):
            now = time.monotonic()
            due = FLUSH if now - logged > log_seconds else 0
            if stop.number or now - saved > checkpoint_seconds or (place.first and place.step > first):
                due = SAVE
            due = self.ranks.largest(due)
            if due == SAVE:
                self.save(stop)
                saved = time.monotonic()
            elif due == FLUSH:
                self.meter.flush(self.ledger)
                logged = now
            if place.first:
                self.journal.write("phase", step=place.step, phase=place.phase.name)
            self.take_step(place)
        if first < total:
            self.save(stop)

    def take_step(self, place: Place) -> None:
        """One optimizer step; what it measured stays on the device until the meter is read."""
        mark = self.meter.clock.mark
        marks = [mark()]
        inputs_BTS, targets_BTS = read_batch(self.corpus, self.spec, place, self.device, self.ranks.world)
        marks.append(mark())
        metrics = self.trainer.forward_backward(inputs_BTS, targets_BTS)
        marks.append(mark())
        if self.ranks.several:
            self.trainer.average_gradient()
        marks.append(mark() if self.ranks.several else marks[-1])
        metrics = self.trainer.update(metrics, place.step)
        marks.append(mark())
        self.meter.add(place, metrics, marks)
        self.step = place.step + 1

    def save(self, stop: StopSignal) -> None:
        """Flush and save a checkpoint of the steps done so far; leaves the process if asked to stop.

        Raises:
            SystemExit: with status 75 after SIGTERM or SIGUSR2, on whichever rank.
        """
        self.meter.flush(self.ledger)
        with self.ledger.timed("checkpoint"):
            if self.ranks.leads:
                self.write_checkpoint()
            number = self.ranks.largest(stop.number)
        if number:
            name = signal.Signals(number).name
            self.journal.write("stopped", step=self.step, signal=name)
            self.journal.say(f"{name}: saved step {self.step}, stopping")
            raise SystemExit(EXIT_STOPPED)

    def write_checkpoint(self) -> None:
        """Save the steps done so far."""
        state = {
            **self.identity,
            "step": self.step,
            "time": time.time(),
            "started": self.started,
            "seconds": self.ledger.totals(),
            "warnings": self.warnings,
        }
        path = save_checkpoint(self.run_dir / "checkpoints", self.step, self.trainer.state(), state)
        tell_progress(f"step {self.step} of {self.spec.recipe.steps}")
        self.journal.write("checkpoint", step=self.step, path=path.name)

    def evaluate(self) -> dict[str, DomainLoss]:
        """Held-out loss of every domain that the target loss weights."""
        with self.ledger.timed("evaluation"):
            losses = {
                domain: evaluate(self.trainer, self.corpus.validation(domain))
                for domain in self.spec.data.domain_weights
            }
        nats = {domain: loss.nats_per_token for domain, loss in losses.items()}
        self.journal.write("evaluation", step=self.step, losses=nats)
        return losses

    def finish(self, losses: dict[str, DomainLoss]) -> Path:
        """Write result.json, last and atomically; returns its path."""
        path = self.run_dir / "result.json"
        peak_memory = self.ranks.largest(hardware.peak_memory_bytes(self.device))
        hostnames = self.ranks.gather(socket.gethostname())
        if self.ranks.leads:
            result = self.result(losses, peak_memory, hostnames)
            write_atomically(path, json.dumps(result, indent=1, allow_nan=False) + "\n")
            self.journal.write("end", loss=result["loss"], seconds=result["seconds"]["total"])
            self.journal.say(f"done: loss {result['loss']:.4f}, {result['bits_per_byte']:.4f} bits per byte")
        return path

    def result(
        self, losses: dict[str, DomainLoss], peak_memory_bytes: int, hostnames: list[str]
    ) -> dict[str, Any]:
        """Everything result.json holds; memory is that of the rank that used most."""
        log = self.journal.path
        return (
            identify(self.spec)
            | score(self.spec, self.corpus, losses)
            | accounting.summarise(self.spec, self.hardware, steps_from_events(log))
            | {
                "accelerators": self.ranks.world.size,
                "seconds": self.ledger.totals(),
                "peak_memory_bytes": peak_memory_bytes,
                "restarts": sum(record["event"] == "resume" for record in read_attempts(log)),
                "warnings": self.warnings,
                "lineage": trace(self.spec, self.corpus, self.hardware, self.threads, hostnames)
                | {"started": self.started, "finished": utc_now()},
            }
        )
