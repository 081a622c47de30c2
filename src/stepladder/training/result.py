"""result.json: what a run was and what it scored."""

from __future__ import annotations

from typing import Any

from stepladder.data.batches import Corpus
from stepladder.record.cost import parameters
from stepladder.record.spec import RunSpec
from stepladder.training.evaluate import DomainLoss


def identify(spec: RunSpec) -> dict[str, Any]:
    """Fields that say which run it was."""
    return {
        "id": spec.id,
        "variant": spec.variant,
        "architecture": spec.model.architecture,
        "recipe": spec.recipe.name,
        "rung": spec.rung,
        "depth": spec.model.n_layers,
        "budget": spec.budget,
        "budget_multiple": spec.budget_multiple,
        "seed": spec.seed,
        "learning_rate": spec.optimizer.learning_rate,
        "learning_rate_factor": spec.learning_rate_factor,
        "spec_sha256": spec.sha256,
        "parameters": parameters(spec.model).as_dict(),
    }


def score(spec: RunSpec, corpus: Corpus, losses: dict[str, DomainLoss]) -> dict[str, Any]:
    """Target loss (weighted mean over domains) and the losses by domain, with what they were taken on."""
    weights = spec.data.domain_weights
    held_out = {domain: corpus.validation(domain) for domain in weights}
    return {
        "loss": sum(weight * losses[domain].nats_per_token for domain, weight in weights.items()),
        "bits_per_byte": sum(weight * losses[domain].bits_per_byte for domain, weight in weights.items()),
        "losses": {domain: loss.nats_per_token for domain, loss in losses.items()},
        "bits_per_byte_by_domain": {domain: loss.bits_per_byte for domain, loss in losses.items()},
        "validation": {
            domain: {"tokens": len(text.tokens), "bytes": text.bytes, "documents": text.documents}
            for domain, text in held_out.items()
        },
    }


TOLD_AT_THE_END = (
    "loss",
    "mfu",
    "tokens_per_second",
    "median_step_seconds",
    "accelerators",
    "engine",
    "peak_memory_bytes",
    "goodput",
)
"""Fields of a result that the last record of a run's log repeats: results go when a run is trained again,
logs stay."""

TOLD_OF_LINEAGE = ("code_commit", "code_dirty", "code_fingerprint", "packages", "hardware", "threads")
"""And of its lineage."""


def end_record(result: dict[str, Any]) -> dict[str, Any]:
    """Fields of the `end` record of a run's log; `stepladder mfu` reads them."""
    lineage = {name: result["lineage"][name] for name in TOLD_OF_LINEAGE}
    told = {name: result[name] for name in TOLD_AT_THE_END}
    return told | lineage | {"seconds": result["seconds"]["total"]}
