"""One run from start, or from its newest checkpoint, to result.json.

A run's folder holds spec.json, events.jsonl (append-only), log.txt, checkpoints/ and, written last and
atomically, result.json. Killing the process at any moment loses no more than the steps since the last
checkpoint, and the run that goes on gives the same losses bit for bit (same machine, same threads).

Read `train` first: it is the life of a run in six lines. Several ranks (`distributed.py`) go through the same
code in step; the first reads and writes the folder.
"""

from __future__ import annotations

import math
import signal
import socket
import time
from contextlib import nullcontext
from pathlib import Path

import psutil

from stepladder.data.manifest import parse
from stepladder.data.verification import verify_once
from stepladder.record.checkpoints import checkpoint_path, kept_steps
from stepladder.record.curve import Curve
from stepladder.record.events import read_log, restarts, steps_of
from stepladder.record.folder import holds_result, sole_training
from stepladder.record.pace import told_steps
from stepladder.record.passes import Limit
from stepladder.record.paths import RunFolder
from stepladder.record.result import EngineUsed, Health, Result, Seconds
from stepladder.record.spec import TRUNK, RunSpec
from stepladder.schema.execution import EngineOptions
from stepladder.training.attempt import Attempt, check_data, prepare
from stepladder.training.checkpoint import Outcome
from stepladder.training.device import keep_freed_memory, peak_memory_bytes, pick_device
from stepladder.training.distributed import World, check_shares
from stepladder.training.engine import settle_micro_batch
from stepladder.training.evaluate import DomainLoss, evaluate
from stepladder.training.health import slow_warning
from stepladder.training.lineage import trace
from stepladder.training.looks import Looks
from stepladder.training.meter import Meter
from stepladder.training.prefetch import Prefetch
from stepladder.training.process import configure_process
from stepladder.training.process_group import device_of, join
from stepladder.training.progress import Progress, begin, checkpoint_state
from stepladder.training.result import make_result
from stepladder.training.step import take_step
from stepladder.training.stop import EXIT_STOPPED, StopSignal, tell_progress, was_restarted

NO_LOOKS = Curve(0, 0, 0.0)

NOTHING, FLUSH, SAVE = 0, 1, 2
"""What can be due between two steps; ranks do what the most pressed one needs."""


def train(
    spec: RunSpec,
    manifest: Path,
    run_dir: Path,
    machine: Path | None = None,
    *,
    threads: int = 1,
    device: str = "auto",
    options: EngineOptions | None = None,
    compile_cache: Path | None = None,
    fork: Path | None = None,
    curve: Curve = NO_LOOKS,
    log_seconds: float = 5.0,
    max_epochs: Limit = math.inf,
    whole: bool = False,
) -> Path:
    """Train, evaluate and write result.json; goes on from the newest complete checkpoint.

    If a launcher started this process as one of several ranks, they train together.

    Files of an earlier run with another spec or other data are moved aside to `superseded-<hash>`. A run that
    had ended is trained again from step 0, unless its scheduler starts the same job again.

    Args:
        manifest: the shards' manifest.json.
        run_dir: the run's folder; made if it is missing.
        machine: machine.json of `stepladder calibrate`, for the peak of a CPU.
        options: of the engine; the defaults if None.
        compile_cache: folder where compiled code is kept between runs.
        fork: result.json of the segment of a trunk that this run goes on from.
        curve: how often to look at held-out loss on the way.
        log_seconds: time between progress lines; step records are flushed as often.
        max_epochs: passes over the training text above which the run is refused.
        whole: whether it is refused where held-out text would be cut.

    Returns:
        Path of result.json.

    Raises:
        Held: another process trains in this folder.
        DataError: the data are not what their manifest describes, or not for this run.
        NonFiniteLoss: more losses or gradients than allowed became infinite or NaN.
        ValueError: MFU came out above 1, so the peak is wrong; or the ranks cannot share a batch equally.
        SystemExit: with status 75 after SIGTERM or SIGUSR2, once a checkpoint is saved.
    """
    if was_restarted() and holds_result(run_dir, spec):  # stopped between its last line and its end
        return RunFolder(run_dir).result
    stop, began = StopSignal(), psutil.Process().create_time()
    configure_process(threads)
    keep_freed_memory()
    world = World.from_environment()
    check_shares(spec, world)
    own = device_of(world, pick_device(device))
    check_data(spec, parse(manifest), manifest, max_epochs, whole)
    checked = verify_once(manifest)  # before ranks meet: those of the quicker machine would not wait an hour
    alone = sole_training(run_dir) if world.rank == 0 else nullcontext()
    with alone, join(world, own) as ranks:
        attempt = prepare(
            spec,
            manifest,
            run_dir,
            machine,
            threads=threads,
            device=own,
            ranks=ranks,
            options=options or EngineOptions(),
            compile_cache=compile_cache,
            checked=checked,
        )
        progress = begin(attempt, fork, began)
        settle_micro_batch(attempt.trainer, attempt.options, attempt.corpus)
        progress.account.add("startup", time.time() - began)
        take_steps(attempt, progress, stop, log_seconds, Looks(attempt, curve, manifest))
        losses = None if spec.budget == TRUNK else evaluate_domains(attempt, progress)
        return finish(attempt, progress, losses)


def take_steps(
    attempt: Attempt, progress: Progress, stop: StopSignal, log_seconds: float, looks: Looks
) -> None:
    """All remaining steps, with checkpoints on the clock, at phase switches and at the end.

    Raises:
        SystemExit: see `save`.
    """
    spec, ranks, account = attempt.spec, attempt.ranks, progress.account
    saved = logged = time.monotonic()
    first, kept = progress.step, kept_steps(spec, attempt.options.keep)
    batches = Prefetch(attempt.corpus, spec, attempt.device, ranks.world, first)
    meter = Meter(
        attempt.trainer,
        attempt.corpus,
        attempt.throughput,
        attempt.journal,
        account,
        progress.health,
        attempt.options.max_skipped_steps,
    )
    for place in batches:
        now = time.monotonic()
        due = FLUSH if now - logged > log_seconds else NOTHING
        late = now - saved > attempt.options.checkpoint_seconds
        if stop.number or late or (place.step > first and (place.first or place.step in kept)):
            due = SAVE
        due = ranks.largest(due)
        if due == SAVE:
            save(attempt, progress, meter, stop)
            saved = time.monotonic()
        elif due == FLUSH:
            meter.flush()
            report_save(attempt, progress, attempt.saver.done())
            logged = now
        if due:
            meter.restart()
        if place.first:
            attempt.journal.write("phase", step=place.step, phase=place.phase.name)
        take_step(attempt.trainer, batches, meter, place)
        progress.step = place.step + 1
        attempt.average.after(progress.step)
        if progress.step in looks.steps:
            meter.flush()
            with progress.account.timed("evaluation"):
                looks.look(place)
            meter.restart()
    if first < spec.recipe.steps:
        save(attempt, progress, meter, stop)


def save(attempt: Attempt, progress: Progress, meter: Meter, stop: StopSignal) -> None:
    """Flush, and begin to save the steps done so far; leaves the process if asked to stop.

    Raises:
        SystemExit: with status 75 after SIGTERM or SIGUSR2, on whichever rank.
    """
    meter.flush()
    saver = attempt.saver
    with progress.account.timed("checkpoint"):
        state = checkpoint_state(attempt, progress)
        report_save(attempt, progress, saver.start(progress.step, attempt.tensors(), state))
        number = attempt.ranks.largest(stop.number)
        if number:
            report_save(attempt, progress, saver.wait())
    if number:
        name = signal.Signals(number).name
        attempt.journal.write("stopped", step=progress.step, signal=name)
        attempt.journal.say(f"{name}: saved step {progress.step}, stopping")
        raise SystemExit(EXIT_STOPPED)


def report_save(attempt: Attempt, progress: Progress, outcome: Outcome | None) -> None:
    """Say how a save ended. One that failed costs no more than the steps since the one before."""
    if outcome is None:
        return
    if outcome.problem is None:
        tell_progress(f"step {outcome.step} of {attempt.spec.recipe.steps}")
        name = checkpoint_path(attempt.run_dir, outcome.step).name
        attempt.journal.write("checkpoint", step=outcome.step, path=name, seconds=outcome.seconds)
        return
    warning = (
        f"checkpoint of step {outcome.step} could not be written ({outcome.problem}); "
        "training goes on, and the one before it stays"
    )
    progress.warnings.append(warning)
    attempt.journal.warn(warning)


def evaluate_domains(attempt: Attempt, progress: Progress) -> dict[str, DomainLoss]:
    """Held-out loss of every domain that the target loss weights."""
    domains = attempt.spec.data.domain_weights
    with progress.account.timed("evaluation"):
        losses = {domain: evaluate(attempt.trainer, attempt.corpus.validation(domain)) for domain in domains}
    nats = {domain: loss.nats_per_token for domain, loss in losses.items()}
    attempt.journal.write("evaluation", step=progress.step, losses=nats)
    report_save(attempt, progress, attempt.saver.done())
    return losses


def finish(attempt: Attempt, progress: Progress, losses: dict[str, DomainLoss] | None) -> Path:
    """Write result.json, last and atomically; returns its path.

    Args:
        losses: by domain; None for a segment of a trunk.

    Raises:
        OSError: the end of a segment could not be saved.
    """
    run_dir, ranks = attempt.run_dir, attempt.ranks
    with progress.account.timed("checkpoint"):
        report_save(attempt, progress, attempt.saver.wait())
    folder = RunFolder(run_dir)
    peak_memory = ranks.largest(peak_memory_bytes(attempt.device))
    hostnames = ranks.gather(socket.gethostname())
    if losses is None and not checkpoint_path(folder.checkpoints, progress.step).exists():
        raise OSError(
            f"{attempt.spec.id}: its end could not be saved, and branches need it: see the warnings"
        )
    seconds = progress.account.totals()
    stepping = seconds["step"] + seconds["stall"]
    if warning := slow_warning(progress.health.get("slow_seconds", 0.0), stepping):
        progress.warnings.append(warning)
        attempt.journal.warn(warning)
    if ranks.leads:
        content = result(attempt, progress, losses, peak_memory, hostnames)
        content.write(folder.result)
        attempt.journal.write("end", **content.ended().model_dump(mode="json"))
        score = "" if content.loss is None else f": loss {content.loss:.4f} nats per token"
        attempt.journal.say(f"done{score}")
    return folder.result


def result(
    attempt: Attempt,
    progress: Progress,
    losses: dict[str, DomainLoss] | None,
    peak_memory_bytes: int,
    hostnames: list[str],
) -> Result:
    """Everything result.json holds; memory is that of the rank that used most."""
    spec, trainer, accelerators = attempt.spec, attempt.trainer, attempt.ranks.world.size
    records = read_log(attempt.journal.path).records
    return make_result(
        spec,
        attempt.corpus,
        attempt.hardware,
        told_steps(spec, steps_of(records)),
        losses,
        accelerators=accelerators,
        engine=EngineUsed(
            compiled=trainer.compiled,
            sharding=trainer.sharding.kind,
            micro_batch_sequences=trainer.micro_batch or spec.recipe.phases[-1].sequences // accelerators,
            activations_recomputed=trainer.model.recompute,
        ),
        health=Health(**{name: progress.health[name] for name in Health.model_fields}),  # type: ignore[literal-required]  # the same fields
        seconds=Seconds.model_validate(progress.account.totals()),
        peak_memory_bytes=peak_memory_bytes,
        restarts=restarts(records),
        warnings=progress.warnings,
        lineage=trace(
            spec,
            attempt.corpus,
            attempt.hardware,
            attempt.threads,
            hostnames,
            progress.started,
            progress.parent,
        ),
        same=attempt.same,
    )
