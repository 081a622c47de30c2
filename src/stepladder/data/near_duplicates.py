"""Which training documents are nearly the same as another: those that share a band of their signatures with a
held-out document, or with a training document before them.

Held-out documents all stay, so that the held-out text is the same with and without this, and whatever a
corpus trains on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepladder.data.duplicates import first_of_words


class BandTable:
    """Band keys of all documents, a file per band, since each is looked at on its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._count = 0

    def append(self, path: Path, mask: NDArray[np.bool_]) -> None:
        """Add documents of a chunk.

        Args:
            path: of the chunk's keys, as `minhash.band_keys` makes them.
            mask: the documents to take.
        """
        with np.load(path) as arrays:
            keys = arrays["keys"][mask]
        self._count = keys.shape[1]
        for band in range(self._count):
            with self._path(band).open("ab") as stream:
                stream.write(np.ascontiguousarray(keys[:, band]).data)

    def near(self, held_out_N: NDArray[np.bool_], among_N: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether each document is nearly the same as another.

        Args:
            held_out_N: those that all stay.
            among_N: those that are looked at.
        """
        near_N = np.zeros(len(among_N), np.bool_)
        for band in range(self._count if among_N.any() else 0):
            keys = np.memmap(self._path(band), np.uint64, "r").reshape(-1, 1)
            near_N |= ~first_of_words(keys, ~held_out_N, among_N)
            self._path(band).unlink()
        self._folder.rmdir()
        return near_N & ~held_out_N

    def _path(self, band: int) -> Path:
        return self._folder / f"{band:03}"
