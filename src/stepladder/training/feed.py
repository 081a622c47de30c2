"""Which text each step of a run reads, and how a batch is made of it.

Shapes: B sequences of this rank, T positions, S tokens per bag, L targets per position.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from stepladder.data.batches import Corpus, Order
from stepladder.record.spec import PhaseSpec, RunSpec
from stepladder.training.distributed import ALONE, World


class Place(NamedTuple):
    """A step of the run: which phase it falls in and how much was read before it."""

    step: int
    phase: PhaseSpec
    position: int
    """Where in the corpus's order the step reads."""
    tokens: int
    """Raw tokens read up to the end of this step."""
    positions: int
    """Latent positions processed up to the end of this step."""
    first: bool
    """Whether it is the first step of its phase."""


def places(spec: RunSpec, order: Order, start: int = 0) -> Iterator[Place]:
    """All steps of the run in order, from step `start`.

    Where the length of the windows changes, reading goes on at the next round of the corpus's readers.
    """
    step = position = tokens = positions = 0
    window = None
    for phase in spec.recipe.phases:
        before, window = window, phase.positions * phase.bag_size
        if before not in (None, window):
            position = order.next_round(position, before)
        for index in range(phase.steps):
            tokens += phase.sequences * window
            positions += phase.sequences * phase.positions
            if step >= start:
                yield Place(step, phase, position, tokens, positions, index == 0)
            position += phase.sequences * window
            step += 1


def read_text(corpus: Corpus, spec: RunSpec, place: Place, world: World = ALONE.world) -> Tensor:
    """This rank's windows (B, T * S + L) of a step, on the host."""
    phase = place.phase
    length = phase.positions * phase.bag_size
    rows = world.share(phase.sequences)
    position = place.position + rows.start * length
    return torch.from_numpy(corpus.window(spec.seed, position, len(rows), length, phase.targets))


def split(text_BW: Tensor, phase: PhaseSpec) -> tuple[Tensor, Tensor]:
    """Inputs (B, T, S) and targets (B, T, L): what follows each position's own bag."""
    length, S = phase.positions * phase.bag_size, phase.bag_size
    inputs_BTS = text_BW[:, :length].reshape(len(text_BW), phase.positions, S)
    return inputs_BTS, text_BW[:, S:].unfold(1, phase.targets, S)


def read_batch(
    corpus: Corpus, spec: RunSpec, place: Place, device: torch.device, world: World = ALONE.world
) -> tuple[Tensor, Tensor]:
    """This rank's inputs (B, T, S) and targets (B, T, L) of a step."""
    text = read_text(corpus, spec, place, world)
    if device.type != "cpu":
        text = text.pin_memory().to(device, non_blocking=True)
    return split(text, place.phase)
