"""Which items occur in the training text: by runs of 13 words, as GPT-3's report looked for them (Brown et
al. 2020, arXiv 2005.14165, appendix C)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.decode import documents
from stepladder.data.manifest import Manifest
from stepladder.data.minhash import READ_BYTES, TOGETHER_BYTES, runs
from stepladder.record.items import Item

WORDS = 13
OVERLAP = 2**12
"""Bytes that two pieces of a long document share."""

Hashes = NDArray[np.uint64]


class Found(NamedTuple):
    """What became of each item."""

    found: NDArray[np.bool_]
    too_short: NDArray[np.bool_]
    training_bytes: int


def look_for(items: Sequence[Item], manifest: Manifest, path: Path) -> Found:
    """Look for items in all training text of prepared shards.

    Args:
        path: of the manifest.
    """
    own = [_hashes((item.context + item.answer).encode()) for item in items]
    wanted = np.unique(np.concatenate([*own, np.empty(0, np.uint64)]))
    there = np.zeros(len(wanted), np.bool_)
    seen = 0
    texts = (text for domain in manifest.domains for text in documents(manifest, path, domain, "train"))
    for group in _groups(texts):
        seen += sum(map(len, group))
        mark(wanted, there, runs(group, WORDS)[0])
    hit = [bool(there[np.searchsorted(wanted, hashes)].any()) for hashes in own]
    return Found(np.array(hit, np.bool_), np.array([not len(hashes) for hashes in own]), seen)


def mark(wanted: Hashes, there: NDArray[np.bool_], hashes: Hashes) -> None:
    """Note in `there` which of the sorted `wanted` are among `hashes`."""
    if len(wanted):
        place = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
        there[place[wanted[place] == hashes]] = True


def _hashes(text: bytes) -> Hashes:
    """Hash of each run of a text's words; none if it has fewer words than a run."""
    document = np.frombuffer(text, np.uint8)
    if not len(document) or not (runs([document], 1)[1] >= WORDS).all():
        return np.empty(0, np.uint64)
    return np.concatenate([runs([piece], WORDS)[0] for piece in _pieces(document)])


def _groups(texts: Iterable[bytes]) -> Iterator[list[NDArray[np.uint8]]]:
    """Documents in groups whose words are found together."""
    group: list[NDArray[np.uint8]] = []
    size = 0
    for text in texts:
        for piece in _pieces(np.frombuffer(text, np.uint8)):
            if group and size + len(piece) > TOGETHER_BYTES:
                yield group
                group, size = [], 0
            group.append(piece)
            size += len(piece)
    if group:
        yield group


def _pieces(document: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """A document, or overlapping parts of a long one."""
    step = READ_BYTES - OVERLAP
    for first in range(0, max(1, len(document) - OVERLAP), step):
        yield document[first : first + READ_BYTES]
