"""Whether a result is what its spec, its plan and its log say: nothing edited, nothing from elsewhere.

What a spec determines is computed again, and what a run measured is compared with its log, which was written
before the result. Shows accidents and careless edits; a forger who changes all files alike is not found out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from math import isclose, log
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from stepladder.record.checkpoints import checkpoint_path
from stepladder.record.cost import (
    FLOPS_FORMULA,
    flops_until,
    parameters,
    recomputed_flops,
    training_flops,
)
from stepladder.record.events import Record, StepRecord, history, restarts, steps_of
from stepladder.record.pace import lost_phase, mfu_spread, told_steps, typical_pace
from stepladder.record.paths import LadderFolder, RunFolder
from stepladder.record.plan import PlannedRun
from stepladder.record.result import ParameterCounts, Result
from stepladder.record.same_document import attention_flops
from stepladder.record.spec import TRUNK, RunSpec

SAME = 1e-9
"""Relative difference of numbers that are sums of the same numbers in another order."""


FIGURES = ("loss", "accelerators", "tokens_per_second", "median_step_seconds", "goodput", "peak_memory_bytes")
"""What every version's last record of a log told; of code, machine and engine some told more than others."""


class WrongResult(ValueError):
    """A result that must not be used; the message names file, field, both values and the remedy."""


def spec_facts(spec: RunSpec) -> dict[str, object]:
    """The fields of a result that its spec determines."""
    recipe = spec.recipe
    return {
        "id": spec.id,
        "variant": spec.variant,
        "architecture": spec.model.architecture,
        "recipe": recipe.name,
        "corpus": spec.data.corpus,
        "prepared": spec.data.prepared,
        "rung": spec.rung,
        "depth": spec.model.n_layers,
        "budget": spec.budget,
        "budget_multiple": spec.budget_multiple,
        "seed": spec.seed,
        "learning_rate": spec.optimizer.learning_rate,
        "learning_rate_factor": spec.learning_rate_factor,
        "spec_sha256": spec.sha256,
        "parameters": ParameterCounts(**parameters(spec.model).as_dict()),
        "steps": recipe.steps,
        "positions": recipe.positions,
        "tokens": recipe.tokens,
        "flops": training_flops(spec.model, recipe),
        "flops_palm": training_flops(spec.model, recipe, "palm"),
        "flops_formula": FLOPS_FORMULA,
    }


def read_spec(folder: RunFolder, planned: PlannedRun | None = None) -> RunSpec:
    """The spec beside a result, which must be the planned one where the plan knows it.

    Raises:
        WrongResult: it is missing, no spec, or another one.
    """
    try:
        spec = RunSpec.from_json(folder.spec.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise _wrong(
            folder.spec, "the file", _first_line(error), "a spec is there in the folder of every run"
        ) from None
    if planned is not None:
        told = {"id": planned.id, "sha256": planned.spec_sha256 or spec.sha256}
        for field, value in told.items():
            if (found := getattr(spec, field)) != value:
                raise _wrong(folder.spec, field, found, f"the plan says {value}")
    return spec


def check_result(
    result: Result, path: Path, spec: RunSpec, records: Sequence[Record], whole_log: bool = True
) -> None:
    """Compare a result with its spec and its log.

    Args:
        path: of the result, for messages.
        records: of its log.
        whole_log: whether all its lines are there: else medians over its steps are not compared.

    Raises:
        WrongResult: naming the first field that is not as it should be.
    """
    told = history(records)
    expected_fields = _expected(result, spec, told)
    if whole_log:
        expected_fields = chain(expected_fields, _pace(result, spec, told))
    for field, found, expected, source in expected_fields:
        if not _same(found, expected):
            raise _wrong(path, field, found, f"{source} says {expected}")


Shards = Mapping[str | None, str]
"""Fingerprints of prepared shards, by the name under which they lie; None: `data/`."""
NOTHING_KNOWN: Shards = MappingProxyType({})


def check_same_data(results: Mapping[Path, Result], shards: Shards = NOTHING_KNOWN) -> None:
    """All runs on a corpus read the same shards, those of its manifest where that is known, and all runs of a
    ladder are scored on the same text, in the same tokens where the shards are the same.

    Raises:
        WrongResult: naming the first result of other data.
    """
    firsts: dict[str | None, Path] = {}
    for path, result in results.items():
        first = firsts.setdefault(result.prepared, path)
        known = shards.get(result.prepared)
        told, source = known or results[first].lineage.data_sha256, _place(result) if known else str(first)
        if (found := result.lineage.data_sha256) != told:
            raise _wrong(path, "lineage.data_sha256", found, f"{source} says {told}")
        lengths = results[first].training_tokens
        if None not in (result.training_tokens, lengths) and result.training_tokens != lengths:
            raise _wrong(path, "training_tokens", result.training_tokens, f"{first} says {lengths}")
        scored = next(iter(results))
        if _text_of(result) != _text_of(results[scored]):
            told = f"{scored} says {results[scored].validation}"
            raise _wrong(path, "validation", result.validation, told)
        if result.validation != results[first].validation:
            told = f"{first} says {results[first].validation}"
            raise _wrong(path, "validation", result.validation, told)


def _text_of(result: Result) -> dict[str, tuple[int, int]]:
    """Bytes and documents that a run was scored on, by domain: what they are in any tokens."""
    return {domain: (text.bytes, text.documents) for domain, text in (result.validation or {}).items()}


def _place(result: Result) -> str:
    """Where a ladder keeps the manifest of the shards that a result is of."""
    return str(LadderFolder(Path()).manifest_of(result.prepared))


def _expected(
    result: Result, spec: RunSpec, records: Sequence[Record]
) -> Iterator[tuple[str, object, object, str]]:
    """Field, value, what it should be, and who says so."""
    for field, expected in spec_facts(spec).items():
        yield field, getattr(result, field), expected, "its spec.json"
    yield "lineage.code_fingerprint", result.lineage.code_fingerprint, spec.code, "its spec.json"
    yield from _identity(result, records)
    yield from _scores(result, spec, records)
    yield from _costs(result, spec)
    yield from _ended(result, records)


def _identity(result: Result, records: Sequence[Record]) -> Iterator[tuple[str, object, object, str]]:
    """The log's last attempt was at the same spec, on the same data."""
    begun = [record for record in records if record["event"] in ("start", "resume")]
    found = {"spec_sha256": result.spec_sha256, "data_sha256": result.lineage.data_sha256}
    for field, value in found.items():
        if begun and field in begun[-1]:
            where = "lineage.data_sha256" if field == "data_sha256" else field
            yield where, value, begun[-1].get(field), "its events.jsonl"


def _scores(
    result: Result, spec: RunSpec, records: Sequence[Record]
) -> Iterator[tuple[str, object, object, str]]:
    """Held-out losses are those of the log; the others follow from them."""
    evaluated = [record["losses"] for record in records if record["event"] == "evaluation"]
    if evaluated:
        yield "losses", result.losses, evaluated[-1], "its events.jsonl"
    if spec.budget == TRUNK:
        return
    scores = (result.losses, result.bits_per_byte_by_domain, result.validation)
    names = ("losses", "bits_per_byte_by_domain", "validation")
    for field, values in zip(names, scores, strict=True):
        domains = sorted(spec.data.domain_weights)
        yield field, sorted(values or ()), domains, "the domains of its spec.json"
    if result.losses is None or result.bits_per_byte_by_domain is None or result.validation is None:
        return
    for domain, nats in result.losses.items():
        text = result.validation.get(domain)
        if text is not None:
            bits = nats * text.tokens / (text.bytes * log(2))
            found = result.bits_per_byte_by_domain.get(domain)
            yield f"bits_per_byte_by_domain.{domain}", found, bits, "the domain's loss"
    weights = spec.data.domain_weights
    for field, parts in (("loss", result.losses), ("bits_per_byte", result.bits_per_byte_by_domain)):
        mean = sum(weight * parts.get(domain, float("nan")) for domain, weight in weights.items())
        yield field, getattr(result, field), mean, "the mean over its domains"


def _costs(result: Result, spec: RunSpec) -> Iterator[tuple[str, object, object, str]]:
    """What was spent follows from the spec, from where the run began, and from how it was computed."""
    again = recomputed_flops(spec.model, spec.recipe) if result.engine.activations_recomputed else 0.0
    checkpoint = checkpoint_path(Path(), spec.recipe.steps).name
    yield "checkpoint", result.checkpoint, checkpoint, "its spec.json"
    yield "goodput", result.goodput, result.seconds.step / result.seconds.total, "its seconds"
    yield "hardware_flops", result.hardware_flops, result.flops + again, "its spec.json"
    parent = result.lineage.parent
    before = flops_until(spec, parent.step) if parent else 0.0
    trained = flops_until(spec, spec.recipe.steps) - before
    yield "flops_trained", result.flops_trained, trained, "its spec.json"
    told, wanted = result.within_documents, spec.data.document_attention == "within"
    yield "within_documents", "there" if told else None, "there" if wanted else None, "its spec.json"
    if told:
        left = result.flops - (1 - told.attention_share) * attention_flops(spec)
        yield "within_documents.flops", told.flops, left, "its attention_share"
    if result.training_tokens:
        mixed = result.passes_by_domain
        read = max(mixed.values()) if mixed else result.tokens / result.training_tokens
        yield "passes", result.passes, read, "passes_by_domain" if mixed else "tokens over training_tokens"
        domains = sorted(spec.mixture[0].shares) if spec.mixture else []
        yield "passes_by_domain", sorted(mixed or ()), domains, "the mixture of its spec.json"


def _ended(result: Result, records: Sequence[Record]) -> Iterator[tuple[str, object, object, str]]:
    """The log's last word, where it was written, repeats figures of the result."""
    last = [record for record in records if record["event"] == "end"]
    if not last:
        return
    told = result.ended().model_dump(mode="json")
    for field in FIGURES:
        if field in last[-1]:
            yield field, told[field], last[-1].get(field), "the end of its events.jsonl"


def _pace(
    result: Result, spec: RunSpec, records: Sequence[Record]
) -> Iterator[tuple[str, object, object, str]]:
    """The time axis follows from the logged steps."""
    steps = told_steps(spec, steps_of(records))
    if steps and not lost_phase(spec, steps, spec.recipe.steps):
        pace = typical_pace(spec, steps)
        yield "median_step_seconds", result.median_step_seconds, pace.median_step_seconds, "its events.jsonl"
        for field in ("accelerator_seconds", "tokens_per_second", "positions_per_second"):
            yield field, getattr(result, field), getattr(pace, field), "its events.jsonl"
        yield from _mfu(result, spec, steps)
    yield "restarts", result.restarts, restarts(records), "its events.jsonl"


def _mfu(
    result: Result, spec: RunSpec, steps: Sequence[StepRecord]
) -> Iterator[tuple[str, object, object, str]]:
    """Its spread is that of the logged steps, and its two conventions differ as the spec's FLOPs do."""
    if result.mfu is None:
        return
    told = mfu_spread(steps) or (None, None, None)
    for field, expected in zip(("median", "p10", "p90"), told, strict=True):
        yield f"mfu.{field}", getattr(result.mfu, field), expected, "its events.jsonl"
    counted = result.within_documents.flops if result.within_documents else result.flops
    ratio = training_flops(spec.model, spec.recipe, "palm") / counted
    yield "mfu.palm_median", result.mfu.palm_median, result.mfu.median * ratio, "its spec.json"


def _same(found: object, expected: object) -> bool:
    """Equal, or numbers that differ by rounding alone."""
    if isinstance(found, float) and isinstance(expected, float):
        return isclose(found, expected, rel_tol=SAME)
    return found == expected


def _wrong(path: Path, field: str, found: object, told: str) -> WrongResult:
    return WrongResult(f"{path}: {field} = {found!s:.80}, but {told}: {Result.REMEDY}")


def _first_line(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else None
    return said or str(error).splitlines()[0]
