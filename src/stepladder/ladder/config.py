"""The ladder file: what a person writes, as pydantic models.

Every field carries its unit, meaning and default in the docstring below it; unknown keys are
errors. `stepladder.ladder.load` reads a file into these models, `stepladder.ladder.expand` turns
them into runs.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stepladder.analysis.config import AnalysisConfig
from stepladder.data.config import SourceConfig, TokenizerConfig
from stepladder.ladder.parts import Settings, available, load
from stepladder.ladder.rules import BatchRule, RateRule

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._]*(-[A-Za-z0-9._]+)*$")]
Positive = Annotated[int, Field(ge=1)]


class Width(Settings):
    """d_model as a function of depth: base + per_layer * depth, rounded to `multiple_of`."""

    per_layer: float = Field(ge=0)
    """Features per layer (nanochat: 64; MAI-Thinking-1: 256/3)."""
    base: int = Field(default=0, ge=0)
    """Features at depth 0."""
    multiple_of: Positive = 1
    """Round to the nearest multiple of this."""


class FeedForwardWidth(Settings):
    """d_ff as a function of d_model: ratio * d_model, rounded up to `multiple_of`."""

    ratio: float = Field(default=8 / 3, gt=0)
    """8/3 gives SwiGLU's three matrices the parameters of a two-matrix MLP of ratio 4 (Shazeer 2020)."""
    multiple_of: Positive = 16
    """Round up to a multiple of this; keep it a multiple of the active experts."""


class Shape(Settings):
    """Shape rule of the ladder: everything follows from depth."""

    sequence_length: Positive
    """Positions per sequence (context length)."""
    d_model: Width
    d_head: Positive
    """Smallest features per head: as many heads as divide d_model into heads at least this wide."""
    queries_per_key: Positive = 1
    """Query heads that share one key/value head (1: multi-head; more: grouped-query attention)."""
    d_ff: FeedForwardWidth = FeedForwardWidth()
    tied_embeddings: bool = False
    """Whether the output head shares the embedding's weights."""
    qk_norm: bool = True
    """RMS-normalise queries and keys per head before RoPE (Dehghani et al. 2023, arXiv 2302.05442)."""
    rope_theta: float = Field(default=10_000.0, gt=0)
    """Base of the rotary frequencies."""


class Steps(Settings):
    """A budget given as optimizer steps instead of a compute multiple."""

    steps: Positive


Budget = Annotated[float, Field(gt=0)] | Steps


class Overrides(Settings):
    """Values that replace the rules' for one rung."""

    d_model: Positive | None = None
    d_head: Positive | None = None
    n_heads: Positive | None = None
    n_kv_heads: Positive | None = None
    d_ff: Positive | None = None
    d_expert: Positive | None = None
    """Hidden width of one expert (only in ladders with an MoE architecture)."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak rate of every variant of this rung."""
    batch_sequences: Positive | None = None
    """Sequences per step."""


class Execution(Settings):
    """Where and how runs execute: not part of a run's identity."""

    accelerator: str = "cpu"
    """Name in configs/hardware.yaml; prices the plan and sets `precision: auto`."""
    accelerators_per_run: Positive = 1
    """Accelerators that train one run together, one rank each (data parallel); on `cpu`, processes."""
    nodes_per_run: Positive = 1
    """Machines that the run's accelerators are on, the same number on each."""
    threads: Positive = 1
    """CPU threads per accelerator; on CPU two one-thread runs beat one two-thread run at toy sizes."""
    parallel_runs: Positive = 2
    """Runs that execute at a time: turns accelerator-hours into wall time in the plan."""
    checkpoint_seconds: float = Field(default=60.0, gt=0)
    """Longest time between two checkpoints: the most that a kill can cost."""
    keep_checkpoints: Positive = 2
    """Newest complete checkpoints of a run that are kept."""
    max_skipped_steps: int = Field(default=5, ge=0)
    """Steps whose loss or gradient is not finite that a run skips and logs before it gives up."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Compile the layers (torch.compile). auto: on GPUs; on CPU the hand-written passes are faster."""
    sharding: Literal["auto", "none", "full", "hybrid"] = "auto"
    """Spread weights and moments over a run's accelerators (FSDP2): over all, or (hybrid) over those of a
    machine. auto: where they would fill half of one accelerator's memory."""
    micro_batch_sequences: int = Field(default=0, ge=0)
    """Sequences per accelerator that go through the model at once; gradients of the rest are added up. 0: as
    many as fit into memory, found by trying."""
    memory_mb: Positive = 1500
    """Host memory requested per node, MB."""
    runtime_minutes: Positive = 60
    """Time limit of one job, minutes. It may be shorter than the run, which then takes several jobs."""
    gpu_type: str | None = None
    """Slurm's name of the GPU type, where it has several."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    """Node features, in Slurm's syntax."""
    reservation: str | None = None
    exclusive: bool = False
    """Whether the run's nodes run nothing else."""
    slurm_extra: str | None = None
    """Any further sbatch options, as in `--nodelist=n1 --nice=100`."""

    @property
    def engine(self) -> str:
        """Settings of the training engine that are not the default, as `name=value name=value`."""
        own = {name: getattr(self, name) for name in ENGINE}
        return " ".join(f"{k}={v}" for k, v in own.items() if v != type(self).model_fields[k].default)

    @model_validator(mode="after")
    def _ranks_share_nodes(self) -> Execution:
        if self.accelerators_per_run % self.nodes_per_run:
            raise ValueError(
                f"accelerators_per_run {self.accelerators_per_run} cannot be shared equally among "
                f"nodes_per_run {self.nodes_per_run}: make it a multiple"
            )
        return self


ENGINE = ("compile", "sharding", "micro_batch_sequences", "keep_checkpoints", "max_skipped_steps")
"""Fields of `Execution` that the training engine reads."""


class ExecutionOverrides(Settings):
    """Execution fields that replace the ladder's for one rung; see `Execution`."""

    accelerators_per_run: Positive | None = None
    nodes_per_run: Positive | None = None
    threads: Positive | None = None
    checkpoint_seconds: float | None = Field(default=None, gt=0)
    keep_checkpoints: Positive | None = None
    max_skipped_steps: int | None = Field(default=None, ge=0)
    compile: Literal["auto", "always", "never"] | None = None
    sharding: Literal["auto", "none", "full", "hybrid"] | None = None
    micro_batch_sequences: int | None = Field(default=None, ge=0)
    memory_mb: Positive | None = None
    runtime_minutes: Positive | None = None
    gpu_type: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    exclusive: bool | None = None
    slurm_extra: str | None = None


class Rung(Settings):
    """One model size. `{depth: 4}` is enough; the rest follows by rule."""

    depth: Positive
    """Transformer layers: the ladder's one knob."""
    name: Name | None = None
    """Default: d<depth>."""
    seeds: tuple[int, ...] | None = Field(default=None, min_length=1)
    """Default: the ladder's seeds."""
    budgets: tuple[Budget, ...] | None = Field(default=None, min_length=1)
    """Default: the ladder's budgets."""
    set: Overrides = Overrides()
    """Derived values to override on this rung; the report lists them."""
    execution: ExecutionOverrides = ExecutionOverrides()
    """Execution fields of this rung where they differ from the ladder's."""

    @property
    def label(self) -> str:
        """The rung's name in paths and tables."""
        return self.name or f"d{self.depth}"


class LearningRate(Settings):
    """Peak learning rate: one rule for all, or one of its own for some variants."""

    default: RateRule
    by_variant: dict[Name, RateRule] = Field(default_factory=dict)
    """Variant name to rule, where a sweep showed that the optimum differs."""


class Optimizer(Settings):
    """The optimizer and its schedule."""

    name: Literal["adamw", "muon"] = "adamw"
    """muon: Muon (Jordan 2024; torch.optim.Muon) for the matrices of the layers, its updates scaled to the
    size of AdamW's, so that learning rates carry over; AdamW for embedding, head, router and norms."""
    learning_rate: LearningRate
    batch: BatchRule
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    """Global gradient norm above which gradients are scaled down."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of all steps, rising linearly from 0."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Warmup in steps; replaces `warmup_fraction`."""
    decay_fraction: float = Field(default=0.2, ge=0, le=1)
    """Share of all steps, at the end (Hägele et al. 2024, arXiv 2405.18392: 10 to 20 %)."""
    decay_shape: Literal["linear", "one_minus_sqrt"] = "one_minus_sqrt"
    trunk: bool = False
    """Train what the budgets of a (variant, rung, seed) have in common once, and branch each off where it
    begins to decay (Hägele et al. 2024). The warmup is then that of the smallest budget for all."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Learning rate at the last step, as a share of the peak."""
    precision: Literal["auto", "fp32", "bf16", "fp8"] = "auto"
    """Dtype of matrix multiplications. auto: bf16 on accelerators; on CPU fp32 below d_model 128,
    where casts cost more than bf16 saves, and bf16 from there on. fp8: dense layers in FP8, dynamic scales
    per tensor (Hopper and later); the rest in bf16."""

    @model_validator(mode="after")
    def _schedule_fits(self) -> Optimizer:
        if self.warmup_steps is None and self.warmup_fraction + self.decay_fraction > 1:
            raise ValueError(
                f"warmup_fraction {self.warmup_fraction} + decay_fraction {self.decay_fraction} exceed 1: "
                "shorten one of them"
            )
        return self


Factors = tuple[Annotated[float, Field(gt=0)], ...]


class Sweep(Settings):
    """A learning-rate (and batch) sweep on some rungs, from which the rates of the others follow."""

    rungs: tuple[Name, ...] = Field(min_length=1)
    """Labels of the rungs that are swept, all variants of each: the smallest two or three."""
    learning_rate_factors: Factors = Field(min_length=3)
    """Factors on the ruled learning rate, ascending, such that the best lies inside: [0.25, 0.5, 1, 2, 4]."""
    batch_factors: Factors = Field(default=(1.0,), min_length=1)
    """Factors on the ruled batch, ascending, 1 among them; every rate is tried with each. Other batches than
    the ruled one are reported, not applied."""
    seeds: tuple[int, ...] | None = Field(default=None, min_length=1)
    """Default: the ladder's seeds."""
    budget: Budget | None = None
    """Default: the first of the ladder's budgets."""
    apply: Literal["unswept", "all", "none"] = "unswept"
    """Which rungs train at the rates that the sweep predicts: those that are not swept; all, where swept
    rungs train once more at their predicted rate; or none, which only reports the bowls. A rung with a rate
    of its own (`set: {learning_rate: ...}`) keeps it."""
    max_uncertainty: float = Field(default=4.0, gt=1)
    """The guard on extrapolation: nothing trains at a predicted rate whose interval reaches further than
    this factor from it."""

    @model_validator(mode="after")
    def _factors_ascend(self) -> Sweep:
        for name in ("learning_rate_factors", "batch_factors"):
            values = getattr(self, name)
            if list(values) != sorted(set(values)):
                shown = ", ".join(f"{value:g}" for value in values)
                raise ValueError(f"{name} [{shown}]: write each factor once, smallest first")
        if 1.0 not in self.batch_factors:
            shown = ", ".join(f"{value:g}" for value in self.batch_factors)
            raise ValueError(f"batch_factors [{shown}]: add 1, the batch that the ladder trains with")
        return self


class Data(Settings):
    """Text, tokenizer and held-out split."""

    source: SourceConfig
    tokenizer: TokenizerConfig
    validation_fraction: float = Field(default=0.05, gt=0, lt=1)
    """Share of documents held out, by content hash."""
    degenerate: Literal["count", "drop"] = "count"
    """What becomes of documents of one character, repetitive ones and ones that are no text: the manifest and
    the report count them; `drop` also leaves them out. Limits: src/stepladder/data/quality.py."""
    max_validation_tokens: Positive = 200_000
    """Held-out tokens scored per domain."""
    domain_weights: dict[Name, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Weights of the domains' losses in the target loss; must sum to 1."""

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Data:
        total = sum(self.domain_weights.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"domain_weights sum to {total:g}: scale them to sum to 1")
        return self


class Plan(Settings):
    """Assumptions for pricing a ladder before it runs, and the limit that it must keep."""

    mfu: float = Field(default=0.4, gt=0, le=1)
    """Assumed model FLOPs utilisation."""
    flops_per_second: float | None = Field(default=None, gt=0)
    """Assumed achieved FLOP/s per accelerator; replaces peak * mfu (needed for `accelerator: cpu`)."""
    overhead_seconds_per_run: float = Field(default=10.0, ge=0)
    """Start-up and evaluation, seconds per run."""
    price_per_accelerator_hour: float | None = Field(default=None, ge=0)
    """Replaces the price in configs/hardware.yaml."""
    max_accelerator_hours: float = Field(gt=0)
    """The guard: a dearer ladder is not started."""


class Ladder(Settings):
    """A named, versioned ladder: rungs x architectures x recipes x budgets x seeds."""

    name: Name
    version: Positive = 1
    """Raise it when the ladder's meaning changes; the report prints it."""
    question: str = Field(min_length=1)
    """What this ladder is to answer, one sentence; the report's subtitle."""
    rungs: tuple[Rung, ...] = Field(min_length=1)
    architectures: dict[Name, dict[str, Any]] = Field(min_length=1)
    """Label to settings. The label names the file in `stepladder.architectures`, unless `kind:` does."""
    recipes: dict[Name, dict[str, Any]] = Field(min_length=1)
    """Label to settings. The label names the file in `stepladder.recipes`, unless `kind:` does."""
    budgets: tuple[Budget, ...] = Field(default=(1.0,), min_length=1)
    """Multiples of 20 tokens per active non-embedding parameter, or `{steps: n}`."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    learning_rate_factors: tuple[Annotated[float, Field(gt=0)], ...] = Field(default=(1.0,), min_length=1)
    """Factors on the ruled learning rate; more than one makes the ladder a sweep."""
    sweep: Sweep | None = None
    """A sweep within the ladder: the rates of the rungs that are not swept follow from it."""
    shape: Shape
    optimizer: Optimizer
    data: Data
    execution: Execution = Execution()
    plan: Plan
    analysis: AnalysisConfig

    def execution_of(self, rung: Rung) -> Execution:
        """The ladder's execution section with the rung's own fields.

        Raises:
            ValueError: the two do not fit together.
        """
        own = rung.execution.model_dump(exclude_none=True)
        return Execution.model_validate(self.execution.model_dump() | own)

    @property
    def variants(self) -> list[str]:
        """architecture-recipe, in the file's order."""
        return [f"{a}-{r}" for a in self.architectures for r in self.recipes]


def part_settings(kind: str, label: str, raw: dict[str, Any]) -> tuple[str, Any]:
    """Validate one entry of `architectures` or `recipes` against its module's `Config`.

    Returns:
        The module's name and the validated settings.

    Raises:
        ValueError: no such module.
        pydantic.ValidationError: a setting is unknown, missing or impossible.
    """
    settings = dict(raw)
    name = settings.pop("kind", label)
    if name not in available(kind):
        hint = (
            "" if "kind" in raw else f" (the label is taken as the kind; `kind: ...` tells {label!r} apart)"
        )
        raise ValueError(f"no {kind[:-1]} {name!r}{hint}; there are: {', '.join(available(kind))}")
    # Through JSON, so that lists become tuples under strict types, as in the rest of the file.
    return name, load(kind, name).Config.model_validate_json(json.dumps(settings))
