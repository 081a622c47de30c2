"""`execution:` where and how runs execute: not part of a run's identity."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from stepladder.schema.settings import Positive, Settings


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
