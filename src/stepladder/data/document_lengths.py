"""How far apart tokens of the training text may lie and still be of one document."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stepladder.data.manifest import read
from stepladder.record.same_document import SameDocument, chances

CHUNK = 2**22
"""Documents looked at together: memory stays small however many there are."""


def same_document(manifest: Path, most: int, read_of: Mapping[str, float] | None = None) -> SameDocument:
    """Of distances up to `most` tokens, over all domains as they are read, from the shards beside `manifest`.

    Args:
        read_of: tokens read of each domain; None: as much as there is of it.

    Raises:
        DataError: the manifest or a shard is missing or not what it was.
    """
    prepared, chance = read(manifest), np.zeros(most + 1)
    for domain, splits in prepared.domains.items():
        shard = splits["train"]
        share = prepared.mix[domain] if read_of is None else read_of.get(domain, 0.0) / sum(read_of.values())
        if share:
            starts = np.load(manifest.parent / shard.document_file.name, mmap_mode="r")["start"]
            chance += share * chances(_longer(starts, shard.tokens, most), shard.tokens)
    return SameDocument(chance)


def _longer(starts: NDArray[np.unsignedinteger], tokens: int, most: int) -> NDArray[np.int64]:
    """Documents of more than 0, 1, ..., most - 1 tokens."""
    counts = np.zeros(most + 1, dtype=np.int64)
    for first in range(0, len(starts), CHUNK):
        edges = starts[first : first + CHUNK + 1].astype(np.int64)
        lengths = np.diff(edges) if first + CHUNK < len(starts) else np.diff(edges, append=tokens)
        counts += np.bincount(np.minimum(lengths, most), minlength=most + 1)
    return len(starts) - np.cumsum(counts)[:most]
