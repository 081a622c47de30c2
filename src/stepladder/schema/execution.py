"""`execution:` where and how runs execute: not part of a run's identity."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ValidationError, model_validator

from stepladder.schema import ranges
from stepladder.schema.settings import Line, Settings


class EngineOptions(Settings):
    """How the training engine executes a run. What a run trains does not depend on any of it."""

    compile: Literal["auto", "always", "never"] = "auto"
    """Compile the layers (torch.compile). auto: on GPUs; on CPU the hand-written passes are faster."""
    sharding: Literal["auto", "none", "full", "hybrid"] = "auto"
    """Spread weights and moments over a run's accelerators (FSDP2): over all, or (hybrid) over those of a
    machine. auto: where they would fill half of one accelerator's memory."""
    micro_batch_sequences: Annotated[int, ranges.MICRO_BATCH] = 0
    """Sequences per accelerator that go through the model at once; gradients of the rest are added up. 0: as
    many as fit into memory, found by trying."""
    checkpoint_seconds: Annotated[float, ranges.CHECKPOINT_SECONDS] = 60.0
    """Longest time between two checkpoints: the most that a kill can cost."""
    keep_checkpoints: Annotated[int, ranges.KEEP_CHECKPOINTS] = 2
    """Newest complete checkpoints of a run that are kept: two, in case the newest is damaged."""
    keep: tuple[Literal["phases", "log-spaced", "end"], ...] = ("end",)
    """Checkpoints that stay beside these, to be scored later: of the end of each phase, at ten steps evenly
    spaced in their logarithm, of the end of the run (which always stays)."""
    max_skipped_steps: Annotated[int, ranges.SKIPPED_STEPS] = 5
    """Steps whose loss or gradient is not finite that a run skips and logs before it gives up."""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read options as JSON; the defaults if the text is empty. `Execution.engine` gives such a text.

        Raises:
            ValueError: it is no JSON object, or an option or its value is impossible.
        """
        try:
            return cls.model_validate_json(text or "{}")
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "options"
            known = ", ".join(cls.model_fields)
            raise ValueError(
                f"{where} = {problem['input']!r}: {problem['msg']}; "
                f"""write JSON of {known}, as in '{{"compile": "never"}}'"""
            ) from None


class RunExecution(EngineOptions):
    """How one run executes. A rung may have its own of all of these."""

    accelerators_per_run: Annotated[int, ranges.ACCELERATORS] = 1
    """Accelerators that train one run together, one rank each (data parallel); on `cpu`, processes."""
    nodes_per_run: Annotated[int, ranges.NODES] = 1
    """Machines that the run's accelerators are on, the same number on each."""
    threads: Annotated[int, ranges.THREADS] = 1
    """CPU threads per accelerator; on CPU two one-thread runs beat one two-thread run at toy sizes."""
    memory_mb: Annotated[int, ranges.MEMORY_MB] = 1500
    """Host memory requested per node, MB."""
    runtime_minutes: Annotated[int, ranges.RUNTIME_MINUTES] = 60
    """Time limit of one job, minutes. It may be shorter than the run, which then takes several jobs."""
    gpu_type: Line | None = None
    """Slurm's name of the GPU type, where it has several."""
    partition: Line | None = None
    """Slurm partition, or several with commas."""
    account: Line | None = None
    """Slurm account to charge."""
    qos: Line | None = None
    """Slurm quality of service."""
    constraint: Line | None = None
    """Node features, in Slurm's syntax."""
    reservation: Line | None = None
    """Slurm reservation."""
    exclusive: bool = False
    """Whether the run's nodes run nothing else."""
    slurm_extra: Line | None = None
    """Any further sbatch options, as in `--nodelist=n1 --nice=100`."""


class Execution(RunExecution):
    """Where and how all runs of a ladder execute."""

    accelerator: str = "cpu"
    """Name in configs/hardware.yaml; prices the plan and sets `precision: auto`."""
    parallel_runs: Annotated[int, ranges.PARALLEL_RUNS] = 2
    """Runs that execute at a time: turns accelerator-hours into wall time in the plan."""

    def of_rung(self, own: RunExecution) -> Execution:
        """These settings with those that a rung's section says itself.

        Raises:
            pydantic.ValidationError: the two do not fit together.
        """
        return Execution.model_validate(self.model_dump() | own.model_dump(exclude_unset=True))

    @property
    def engine(self) -> str:
        """The engine's options that are not the defaults, as JSON; empty if there are none."""
        own = self.model_dump_json(include=set(EngineOptions.model_fields), exclude_defaults=True)
        return "" if own == "{}" else own

    @model_validator(mode="after")
    def _ranks_share_nodes(self) -> Execution:
        if self.accelerators_per_run % self.nodes_per_run:
            raise ValueError(
                f"accelerators_per_run {self.accelerators_per_run} cannot be shared equally among "
                f"nodes_per_run {self.nodes_per_run}: make it a multiple"
            )
        return self
