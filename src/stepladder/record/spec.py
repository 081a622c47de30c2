"""The resolved specification of one run: complete, typed, and its identity.

Expansion turns a ladder file into one `RunSpec` per run. It holds everything that determines
the numbers (shape, optimizer, schedule, recipe phases, data, seed, evaluation, code) and nothing
that does not (paths, threads, partition): two runs with equal specs are the same run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from stepladder.documents.document import without_none


class Spec(BaseModel):
    """Base of all resolved specs: immutable, no unknown keys, no silent type conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ModelSpec(Spec):
    """Shape of one decoder-only transformer. Widths are in features, lengths in positions."""

    architecture: str
    """Name of the module in `stepladder.architectures` that builds the feed-forward part."""
    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_ff: int
    """Hidden width of the dense SwiGLU feed-forward."""
    vocab_size: int
    sequence_length: int
    """Positions the transformer sees in an ordinary step (context length)."""
    tied_embeddings: bool
    qk_norm: bool
    rope_theta: float
    options: dict[str, Any]
    """The architecture's own settings, resolved by its `Config` (empty for dense)."""


class PhaseSpec(Spec):
    """One stretch of training steps that all read batches of the same form.

    A step processes `sequences * positions` latent positions and reads
    `sequences * positions * bag_size` tokens.
    """

    name: str
    steps: int
    bag_size: int
    """Tokens whose embeddings are averaged into one input position; 1 is ordinary training."""
    sequences: int
    positions: int
    targets: int
    """Tokens that one position predicts, from the end of its own bag on."""


class RecipeSpec(Spec):
    """How the model is trained: the phases, in order, and the recipe's own settings."""

    name: str
    """Name of the module in `stepladder.recipes`."""
    options: dict[str, Any]
    phases: tuple[PhaseSpec, ...]

    @property
    def steps(self) -> int:
        """Optimizer steps over all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def positions(self) -> int:
        """Latent positions processed over all phases; FLOPs and MFU count these."""
        return sum(p.steps * p.sequences * p.positions for p in self.phases)

    @property
    def tokens(self) -> int:
        """Raw tokens read over all phases."""
        return sum(p.steps * p.sequences * p.positions * p.bag_size for p in self.phases)


class OptimizerSpec(Spec):
    """AdamW with decoupled weight decay; decay is not applied to norms, nor to embeddings.

    With `muon`, Muon instead for the matrices of the layers, at the same rate and decay.
    """

    name: Literal["adamw", "muon"]
    learning_rate: float
    """Peak learning rate."""
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    clip_norm: float
    """Largest global gradient norm; larger gradients are scaled down to it."""


class ParametrizationSpec(Spec):
    """Size over that of the base model, by which weights and updates are scaled."""

    width: float
    """d_model over the base model's."""
    depth: float
    """Layers over the base model's; 1 where only width counts."""


class ScheduleSpec(Spec):
    """Warmup-stable-decay. Multiplier of the peak rate: linear up, flat, then down to `final`."""

    warmup_steps: int
    decay_steps: int
    decay_shape: Literal["linear", "one_minus_sqrt"]
    final: float
    """Multiplier of the peak learning rate at the last step."""


class DataSpec(Spec):
    """Which text, cut into which tokens. Every byte of the shards is checked before training
    (`stepladder.data.verification`)."""

    source: dict[str, Any]
    """The source's settings as in the ladder file (kind, paths, domains)."""
    tokenizer: dict[str, Any]
    """Tokenizer settings as in the ladder file (kind, vocabulary size)."""
    validation_fraction: float
    """Share of documents held out, chosen by content hash."""
    max_validation_tokens: int
    """Held-out tokens per domain that are scored (a fixed prefix of the validation shard)."""
    domain_weights: dict[str, float]
    """Weight of each domain's held-out loss in the target loss; they sum to 1."""
    document_attention: Literal["across", "within"] = "across"
    """Whether attention reaches into other documents of a sequence."""
    corpus: str | None = None
    """Which of the ladder's corpora; None where it has no such axis."""
    prepared: str | None = None
    """Name under which the shards lie; None for the ladder's own, in `data/`."""
    held_out: dict[str, Any] | None = None
    """Source of the held-out text, where it is another than that of training."""

    @model_serializer(mode="wrap")
    def _without_default(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What has no corpora and attends across documents is the run that it was before there were any."""
        found = without_none(fields(self), "corpus", "prepared", "held_out")
        if found["document_attention"] == "across":
            del found["document_attention"]
        return found


class MixtureStage(Spec):
    """A stretch of training steps that read the domains in one proportion."""

    steps: int
    shares: dict[str, float]
    """Of the domains in the sequences; they sum to 1. All stages name the same domains."""


TRUNK = "trunk"
"""In place of a budget: a segment of a trunk, which is trained and not evaluated."""


class RunSpec(Spec):
    """One training job. `id` is where its results live below the ladder's `runs/` folder."""

    id: str
    variant: str
    rung: str
    budget: str
    seed: int
    model: ModelSpec
    recipe: RecipeSpec
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    data: DataSpec
    precision: Literal["fp32", "bf16", "fp8"]
    """Dtype of the matrix multiplications (fp8: of the dense layers', the others in bf16); parameters and
    optimizer state are fp32."""
    learning_rate_factor: float
    """Factor on the ruled learning rate: 1 but for the runs of a learning-rate sweep."""
    budget_multiple: float
    """Training compute in multiples of 20 tokens per active non-embedding parameter."""
    overrides: tuple[str, ...]
    """Fields that the ladder file set for this rung instead of its rules; the report lists them."""
    parametrization: ParametrizationSpec | None = None
    """None: one rate for all parameters, and initial weights by fan-in alone."""
    mixture: tuple[MixtureStage, ...] | None = None
    """In order, over all steps. None: all domains in natural proportion."""
    code: str
    """Fingerprint of the modules that determine the numbers (see `stepladder.record.fingerprint`)."""

    @model_serializer(mode="wrap")
    def _without_default(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What has no parametrization or mixture is the run that it was before there were any."""
        return without_none(fields(self), "parametrization", "mixture")

    def pieces(self) -> Iterator[tuple[PhaseSpec, MixtureStage | None, int]]:
        """The phases, cut where the mixture changes, with the steps of each piece, in order."""
        stages = [(stage, stage.steps) for stage in self.mixture or ()]
        for phase in self.recipe.phases:
            todo = phase.steps
            while todo:
                stage, left = stages.pop(0) if stages else (None, todo)
                steps = min(todo, left)
                yield phase, stage, steps
                todo -= steps
                if stage is not None and left > steps:
                    stages.insert(0, (stage, left - steps))

    def to_json(self) -> str:
        """Canonical one-line JSON: sorted keys, no spaces; equal specs give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def sha256(self) -> str:
        """Hex digest of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> RunSpec:
        """Read what `to_json` wrote.

        Raises:
            pydantic.ValidationError: a field is missing, unknown or of the wrong type.
        """
        return cls.model_validate_json(text)
