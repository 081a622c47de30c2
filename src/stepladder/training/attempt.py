"""What an attempt at a run works with, made before its first step: folder, corpus, model, log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from stepladder.data.batches import Corpus
from stepladder.data.document_lengths import same_document
from stepladder.data.errors import DataError
from stepladder.data.manifest import Manifest
from stepladder.data.verification import Checked
from stepladder.record.checkpoints import kept_steps
from stepladder.record.folder import Taken, take_folder
from stepladder.record.passes import Limit, passes, repeats, tokens_by_domain, too_often
from stepladder.record.paths import RunFolder
from stepladder.record.same_document import SameDocument
from stepladder.record.spec import RunSpec
from stepladder.schema.execution import EngineOptions
from stepladder.training import device as hardware
from stepladder.training.accounting import Throughput
from stepladder.training.averaging import Average
from stepladder.training.checkpoint import Saver
from stepladder.training.device import Hardware
from stepladder.training.distributed import Ranks
from stepladder.training.engine import choose_compilation, choose_sharding
from stepladder.training.journal import Journal
from stepladder.training.lineage import utc_now
from stepladder.training.trainer import Trainer


@dataclass(frozen=True)
class Attempt:
    """One attempt at a run, from its start or a checkpoint until it ends or is stopped, on one rank."""

    spec: RunSpec
    run_dir: Path
    threads: int
    device: torch.device
    options: EngineOptions
    ranks: Ranks
    corpus: Corpus
    identity: dict[str, str]
    """`spec_sha256` and `data_sha256`: what a checkpoint must have been made from to be gone on from."""
    hardware: Hardware
    same: SameDocument | None
    """How far documents of the training text reach, where attention stays within them."""
    trainer: Trainer
    average: Average
    saver: Saver
    journal: Journal
    started: str
    """ISO 8601 in UTC."""
    warnings: tuple[str, ...]
    """What there is to say before it begins."""

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that a checkpoint holds; the tensors themselves."""
        return self.trainer.state() | self.average.state()

    @property
    def throughput(self) -> Throughput:
        """What tells the rates of a step."""
        return Throughput(self.spec, self.hardware, self.ranks.world.size, self.same)


def prepare(
    spec: RunSpec,
    manifest: Path,
    run_dir: Path,
    machine: Path | None,
    *,
    threads: int,
    device: torch.device,
    ranks: Ranks,
    options: EngineOptions,
    compile_cache: Path | None,
    checked: Checked,
) -> Attempt:
    """Open the corpus, take the run's folder, build the trainer with its first weights; see `train`."""
    corpus = Corpus.open(manifest, spec.data.max_validation_tokens, mixed_domains(spec))
    identity = {"spec_sha256": spec.sha256, "data_sha256": corpus.manifest.sha256}
    taken = take_folder(run_dir, spec, identity) if ranks.leads else Taken(None, [])
    journal = Journal(run_dir, spec.id, silent=not ranks.leads)
    described = hardware.describe(device, spec.precision, threads, machine)
    started = utc_now()
    if checked.bytes:
        journal.say(f"checked {checked.bytes:,} bytes of data in {checked.seconds:.1f} s")
    warnings = list(taken.warnings)
    if repeated := repeats(passes(spec, corpus.manifest.training_tokens)):
        warnings.append(repeated)
    if taken.aside:
        warnings.append(f"the spec or the data changed: earlier files are in {taken.aside.name}/")
    if described.peak_flops_per_second is None:
        warnings.append(f"no peak FLOP/s, so no MFU: {described.source}")
    trainer = Trainer(
        spec,
        device,
        ranks,
        compiled=choose_compilation(options, device, compile_cache),
        sharding=choose_sharding(options.sharding, spec.model, ranks.world, device),
        end_of_document=corpus.manifest.end_of_document,
    )
    return Attempt(
        spec=spec,
        run_dir=run_dir,
        threads=threads,
        device=device,
        options=options,
        ranks=ranks,
        corpus=corpus,
        identity=identity,
        hardware=described,
        same=_same_document(spec, manifest),
        trainer=trainer,
        average=Average(trainer),
        saver=Saver(
            RunFolder(run_dir).checkpoints,
            keep=options.keep_checkpoints,
            kept=kept_steps(spec, options.keep),
            leads=ranks.leads,
            group=ranks.background,
        ),
        journal=journal,
        started=started,
        warnings=tuple(warnings),
    )


def mixed_domains(spec: RunSpec) -> tuple[str, ...]:
    """The domains of a run's mixture; none where all are read in natural proportion."""
    return tuple(spec.mixture[0].shares) if spec.mixture else ()


def _same_document(spec: RunSpec, manifest: Path) -> SameDocument | None:
    if spec.data.document_attention == "across":
        return None
    longest = max(phase.positions * phase.bag_size for phase in spec.recipe.phases)
    return same_document(manifest, longest, tokens_by_domain(spec))


def check_data(spec: RunSpec, manifest: Manifest, path: Path, max_epochs: Limit, whole: bool = False) -> None:
    """Refuse data that a run cannot be trained or scored on, before it costs anything.

    Args:
        path: of the manifest, for messages.
        whole: whether all held-out text must be scored: where tokenizers differ, so many tokens end at other
            places of it.

    Raises:
        DataError: they are of another vocabulary, lack a domain, or would be read more often than allowed.
    """
    if manifest.vocab_size != spec.model.vocab_size:
        raise DataError(
            f"{path}: tokens of a vocabulary of {manifest.vocab_size:,}, and {spec.id} is of "
            f"{spec.model.vocab_size:,}: name the manifest of the run's own ladder"
        )
    if missing := [domain for domain in spec.data.domain_weights if domain not in manifest.domains]:
        raise DataError(
            f"{path}: no domain {missing[0]!r}, on which {spec.id} is scored; there are: "
            f"{', '.join(manifest.domains)}: name the manifest of the run's own ladder"
        )
    if missing := [domain for domain in mixed_domains(spec) if domain not in manifest.domains]:
        raise DataError(
            f"{path}: no domain {missing[0]!r}, which {spec.id} mixes in; there are: "
            f"{', '.join(manifest.domains)}: name the manifest of the run's own ladder"
        )
    for domain in spec.data.domain_weights if whole else ():
        held_out, most = manifest.domains[domain]["validation"].tokens, spec.data.max_validation_tokens
        if held_out > most:
            raise DataError(
                f"{spec.id}: domain {domain} has {held_out:,} held-out tokens of this tokenizer, and "
                f"data.max_validation_tokens is {most:,}: others would be scored on more text. Raise it to "
                f"{held_out} or more, or hold out less (data.validation_fraction)"
            )
    if why := too_often(passes(spec, manifest.training_tokens), max_epochs):
        raise DataError(f"{spec.id}: {why}")
