"""Which text each step of a run reads, and how a batch is made of it.

Shapes: B sequences of this rank, T positions, S tokens per bag, L targets per position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stepladder.data.batches import Corpus
from stepladder.data.mixing import Stretch, Windows
from stepladder.data.order import Order
from stepladder.record.spec import PhaseSpec, RunSpec
from stepladder.training.distributed import ALONE, World


class Place(NamedTuple):
    """A step of the run: which phase it falls in and how much was read before it."""

    step: int
    phase: PhaseSpec
    windows: Windows
    """What the step reads, over all ranks."""
    tokens: int
    """Raw tokens read up to the end of this step."""
    positions: int
    """Latent positions processed up to the end of this step."""
    first: bool
    """Whether it is the first step of its phase."""


def places(spec: RunSpec, orders: Sequence[Order], start: int = 0) -> Iterator[Place]:
    """All steps of the run in order, from step `start`.

    Args:
        orders: of the corpus's rings.
    """
    step = tokens = positions = 0
    windows, phase = None, None
    for piece, stage, steps in spec.pieces():
        first, phase = piece is not phase, piece
        length = phase.positions * phase.bag_size
        shares = (1.0,) if stage is None else tuple(stage.shares.values())
        begin = Stretch(length, shares, (0,) * len(orders))
        stretch = begin if windows is None else windows.then(length, shares, orders)
        for index in range(steps):
            tokens += phase.sequences * length
            positions += phase.sequences * phase.positions
            windows = Windows(stretch, index * phase.sequences, phase.sequences)
            if step >= start:
                yield Place(step, phase, windows, tokens, positions, first and index == 0)
            step += 1


def read_text(corpus: Corpus, spec: RunSpec, place: Place, world: World = ALONE.world) -> Tensor:
    """This rank's windows (B, T * S + L) of a step, on the host."""
    rows = world.share(place.phase.sequences)
    return torch.from_numpy(corpus.window(spec.seed, place.windows.part(rows), place.phase.targets))


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
