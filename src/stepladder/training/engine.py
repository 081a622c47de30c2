"""How a run is computed, which does not change what it computes: compilation, micro-batch, recomputation.

A choice other than the one of an earlier attempt may change the last bits, so what was found out at the first
start (the micro-batch) is kept with the checkpoints.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor

from stepladder.schema.settings import Settings
from stepladder.training.checkpoint import KEEP

if TYPE_CHECKING:
    from stepladder.training.objective import Objective
    from stepladder.training.trainer import Trainer


class EngineSettings(Settings):
    """What a ladder's `execution` section says about the engine; text form `name=value name=value`."""

    compile: Literal["auto", "always", "never"] = "auto"
    sharding: Literal["auto", "none", "full", "hybrid"] = "auto"
    micro_batch_sequences: int = Field(default=0, ge=0)
    keep_checkpoints: int = Field(default=KEEP, ge=1)
    max_skipped_steps: int = Field(default=5, ge=0)

    @classmethod
    def from_text(cls, text: str) -> EngineSettings:
        """Read what `Execution.engine` wrote.

        Raises:
            pydantic.ValidationError: a name or value is impossible.
        """
        pairs = dict(word.split("=", 1) for word in text.split())
        return cls.model_validate(pairs, strict=False)


@dataclass(frozen=True)
class Engine:
    """Choices of execution that the trainer needs."""

    compiles: bool = False
    """Whether layers are compiled."""


EAGER = Engine()


def choose_engine(device: torch.device, settings: EngineSettings, cache: Path | None) -> Engine:
    """`auto` compiles on GPUs. On CPU the hand-written passes are faster than compiled ones at ladder widths.

    Args:
        cache: where compiled code is kept between runs; None for the compiler's own place.
    """
    compiles = settings.compile == "always" or (settings.compile == "auto" and device.type == "cuda")
    if compiles and cache is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache.resolve()))
    return Engine(compiles)


def compile_layers(objective: Objective, backend: str = "inductor") -> None:
    """Compile each layer for static shapes: equal layers share one compilation, so that it takes seconds
    at any depth, where the whole model would take minutes."""
    for layer in objective.layers():
        layer.compile(dynamic=False, backend=backend)


def fit_memory(trainer: Trainer, inputs_BTS: Tensor, targets_BTL: Tensor) -> None:
    """Find the largest micro-batch that fits, by trying; recompute activations only if a single sequence does
    not.

    Halves from all of this rank's sequences. Leaves no trace in weights, moments or the data order.

    Raises:
        torch.OutOfMemoryError: one sequence does not fit even so.
    """
    rows = len(inputs_BTS)
    while True:
        trainer.micro_batch = rows
        try:
            trainer.gradients(inputs_BTS[: 2 * rows], targets_BTL[: 2 * rows])
            return
        except torch.OutOfMemoryError:
            # the exception's frames hold the activations: retry outside this block
            pass
        trainer.optimizer.forget()
        torch.cuda.empty_cache()
        if rows > 1:
            rows = max(d for d in range(1, rows // 2 + 1) if len(inputs_BTS) % d == 0)
        elif not trainer.model.recompute:
            trainer.model.recompute = True
            rows = len(inputs_BTS)
        else:
            raise torch.OutOfMemoryError(
                f"{trainer.spec.id}: one sequence of {inputs_BTS.shape[1]} positions does not fit on "
                f"{trainer.device}, even with its activations computed twice: shard the model "
                "(execution.sharding: full, with more accelerators_per_run) or shorten sequence_length"
            )
