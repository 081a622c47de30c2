"""Choices of execution that do not change what a run trains: compilation, sharding, micro-batch.

A choice other than the one of an earlier attempt may change the last bits, so what was found out at the first
start (the micro-batch) is kept with the checkpoints.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stepladder.data.batches import Corpus
from stepladder.models.feed_forward import MixtureOfExperts
from stepladder.record.cost import parameters
from stepladder.record.spec import ModelSpec
from stepladder.schema.execution import EngineOptions
from stepladder.training.distributed import World
from stepladder.training.feed import places, read_batch
from stepladder.training.objective import Objective
from stepladder.training.sharding import REPLICATED, Kind, Sharding

if TYPE_CHECKING:
    from stepladder.training.trainer import Trainer

BYTES_PER_PARAMETER = 20
"""fp32 weight, gradient twice (parameters' own and gathered) and two moments."""

ENOUGH_POSITIONS = 2**16
"""In a micro-batch: more are no faster, and every size that is tried is compiled anew."""

MOST_MEMORY = 0.9
"""Share of an accelerator's memory that a step may take: evaluation and fragments want the rest."""

SHARE_OF_MEMORY = 0.5
"""Of an accelerator's memory that weights and moments may take before they are sharded; activations want the
rest."""


def choose_compilation(options: EngineOptions, device: torch.device, cache: Path | None) -> bool:
    """Whether layers are compiled, of what the option `compile` asks for.

    `auto` compiles on GPUs. On CPU the hand-written passes are faster than compiled ones at ladder widths.

    Args:
        cache: where compiled code is kept between runs; None for the compiler's own place.
    """
    compiled = options.compile == "always" or (options.compile == "auto" and device.type == "cuda")
    if compiled and cache is not None:
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache.resolve()))
    return compiled


def choose_sharding(wanted: str, model: ModelSpec, world: World, device: torch.device) -> Sharding:
    """How the state is spread, of what the option `sharding` asks for.

    `auto` shards if several ranks train a model whose state would fill half of an accelerator's memory: over
    one machine's ranks if that is enough and there are several machines, else over all.

    Raises:
        ValueError: `hybrid` whose machines have unequal or single ranks.
    """
    if world.size == 1:
        return REPLICATED
    local = world.local_size
    if wanted == "auto":
        wanted = _needed(model, world, device)
    if wanted == "hybrid" and (local == 1 or world.size % local):
        raise ValueError(
            "execution.sharding hybrid needs equally many ranks, at least 2, on each machine; there are "
            f"{local} of {world.size} on this one: use full"
        )
    kind: Kind = "hybrid" if wanted == "hybrid" and local < world.size else "full"
    return REPLICATED if wanted == "none" else Sharding(kind, world.size, local)


def _needed(model: ModelSpec, world: World, device: torch.device) -> str:
    if device.type != "cuda":
        return "none"
    room = SHARE_OF_MEMORY * torch.cuda.get_device_properties(device).total_memory
    state = BYTES_PER_PARAMETER * parameters(model).total
    if state <= room:
        return "none"
    return "hybrid" if 1 < world.local_size < world.size and state / world.local_size <= room else "full"


def compile_layers(objective: Objective, precision: str, backend: str = "inductor") -> None:
    """Compile each layer for static shapes: equal layers share one compilation, so that it takes seconds
    at any depth, where the whole model would take minutes.

    In fp32 layers with experts stay as they are: the compiler knows grouped products in bf16 only.
    """
    for layer in objective.layers():
        routed = any(isinstance(module, MixtureOfExperts) for module in layer.modules())
        if not (routed and precision == "fp32"):
            layer.compile(dynamic=False, backend=backend)


def settle_micro_batch(trainer: Trainer, options: EngineOptions, corpus: Corpus) -> None:
    """Cut the batch as the options say, as an earlier attempt found, or on a GPU so that the parts just fit.

    What fits is tried in the phase with the longest sequences; ranks go on with the smallest part of all.

    Raises:
        ValueError: the part that is set does not divide a rank's share of the batch.
    """
    spec, ranks = trainer.spec, trainer.ranks
    share = spec.recipe.phases[0].sequences // ranks.world.size
    if wanted := options.micro_batch_sequences:
        if share % wanted:
            raise ValueError(
                f"{spec.id}: execution.micro_batch_sequences {wanted} does not divide the {share} "
                f"sequences of a rank: use a divisor of {share}, or 0 to have it found"
            )
        trainer.micro_batch = wanted
    elif trainer.device.type == "cuda" and trainer.micro_batch is None:
        phase = max(spec.recipe.phases, key=lambda phase: phase.positions * phase.bag_size)
        place = next(place for place in places(spec, corpus.orders) if place.phase == phase)
        fit_memory(trainer, *read_batch(corpus, spec, place, trainer.device, ranks.world))
        trainer.micro_batch = -ranks.largest(-(trainer.micro_batch or 1))
        trainer.model.recompute = bool(ranks.largest(int(trainer.model.recompute)))


def fit_memory(trainer: Trainer, inputs_BTS: Tensor, targets_BTL: Tensor) -> None:
    """Find the largest micro-batch that fits, by trying; recompute activations only if a single sequence does
    not.

    Halves from all of this rank's sequences, or as many as keep the device busy. Leaves no trace in weights,
    moments or the data order.

    Raises:
        torch.OutOfMemoryError: one sequence does not fit even so.
    """
    sequences, positions = inputs_BTS.shape[:2]
    most = rows = _divisor(sequences, max(1, ENOUGH_POSITIONS // positions))
    while True:
        trainer.micro_batch = rows
        if _fits(trainer, inputs_BTS[: 2 * rows], targets_BTL[: 2 * rows]):
            return
        trainer.optimizer.forget()
        torch.cuda.empty_cache()
        if rows > 1:
            rows = _divisor(sequences, rows // 2)
        elif not trainer.model.recompute:
            trainer.model.recompute = True
            rows = most
        else:
            raise torch.OutOfMemoryError(
                f"{trainer.spec.id}: one sequence of {inputs_BTS.shape[1]} positions does not fit on "
                f"{trainer.device}, even with its activations computed twice: shard the model "
                "(execution.sharding: full, with more accelerators_per_run) or shorten sequence_length"
            )


def _divisor(sequences: int, most: int) -> int:
    """Largest divisor of `sequences` that is at most `most`."""
    return max(d for d in range(1, min(sequences, most) + 1) if sequences % d == 0)


def _fits(trainer: Trainer, inputs_BTS: Tensor, targets_BTL: Tensor) -> bool:
    """Whether the gradients of these sequences can be had without filling the device."""
    device = trainer.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        trainer.gradients(inputs_BTS, targets_BTL)
    except torch.OutOfMemoryError:  # its frames hold the activations until this block is left
        return False
    if device.type != "cuda":
        return True
    room = MOST_MEMORY * torch.cuda.get_device_properties(device).total_memory
    return torch.cuda.max_memory_allocated(device) <= room
