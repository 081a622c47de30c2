"""result.json: what a run was, what it scored and what that took. Written last; read by everyone.

A field's unit is the text in its annotation, its meaning the docstring below it. docs/results.md shows them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from stepladder.documents.document import Document, Part, without_none

Flops = Annotated[float, "FLOPs"]
PerSecond = Annotated[float, "1/s"]
Span = Annotated[float, "s", Field(ge=0)]


def _moment(text: str) -> str:
    datetime.fromisoformat(text)  # a ValueError that pydantic passes on
    return text


Moment = Annotated[str, AfterValidator(_moment)]
"""A time as ISO 8601 writes it."""

Cell = str | int | float | bool | None | list[Any]
"""What one column of runs.parquet may hold in a row."""

COLUMN_PREFIX = {"losses": "loss", "bits_per_byte_by_domain": "bits_per_byte"}
"""Nested fields whose columns in runs.parquet have a shorter prefix than their name."""


class ParameterCounts(Part):
    """Parameters by group."""

    embedding: int
    """parameters of the token embedding"""
    head: int
    """of the output head; 0 if it is tied to the embedding"""
    attention: int
    """of attention, all layers"""
    feed_forward_active: int
    """of feed-forward parts, all layers: what one token uses"""
    feed_forward_total: int
    """of feed-forward parts, all layers and experts"""
    router: int
    """of the routers to experts"""
    norms: int
    """gains of all norms"""
    total: int
    """all parameters that are stored"""
    active: int
    """all parameters that one token uses"""
    active_non_embedding: int
    """`active` without embedding and head: N of budgets and laws"""


class HeldOutText(Part):
    """What one domain was scored on."""

    tokens: int
    """tokens of the domain's held-out text"""
    bytes: int
    """bytes of the same text"""
    documents: int
    """documents that it is from"""


class Mfu(Part):
    """Model FLOP/s ÷ the accelerators' dense peak, over the logged steps."""

    median: float
    """median over the logged steps"""
    p10: float
    """10th percentile of the logged steps"""
    p90: float
    """90th percentile of the logged steps"""
    convention: str
    """how attention is counted in these three: causal; or causal, within documents"""
    palm_median: float
    """the median with PaLM's full square of attention, as in most published figures"""
    peak_flops_per_second: Annotated[float, "FLOP/s"]
    """dense peak of one accelerator"""
    dtype: str
    """dtype of the matrix products, and of the peak: fp32, bf16 or fp8"""
    peak_source: str
    """where the peak is from"""


class WithinDocuments(Part):
    """What attention within documents leaves to compute: expected, from the lengths of the training
    documents."""

    attention_share: float
    """positions that are attended to ÷ those of causal attention, over layers and steps"""
    flops: Flops
    """`flops`, with attention counted within documents: what MFU goes by"""


class EngineUsed(Part):
    """How it was computed, in the last attempt."""

    compiled: bool
    """whether by torch.compile"""
    sharding: str
    """how weights were spread over ranks; none if each had all"""
    micro_batch_sequences: int
    """sequences per forward pass of a rank"""
    activations_recomputed: bool
    """whether the layers' forward passes were done again for the backward pass"""


class Health(Part):
    """Steps that stood out; events.jsonl has each."""

    spikes: int
    """steps whose loss or gradient norm stood out"""
    skipped_steps: int
    """steps that were not finite, and left out by the optimizer"""
    slow_steps: int
    """steps that took far longer than usual"""
    notes: list[str]
    """the first of them, in words"""


class Seconds(Part):
    """Wall time of all attempts by cause, as the first rank saw it."""

    startup: Span
    """from the process's begin to the first step"""
    data: Span
    """getting batches"""
    forward: Span
    """forward passes"""
    backward: Span
    """backward passes"""
    communication: Span
    """reduction of gradients over ranks, waiting for the slowest included"""
    optimizer: Span
    """updates of the weights"""
    stall: Span
    """between two steps with nothing to save or log"""
    checkpoint: Span
    """waiting for saves; what is written beside the training is not in it"""
    evaluation: Span
    """scoring held-out text"""
    lost: Span
    """work that a kill threw away"""
    step: Span
    """data, forward, backward, communication and optimizer together"""
    other: Span
    """what none of the causes explains"""
    total: Span
    """all wall time of all attempts"""


class Machine(Part):
    """What it ran on."""

    cpu: str
    """name of the processor"""
    cores: int
    """cores that the process may use"""
    accelerator: str | None
    """name of the GPU; null on a CPU"""


class Parent(Part):
    """The segment of a trunk that a run branched off."""

    path: str
    """path of its result.json, from the folder that training was started in"""
    spec_sha256: str
    """hash of its spec"""
    step: int
    """steps taken over from it"""


class Lineage(Part):
    """What the result was made from."""

    code_commit: str | None
    """commit of the checkout; null outside of one"""
    code_dirty: bool | None
    """whether its files differed from the commit"""
    code_fingerprint: str
    """fingerprint of the code that determines the numbers, as in the spec"""
    packages: dict[str, str]
    """versions of packages that can change the numbers"""
    python: str
    """version of Python"""
    hardware: Machine
    """what it ran on"""
    threads: int
    """CPU threads"""
    data_sha256: str
    """hash of the token shards"""
    data_description: str
    """where the text is from, in words"""
    hostname: str
    """machine of the first rank"""
    hostnames: list[str] | None = None
    """machines of all ranks in their order; only there if the ranks are several"""
    slurm_job_id: str | None
    """id of the job, with the array task if it is one; null without Slurm"""
    started: Moment
    """when the first attempt began, ISO 8601 in UTC"""
    finished: Moment
    """when the result was written, likewise"""
    parent: Parent | None
    """the segment of a trunk that it branched off, if any"""

    @model_serializer(mode="wrap")
    def _leave_out(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_none(serialize(self), "hostnames")


class Ended(BaseModel):
    """The `end` record of a log: what of a result `stepladder mfu` reads. Results go when a run is trained
    again, logs stay. Earlier versions may have told more, or fewer settings of the engine."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    loss: float | None
    mfu: Mfu | None
    tokens_per_second: float
    median_step_seconds: dict[str, float]
    accelerators: int
    engine: dict[str, JsonValue]
    peak_memory_bytes: int
    goodput: float
    code_commit: str | None
    code_dirty: bool | None
    code_fingerprint: str
    packages: dict[str, str]
    hardware: Machine
    threads: int
    seconds: float
    """Of all attempts together."""


class Result(Document):
    """What a run was, what it scored, and what that took."""

    REMEDY: ClassVar[str] = "remove it and run snakemake again, which trains the run again"

    id: str
    """which run; where it lies below `runs/`, or for a segment of a trunk below `trunks/`"""
    variant: str
    """architecture and recipe"""
    architecture: str
    """how a token is processed"""
    recipe: str
    """how the model is trained"""
    corpus: str | None = None
    """which text it is trained on, of a ladder with corpora"""
    prepared: str | None = None
    """name under which its shards lie below `corpora/`; not there: `data/`"""
    rung: str
    """which size"""
    depth: int
    """layers"""
    budget: str
    """name of the training compute; `trunk` for a segment of a trunk"""
    budget_multiple: float
    """training compute in multiples of 20 tokens per active non-embedding parameter"""
    seed: int
    """seed of weights and data order"""
    learning_rate: float
    """peak rate"""
    learning_rate_factor: float
    """its factor on the ruled one, in a sweep or by its outcome"""
    spec_sha256: str
    """hash of `spec.json`"""
    parameters: ParameterCounts
    """parameters by group"""
    loss: Annotated[float | None, "nats/token"]
    """**target loss**: weighted mean of the domains' held-out losses, which laws are fitted to; null for a
    segment of a trunk, which is not evaluated and has none of the four after it"""
    bits_per_byte: Annotated[float | None, "bits/byte"] = None
    """the same in units that compare across tokenizers: nats / (bytes · ln 2)"""
    losses: Annotated[dict[str, float] | None, "nats/token"] = None
    """held-out loss by domain"""
    bits_per_byte_by_domain: Annotated[dict[str, float] | None, "bits/byte"] = None
    """the same by domain"""
    validation: dict[str, HeldOutText] | None = None
    """what was scored, by domain"""
    steps: int
    """optimizer steps"""
    positions: int
    """positions that the transformer processed; FLOPs and MFU count these"""
    tokens: int
    """raw tokens read; TST reads `bag_size` per position while superposed"""
    training_tokens: int | None = None
    """tokens of the corpus that runs read, all domains; not in results of older versions"""
    passes: float | None = None
    """how often the run read its text: `tokens` ÷ `training_tokens`, each domain alike, or with a mixture
    those of the domain that it read most often; above 1 text was repeated; not in older results"""
    passes_by_domain: dict[str, float] | None = None
    """the same of each domain of a mixture"""
    flops: Flops
    """model training FLOPs with the causal attention count"""
    flops_palm: Flops
    """the same with PaLM's full square of attention"""
    hardware_flops: Flops
    """`flops`, and what was computed again for the backward pass"""
    within_documents: WithinDocuments | None = None
    """what of it is computed where attention stays within documents; only there if it does"""
    flops_formula: str
    """version of the formulas of FLOPs"""
    accelerator_seconds: Span
    """steps × median step time × accelerators, over phases: the cost on the time axis; no start-up,
    evaluation or checkpoints"""
    median_step_seconds: Annotated[dict[str, float], "s"]
    """median time of a step, by phase of the recipe"""
    tokens_per_second: PerSecond
    """raw tokens ÷ typical time of all steps"""
    positions_per_second: PerSecond
    """positions ÷ typical time of all steps"""
    mfu: Mfu | None
    """model FLOP/s ÷ the accelerators' dense peak; null if the peak is unknown"""
    flops_trained: Flops
    """model training FLOPs that this job spent itself: less than `flops` for a branch of a trunk"""
    checkpoint: str
    """name of the last checkpoint"""
    accelerators: int
    """accelerators that trained it together: 1, or the number of ranks (of the last attempt)"""
    engine: EngineUsed
    """how it was computed"""
    health: Health
    """steps that stood out"""
    seconds: Seconds
    """wall time of all attempts by cause; see [training.md](training.md)"""
    goodput: float
    """seconds in steps ÷ all seconds of the run"""
    peak_memory_bytes: Annotated[int, "B"]
    """peak memory of the process, or of the device, of the rank that used most"""
    restarts: int
    """times that it went on from a checkpoint after a stop"""
    warnings: list[str]
    """what went wrong on the way"""
    lineage: Lineage
    """what it was made from"""

    @model_serializer(mode="wrap")
    def _leave_out(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        scores = ("bits_per_byte", "losses", "bits_per_byte_by_domain", "validation")
        data = ("corpus", "prepared", "training_tokens", "passes", "passes_by_domain", "within_documents")
        return without_none(serialize(self), *scores, *data)

    def row(self) -> dict[str, Cell]:
        """The run's row of runs.parquet: nested names joined by `_`; what is null stays one null column."""
        return _flat(self.model_dump(mode="json", exclude={"schema_version"}))

    def ended(self) -> Ended:
        """What the last record of the run's log says of it."""
        told = self.model_dump(include={*Ended.model_fields} - {"seconds"})
        return Ended(**told | self.lineage.model_dump(), seconds=self.seconds.total)


def _flat(fields: dict[str, Any]) -> dict[str, Cell]:
    row: dict[str, Cell] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            prefix = COLUMN_PREFIX.get(name, name)
            row |= {f"{prefix}_{inner}": cell for inner, cell in _flat(value).items()}
        else:
            row[name] = value
    return row
