"""What near-duplicates have in common: MinHash signatures of documents, cut into bands.

Two documents are alike as far as they share runs of words (Jaccard similarity: of all runs in either, the
share that is in both). A signature holds, for each of `HASHES` hash functions, the smallest hash of any run;
two are equal in one place with the probability of that similarity s (Broder 1997,
10.1109/SEQUEN.1997.666900). Cut into b bands of r places, two documents have a band in common with
probability 1 - (1 - s^r)^b (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.cache import CachedText
from stepladder.schema.data import NearDuplicates

HASHES = 128
SEED = 0
READ_BYTES = 2**22
"""A longer document is compared by what it begins with."""
TOGETHER_BYTES = 2**18
"""Documents whose words are found together: some 100 bytes of memory a byte, for the processor's cache."""

Words = NDArray[np.uint64]


class Bands(NamedTuple):
    """How a signature is cut."""

    number: int
    places: int

    def chance(self, similarity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability that two documents of such similarities have a band in common."""
        return 1 - (1 - similarity**self.places) ** self.number


@cache
def bands_for(threshold: float) -> Bands:
    """The longest bands, hence the fewest mistaken pairs, by which two documents of similarity `threshold`
    are found nine times in ten."""
    cuts = (Bands(HASHES // places, places) for places in range(HASHES, 0, -1))
    return next(cut for cut in cuts if cut.chance(np.array(threshold)) >= 0.9)


def band_keys(text: CachedText, settings: NearDuplicates) -> NDArray[np.uint64]:
    """Key of each band of each document (documents, bands): equal ones have that band in common."""
    from rensa import RMinHash

    bands = bands_for(settings.threshold)
    keys = np.empty((len(text.table), bands.number), np.uint64)
    done = 0
    for documents in _together(text.documents()):
        hashes, counts = runs(documents, settings.words)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, HASHES, SEED)
        signatures = np.array(matrix.to_rows(), np.uint64).reshape(len(documents), HASHES)
        used = signatures[:, : bands.number * bands.places].reshape(len(documents), bands.number, -1)
        own = keys[done : done + len(documents)]
        own[:] = np.arange(bands.number, dtype=np.uint64)
        for place in range(bands.places):
            own[:] = _mixed(own ^ used[:, :, place])
        done += len(documents)
    return keys


def _together(documents: Iterator[NDArray[np.unsignedinteger]]) -> Iterator[list[NDArray[np.uint8]]]:
    group: list[NDArray[np.uint8]] = []
    size = 0
    for document in documents:
        group.append(document[:READ_BYTES].astype(np.uint8, copy=False))
        size += len(group[-1])
        if size >= TOGETHER_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


IN_WORD = np.array([byte >= 128 or chr(byte).isalnum() for byte in range(256)])
LETTER = np.where(
    IN_WORD, [1 + ord(chr(byte).lower()) if byte < 128 else 1 + byte for byte in range(256)], 0
).astype(np.uint64)
"""What a byte of a word counts as, upper and lower case the same; 0 for others."""
WORD_OF_ITS_OWN = 0xE3
"""First byte of the characters from U+3000 on: each is a word, since there are no spaces between them."""
BASE = np.uint64(0x9E3779B97F4A7C15)
"""Odd, hence invertible modulo 2^64."""


def runs(documents: list[NDArray[np.uint8]], words: int) -> tuple[Words, NDArray[np.int64]]:
    """Hashes of all runs of so many words, document after document, and how many each document has.

    Words are letters and digits; punctuation, white space and the case of A to Z do not count. A document
    with fewer words is one run; one without any is a run of its bytes.
    """
    ends_D = np.cumsum([len(document) for document in documents])
    flat = np.concatenate(documents)
    word_W, first_W = _words(flat, ends_D - [len(document) for document in documents])
    document_W = np.searchsorted(ends_D, first_W, side="right")
    n_D = np.bincount(document_W, minlength=len(documents))
    run_W, is_run_W = word_W, np.ones(len(word_W), np.bool_)
    for further in range(1, words):
        same_W = np.zeros(len(word_W), np.bool_)
        same_W[:-further] = document_W[further:] == document_W[:-further]
        next_W = np.zeros(len(word_W), np.uint64)
        next_W[:-further] = word_W[further:]
        run_W = np.where(same_W, _mixed(run_W * BASE + next_W), run_W)
        is_run_W = same_W
    is_first_W = np.diff(document_W, prepend=-1) > 0
    is_run_W = is_run_W | (is_first_W & (n_D[document_W] < words))
    counts_D = np.bincount(document_W[is_run_W], minlength=len(documents))
    run_of_bytes = {number: _of_bytes(documents[number]) for number in np.flatnonzero(n_D == 0).tolist()}
    places = np.searchsorted(document_W[is_run_W], list(run_of_bytes))
    counts_D[list(run_of_bytes)] = 1
    return np.insert(run_W[is_run_W], places, list(run_of_bytes.values())), counts_D


def _words(flat: NDArray[np.uint8], begins: NDArray[np.int64]) -> tuple[Words, NDArray[np.int64]]:
    """Hash of each word, and where it begins."""
    is_word = IN_WORD[flat]
    begins_here = np.zeros(len(flat) + 1, np.bool_)
    begins_here[begins] = True
    before = np.concatenate([[False], is_word[:-1]])
    for size, own in ((3, (flat >= WORD_OF_ITS_OWN) & (flat < 0xF0)), (4, flat >= 0xF0)):
        begins_here[:-1] |= own
        begins_here[size:] |= own[: len(own) + 1 - size]
    first = np.flatnonzero(is_word & (~before | begins_here[:-1]))
    if not len(first):
        return np.empty(0, np.uint64), first
    # The sum of byte * BASE^place over a word, divided by BASE to the word's place.
    powers, inverse = _powers(len(flat))
    sums = np.add.reduceat(LETTER[flat] * powers, first)
    return _mixed(sums * inverse[first]), first


@cache
def _all_powers() -> tuple[Words, Words]:
    n = READ_BYTES + TOGETHER_BYTES
    inverse = np.uint64(pow(int(BASE), -1, 2**64))
    return tuple(np.cumprod(np.concatenate([[np.uint64(1)], np.full(n, b)])) for b in (BASE, inverse))  # type: ignore[return-value]


def _powers(n: int) -> tuple[Words, Words]:
    powers, inverse = _all_powers()
    return powers[:n], inverse[:n]


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea and Flood 2014, 10.1145/2660193.2660195), element by element."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _of_bytes(document: NDArray[np.uint8]) -> np.uint64:
    powers, _ = _powers(len(document))
    return np.uint64(
        _mixed(np.array([(document * powers).sum(dtype=np.uint64) ^ np.uint64(len(document))]))[0]
    )
