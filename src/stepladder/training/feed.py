"""From the corpus to batches on the device, read ahead of the step that needs them.

Shapes: B sequences of this rank, T positions, S tokens per bag, L targets per position.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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


AHEAD = 2
"""Batches read before they are needed."""


class Feed:
    """The batches of successive steps. On a GPU a thread reads and pins them while the device works.

    On a CPU reading is a copy of some kilobytes from the page cache: cheaper than a second thread.
    """

    def __init__(self, corpus: Corpus, spec: RunSpec, device: torch.device, world: World, start: int) -> None:
        self._corpus, self._spec, self._device, self._world = corpus, spec, device, world
        self._places = places(spec, corpus.order, start)
        self._reader = ThreadPoolExecutor(1, "feed") if device.type != "cpu" else None
        self._ahead: list[tuple[Place, Future[Tensor]]] = []

    def __iter__(self) -> Iterator[Place]:
        """The steps; after each one `batch` gives its batch."""
        if self._reader is None:
            yield from self._places
            return
        with self._reader:
            for place in self._places:
                self._ahead.append((place, self._reader.submit(self._read, place)))
                if len(self._ahead) > AHEAD:
                    yield self._ahead[0][0]
            while self._ahead:
                yield self._ahead[0][0]

    def batch(self, place: Place) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step, on the device."""
        if self._reader is None:
            return split(read_text(self._corpus, self._spec, place, self._world), place.phase)
        _, future = self._ahead.pop(0)
        return split(future.result().to(self._device, non_blocking=True), place.phase)

    def _read(self, place: Place) -> Tensor:
        text = read_text(self._corpus, self._spec, place, self._world)
        return text.pin_memory() if self._device.type == "cuda" else text
