"""The text that a tokenizer is trained on: an even sample of the training documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepladder.data.cache import DIGEST, load, load_table
from stepladder.data.shards import is_held_out

ENTRY = [("content", DIGEST), ("size", "<u8")]


def sample(
    paths: Sequence[Path], validation_fraction: float, drop_degenerate: bool, n_bytes: int
) -> Iterator[bytes]:
    """Training documents of about `n_bytes` in all, each once: those of smallest digest.

    Args:
        paths: of the cached chunks of text.
        drop_degenerate: leave out degenerate documents, as the shards do.
    """
    best = np.empty(0, ENTRY)
    for path in paths:
        best = _smallest(best, _usable(load_table(path), validation_fraction, drop_degenerate), n_bytes)
    left = best["content"]
    for path in paths:
        mask = np.isin(_words(load_table(path)["content"]), _words(left))
        if not mask.any():
            continue
        found = load(path).part(mask)
        for content, document in zip(found.table["content"], found.documents(), strict=True):
            again = _words(left) == _words(content[None])
            if again.any():
                left = left[~again]
                yield document.tobytes()


def _usable(table: NDArray[np.void], validation_fraction: float, drop_degenerate: bool) -> NDArray[np.void]:
    keep = (table["size"] > 0) & ~is_held_out(table["group"], validation_fraction)
    if drop_degenerate:
        keep &= table["flaw"] == 0
    found = np.empty(int(keep.sum()), ENTRY)
    for field in ("content", "size"):
        found[field] = table[field][keep]
    return found


def _smallest(one: NDArray[np.void], other: NDArray[np.void], n_bytes: int) -> NDArray[np.void]:
    """Those of smallest digest whose sizes sum to `n_bytes` or just above; of equal digests one."""
    both = np.concatenate([one, other])
    _, first = np.unique(_words(both["content"]), return_index=True)
    ordered = both[first]
    before = np.cumsum(ordered["size"]) - ordered["size"]
    chosen: NDArray[np.void] = ordered[before < n_bytes]
    return chosen


def _words(digests: NDArray[np.void]) -> NDArray[np.bytes_]:
    """Digests as strings of 16 bytes, which numpy can sort; as bytes are compared."""
    return np.ascontiguousarray(digests).view("S16")
