"""One run from start, or from its newest checkpoint, to result.json.

A run's folder holds spec.json, events.jsonl (append-only), log.txt, checkpoints/ and, written last and
atomically, result.json. Killing the process at any moment loses no more than the steps since the last
checkpoint, and the run that goes on gives the same losses bit for bit (same machine, same threads).

Several ranks (`distributed.py`) go through the same code in step; the first reads and writes the folder.
"""

from __future__ import annotations

import copy
import signal
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from stepladder.data.batches import Corpus
from stepladder.record.checkpoints import checkpoint_path
from stepladder.record.events import read_events, restarts, steps_of, working_seconds
from stepladder.record.folder import holds_result, take_folder
from stepladder.record.paths import RunFolder
from stepladder.record.result import EngineUsed, Health, Result, Seconds
from stepladder.record.spec import TRUNK, RunSpec
from stepladder.training import accounting
from stepladder.training import device as hardware
from stepladder.training.checkpoint import (
    Checkpoint,
    Outcome,
    Saver,
    newest_checkpoint,
    read_tensors,
)
from stepladder.training.distributed import Ranks, World, check_shares, device_of, join
from stepladder.training.engine import EngineSettings, choose_engine, fit_memory
from stepladder.training.evaluate import DomainLoss, evaluate
from stepladder.training.feed import Feed, Place, read_batch
from stepladder.training.fork import Fork, read_fork
from stepladder.training.journal import Journal
from stepladder.training.lineage import trace, utc_now
from stepladder.training.meter import Meter, Step
from stepladder.training.result import make_result
from stepladder.training.sharding import choose_sharding
from stepladder.training.stop import EXIT_STOPPED, StopSignal, tell_progress, was_restarted
from stepladder.training.trainer import Trainer

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
    settings: EngineSettings | None = None,
    compile_cache: Path | None = None,
    fork: Path | None = None,
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
        settings: of the engine; the defaults if None.
        compile_cache: folder where compiled code is kept between runs.
        fork: result.json of the segment of a trunk that this run goes on from.

    Returns:
        Path of result.json.

    Raises:
        NonFiniteLoss: more losses or gradients than allowed became infinite or NaN.
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
        settings = settings or EngineSettings()
        run = Run(spec, manifest, run_dir, machine, threads, own, began, ranks, settings, compile_cache)
        run.begin(fork)
        run.ledger.add("startup", time.time() - began)
        run.train_steps(stop, checkpoint_seconds, log_seconds)
        return run.finish(None if spec.budget == TRUNK else run.evaluate())


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
        settings: EngineSettings,
        compile_cache: Path | None,
    ) -> None:
        self.spec, self.run_dir, self.threads, self.device = spec, run_dir, threads, device
        self.ranks, self.settings = ranks, settings
        self.corpus = Corpus.open(manifest, spec.data.max_validation_tokens)
        self.identity = {"spec_sha256": spec.sha256, "data_sha256": self.corpus.manifest.sha256}
        aside = take_folder(run_dir, spec, self.identity) if ranks.leads else None
        self.journal = Journal(run_dir, spec.id, silent=not ranks.leads)
        self.hardware = hardware.describe(device, spec.precision, threads, machine)
        self.ledger = accounting.Ledger(began)
        self.started = utc_now()
        self.warnings: list[str] = []
        engine = choose_engine(device, settings, compile_cache)
        sharding = choose_sharding(settings.sharding, spec.model, ranks.world, device)
        self.sharding = sharding.kind
        self.trainer = Trainer(spec, device, ranks, engine, sharding)
        self.saver = Saver(
            run_dir / "checkpoints",
            leads=ranks.leads,
            group=ranks.background,
            keep=settings.keep_checkpoints,
        )
        self.step = 0
        rates = accounting.Rates(spec, self.hardware, ranks.world.size)
        self.meter = Meter(self.trainer, self.corpus, rates, self.journal, settings.max_skipped_steps)
        if aside:
            self.warnings.append(f"the spec or the data changed: earlier files are in {aside.name}/")
        if self.hardware.peak_flops_per_second is None:
            self.warnings.append(f"no peak FLOP/s, so no MFU: {self.hardware.source}")

    def begin(self, fork: Path | None) -> None:
        """Take over the newest complete checkpoint, or else the fork's, and log how the attempt begins."""
        checkpoint = self.find_checkpoint()
        warnings = self.warnings
        found = read_fork(fork, self.spec, self.identity["data_sha256"]) if fork else None
        self.parent = found.parent if found else None
        if checkpoint is None:
            self.journal.write("start", **self.identity, began=self.ledger.begin)
            if found:
                self.branch_off(found)
        else:
            log, saved = self.journal.path, checkpoint.state["time"]
            lost = working_seconds(read_events(log), saved) if self.ranks.leads else 0.0
            self.take_over(checkpoint)
            self.ledger.add("lost", lost)
            resumed = {"step": self.step, "lost_seconds": lost, "began": self.ledger.begin}
            self.journal.write("resume", **self.identity, **resumed)
            self.journal.say(f"resumed at step {self.step}/{self.spec.recipe.steps}")
        for text in warnings:
            self.journal.warn(text)

    def find_checkpoint(self) -> Checkpoint | None:
        """The newest usable checkpoint; the first rank chooses it for all."""
        checkpoint = None
        if self.ranks.leads:
            checkpoint, problems = newest_checkpoint(self.run_dir / "checkpoints")
            self.warnings += [f"checkpoint not used: {problem}" for problem in problems]
            if checkpoint and any(checkpoint.state[key] != value for key, value in self.identity.items()):
                self.warnings.append("checkpoint not used: it is of another spec or of other data")
                checkpoint = None
        found: Checkpoint | None = self.ranks.tell(checkpoint)
        return found

    def branch_off(self, fork: Fork) -> None:
        """Go on from the end of a trunk, whose steps become this run's history; its seconds stay its own."""
        self.load(fork.checkpoint)
        self.journal.write_many("step", [record | {"inherited": True} for record in fork.steps])
        self.journal.say(f"branched off {fork.parent.path} at step {self.step}/{self.spec.recipe.steps}")

    def load(self, checkpoint: Checkpoint) -> None:
        """Set the tensors and the step to what was saved."""
        tensors = self.trainer.state()
        read_tensors(checkpoint.path, tensors, self.ranks.background)
        self.trainer.load_state(tensors)
        self.step = checkpoint.state["step"]

    def take_over(self, checkpoint: Checkpoint) -> None:
        """Set tensors, step, ledger, counts and warnings to what was saved."""
        self.load(checkpoint)
        state = checkpoint.state
        self.ledger = accounting.Ledger(self.ledger.begin, state["seconds"])
        self.started = state["started"]
        self.meter.health = state["health"]
        self.warnings = state["warnings"] + [w for w in self.warnings if w not in state["warnings"]]
        if state["accelerators"] == self.ranks.world.size:  # else the share is another, and so is what fits
            self.trainer.micro_batch = state["micro_batch_sequences"]
            self.trainer.model.recompute = state["recompute"]

    def fit(self) -> None:
        """Settle the micro-batch: as set, as an earlier attempt found, or the largest that fits."""
        share = self.spec.recipe.phases[0].sequences // self.ranks.world.size
        trainer, wanted = self.trainer, self.settings.micro_batch_sequences
        if wanted:
            if share % wanted:
                raise ValueError(
                    f"{self.spec.id}: execution.micro_batch_sequences {wanted} does not divide the {share} "
                    f"sequences of a rank: use a divisor of {share}, or 0 to have it found"
                )
            trainer.micro_batch = wanted
        elif self.device.type == "cuda" and trainer.micro_batch is None:
            with self.ledger.timed("startup"):
                self.fit_memory()

    def fit_memory(self) -> None:
        """Try the phase with the longest sequences; ranks go on with the smallest micro-batch of all."""
        phase = max(self.spec.recipe.phases, key=lambda phase: phase.positions * phase.bag_size)
        place = Place(0, phase, 0, 0, 0, False)
        batch = read_batch(self.corpus, self.spec, place, self.device, self.ranks.world)
        fit_memory(self.trainer, *batch)
        self.trainer.micro_batch = -self.ranks.largest(-(self.trainer.micro_batch or 1))
        self.trainer.model.recompute = bool(self.ranks.largest(int(self.trainer.model.recompute)))

    def train_steps(self, stop: StopSignal, checkpoint_seconds: float, log_seconds: float) -> None:
        """All remaining steps, with checkpoints on the clock, at phase switches and at the end."""
        self.fit()
        saved = logged = time.monotonic()
        first, total = self.step, self.spec.recipe.steps
        feed = Feed(self.corpus, self.spec, self.device, self.ranks.world, first)
        self.mark = self.meter.clock.mark()
        for place in feed:
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
                self.report_save(self.saver.done())
                logged = now
            if due:
                self.mark = self.meter.clock.mark()
            if place.first:
                self.journal.write("phase", step=place.step, phase=place.phase.name)
            self.take_step(place, feed)
        if first < total:
            self.save(stop)

    def take_step(self, place: Place, feed: Feed) -> None:
        """One optimizer step; what it measured stays on the device until the meter is read."""
        ticks: list[tuple[str, Any]] = []
        start, mark = self.mark, self.meter.clock.mark

        def tick(cause: str) -> None:
            ticks.append((cause, mark()))

        tick("stall")
        self.trainer.seed_step(place.step)
        batch = feed.batch(place)
        tick("data")
        metrics = self.trainer.gradients(*batch, tick)
        if self.ranks.several:
            self.trainer.average_gradient()
            tick("communication")
        metrics = self.trainer.update(metrics, place.step)
        tick("optimizer")
        self.meter.add(Step(place, metrics, start, ticks))
        self.mark = ticks[-1][1]
        self.step = place.step + 1

    def save(self, stop: StopSignal) -> None:
        """Flush, and begin to save the steps done so far; leaves the process if asked to stop.

        Raises:
            SystemExit: with status 75 after SIGTERM or SIGUSR2, on whichever rank.
        """
        self.meter.flush(self.ledger)
        with self.ledger.timed("checkpoint"):
            self.report_save(self.saver.start(self.step, self.trainer.state(), self.position()))
            number = self.ranks.largest(stop.number)
            if number:
                self.report_save(self.saver.wait())
        if number:
            name = signal.Signals(number).name
            self.journal.write("stopped", step=self.step, signal=name)
            self.journal.say(f"{name}: saved step {self.step}, stopping")
            raise SystemExit(EXIT_STOPPED)

    def position(self) -> dict[str, Any]:
        """Where the run is, beside its tensors."""
        return {
            **self.identity,
            "step": self.step,
            "time": time.time(),
            "started": self.started,
            "seconds": self.ledger.totals(),
            "health": copy.deepcopy(self.meter.health),
            "accelerators": self.ranks.world.size,
            "micro_batch_sequences": self.trainer.micro_batch,
            "recompute": self.trainer.model.recompute,
            "warnings": list(self.warnings),
        }

    def report_save(self, outcome: Outcome | None) -> None:
        """Say how a save ended. One that failed costs no more than the steps since the one before."""
        if outcome is None:
            return
        if outcome.problem is None:
            tell_progress(f"step {outcome.step} of {self.spec.recipe.steps}")
            name = checkpoint_path(self.run_dir, outcome.step).name
            self.journal.write("checkpoint", step=outcome.step, path=name, seconds=outcome.seconds)
            return
        warning = (
            f"checkpoint of step {outcome.step} could not be written ({outcome.problem}); "
            "training goes on, and the one before it stays"
        )
        self.warnings.append(warning)
        self.journal.warn(warning)

    def evaluate(self) -> dict[str, DomainLoss]:
        """Held-out loss of every domain that the target loss weights."""
        with self.ledger.timed("evaluation"):
            losses = {
                domain: evaluate(self.trainer, self.corpus.validation(domain))
                for domain in self.spec.data.domain_weights
            }
        nats = {domain: loss.nats_per_token for domain, loss in losses.items()}
        self.journal.write("evaluation", step=self.step, losses=nats)
        self.report_save(self.saver.done())
        return losses

    def finish(self, losses: dict[str, DomainLoss] | None) -> Path:
        """Write result.json, last and atomically; returns its path.

        Args:
            losses: by domain; None for a segment of a trunk.
        """
        with self.ledger.timed("checkpoint"):
            self.report_save(self.saver.wait())
        folder = RunFolder(self.run_dir)
        peak_memory = self.ranks.largest(hardware.peak_memory_bytes(self.device))
        hostnames = self.ranks.gather(socket.gethostname())
        saved = checkpoint_path(folder.checkpoints, self.step)
        if losses is None and not saved.exists():
            raise OSError(
                f"{self.spec.id}: its end could not be saved, and branches need it: see the warnings"
            )
        if self.ranks.leads:
            result = self.result(losses, peak_memory, hostnames)
            result.write(folder.result)
            self.journal.write("end", **result.ended().model_dump(mode="json"))
            score = "" if result.loss is None else f": loss {result.loss:.4f} nats per token"
            self.journal.say(f"done{score}")
        return folder.result

    def result(
        self, losses: dict[str, DomainLoss] | None, peak_memory_bytes: int, hostnames: list[str]
    ) -> Result:
        """Everything result.json holds; memory is that of the rank that used most."""
        records = read_events(self.journal.path)
        trainer, accelerators = self.trainer, self.ranks.world.size
        share = self.spec.recipe.phases[-1].sequences // accelerators
        return make_result(
            self.spec,
            self.corpus,
            self.hardware,
            steps_of(records),
            losses,
            accelerators=accelerators,
            engine=EngineUsed(
                compiled=trainer.engine.compiles,
                sharding=self.sharding,
                micro_batch_sequences=trainer.micro_batch or share,
                activations_recomputed=trainer.model.recompute,
            ),
            health=Health.model_validate(self.meter.health),
            seconds=Seconds.model_validate(self.ledger.totals()),
            peak_memory_bytes=peak_memory_bytes,
            restarts=restarts(records),
            warnings=self.warnings,
            lineage=trace(
                self.spec,
                self.corpus,
                self.hardware,
                self.threads,
                hostnames,
                self.started,
                self.parent,
            ),
        )
