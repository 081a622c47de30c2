"""Batches on the device, read ahead of the step that needs them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from stepladder.data.batches import Corpus
from stepladder.record.spec import RunSpec
from stepladder.training.distributed import World
from stepladder.training.feed import Place, places, read_text, split

AHEAD = 2
"""Batches read before they are needed."""


class Prefetch:
    """The batches of successive steps. On a GPU a thread reads and pins them while the device works.

    On a CPU reading is a copy of some kilobytes from the page cache: cheaper than a second thread.
    """

    def __init__(self, corpus: Corpus, spec: RunSpec, device: torch.device, world: World, start: int) -> None:
        self._corpus, self._spec, self._device, self._world = corpus, spec, device, world
        self._places = places(spec, corpus.orders, start)
        self._reader = ThreadPoolExecutor(1, "prefetch") if device.type != "cpu" else None
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
