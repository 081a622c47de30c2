"""From what a run measured to its result. It only puts together: the numbers are made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepladder.data.batches import Corpus
from stepladder.record.check import spec_facts
from stepladder.record.checkpoints import checkpoint_path
from stepladder.record.cost import flops_until, recomputed_flops, training_flops
from stepladder.record.events import StepRecord
from stepladder.record.pace import typical_pace
from stepladder.record.passes import passes
from stepladder.record.result import (
    EngineUsed,
    Health,
    HeldOutText,
    Lineage,
    Result,
    Seconds,
)
from stepladder.record.same_document import SameDocument, within_documents
from stepladder.record.spec import RunSpec
from stepladder.training.accounting import summarise_mfu
from stepladder.training.device import Hardware
from stepladder.training.evaluate import DomainLoss, target_loss


def make_result(
    spec: RunSpec,
    corpus: Corpus,
    hardware: Hardware,
    steps: Sequence[StepRecord],
    losses: dict[str, DomainLoss] | None,
    *,
    accelerators: int,
    engine: EngineUsed,
    health: Health,
    seconds: Seconds,
    peak_memory_bytes: int,
    restarts: int,
    warnings: list[str],
    lineage: Lineage,
    same: SameDocument | None = None,
) -> Result:
    """The result of a run that has done all its steps.

    Args:
        steps: its logged steps, those that it inherited from a trunk included.
        losses: held-out, by domain; None for a segment of a trunk.
        peak_memory_bytes: of the rank that used most.
        same: how far documents of the training text reach, where attention stays within them.
    """
    recipe, pace = spec.recipe, typical_pace(spec, steps)
    flops = training_flops(spec.model, recipe)
    read = passes(spec, corpus.manifest.training_tokens)
    target = target_loss(losses, spec.data.domain_weights) if losses else None
    return Result(
        **spec_facts(spec),
        loss=target.nats_per_token if target else None,
        bits_per_byte=target.bits_per_byte if target else None,
        losses={domain: loss.nats_per_token for domain, loss in losses.items()} if losses else None,
        bits_per_byte_by_domain={d: loss.bits_per_byte for d, loss in losses.items()} if losses else None,
        validation={domain: held_out(corpus, domain) for domain in losses} if losses else None,
        training_tokens=sum(corpus.manifest.training_tokens.values()),
        passes=read.most,
        passes_by_domain=read.by_domain or None,
        hardware_flops=flops + (recomputed_flops(spec.model, recipe) * engine.activations_recomputed),
        accelerator_seconds=pace.accelerator_seconds,
        median_step_seconds=pace.median_step_seconds,
        tokens_per_second=pace.tokens_per_second,
        positions_per_second=pace.positions_per_second,
        within_documents=within_documents(spec, same) if same else None,
        mfu=summarise_mfu(spec, hardware, steps, same),
        flops_trained=flops_until(spec, recipe.steps)
        - (flops_until(spec, lineage.parent.step) if lineage.parent else 0.0),
        checkpoint=checkpoint_path(Path(), recipe.steps).name,
        accelerators=accelerators,
        engine=engine,
        health=health,
        seconds=seconds,
        goodput=seconds.step / seconds.total,
        peak_memory_bytes=peak_memory_bytes,
        restarts=restarts,
        warnings=warnings,
        lineage=lineage,
    )


def held_out(corpus: Corpus, domain: str) -> HeldOutText:
    """How much text of a domain is scored."""
    text = corpus.validation(domain)
    return HeldOutText(tokens=len(text.tokens), bytes=text.bytes, documents=text.documents)
