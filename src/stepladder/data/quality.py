"""Degenerate documents: one character over and over, text that repeats itself, or no text at all.

They cost tokens, teach nothing, and make the loss and the gradient jump. Documents are only counted unless
the ladder asks to drop them (`data.degenerate: drop`). Judging 29 MB took 0.8 s of one core; to prepare them
took 0.5 s from JSON Lines to bytes, 18 s to BPE, and 10 s from Python's sources.

The limits are far from text. Each names the extreme over Python 3.11's own sources and documentation (2,790
documents, 29 MB), of which nothing is flagged, and where scripts differ, over text in other scripts. They are
in the spirit of the repetition filters of Rae et al. 2021 (arXiv 2112.11446, table A1), whose limits are for
prose from the web: at most 0.20 of the characters in repeated lines would drop 18 % of the code here.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from stepladder.data.documents import Flaw

FLAWS: tuple[Flaw, ...] = ("one_character", "repetitive", "not_text")
"""In the order in which they are looked for; a document has at most one."""

MAX_CHARACTER_SHARE = 0.5
"""Of the characters that are not white space, the most frequent one's; more is a ruler, a dump of zeros or a
broken download. Seen: 0.43, a caption underlined with `=`."""

MAX_RUN_SHARE = 0.3
"""Of all characters, the longest run of one that is not white space: text with a ruler for a third of it.
Seen: 0.17."""

MIN_COMPRESSED_SHARE = 0.05
"""Compressed size over size (zlib, level 1): below, a page that says the same sentence again and again.
Seen: 0.10, tests that differ in one word."""

MAX_REPEATED_LINES = 0.9
"""Of the bytes in lines, those in lines that came before: repetition at a distance that zlib, with its window
of 32 kB, does not see. Seen: 0.82, the same tests."""

MAX_COMPRESSED_SHARE = 0.7
"""Above it text is encoded or random: base64 compresses to 0.76, random bytes to 1; hexadecimal, at 0.57, is
not told from text. Seen from 2,000 bytes on: this corpus 0.52, Chinese 0.57, Japanese 0.50. At 1,000 bytes
Chinese and Japanese come close to the limit (0.66, a web page 0.70)."""

SHORTEST = {"one_character": 100, "repetitive": 1000, "not_text": 2000}
"""Bytes from which a measure means something; shorter documents are not judged by it."""

WHITE_SPACE = [ord(character) for character in " \t\n\r"]


def judge(text: bytes) -> int:
    """0 for a sound document, else 1 + the place of its flaw among `FLAWS`.

    Args:
        text: UTF-8.
    """
    flaw = find_flaw(text)
    return 0 if flaw is None else 1 + FLAWS.index(flaw)


def find_flaw(text: bytes) -> Flaw | None:
    """The first flaw of a document; cheap measures and short documents first."""
    if len(text) < SHORTEST["one_character"]:
        return None
    if is_one_character(text):
        return "one_character"
    if len(text) < SHORTEST["repetitive"]:
        return None
    compressed = len(zlib.compress(text, 1)) / len(text)
    if compressed < MIN_COMPRESSED_SHARE or repeated_line_share(text) > MAX_REPEATED_LINES:
        return "repetitive"
    if len(text) >= SHORTEST["not_text"] and compressed > MAX_COMPRESSED_SHARE:
        return "not_text"
    return None


def is_one_character(text: bytes) -> bool:
    """Whether one character makes up most of the text, or one run of it a large part."""
    characters = code_points(text)
    values, counts = frequencies(characters)
    visible = ~np.isin(values, WHITE_SPACE)
    values, counts = values[visible], counts[visible]
    if counts.max(initial=0) > MAX_CHARACTER_SHARE * counts.sum():
        return True
    # No run is longer than its character is frequent, so there is seldom anything to look for.
    longest = MAX_RUN_SHARE * len(characters)
    return any(longest_run(characters == value) > longest for value in values[counts > longest])


def code_points(text: bytes) -> NDArray[np.unsignedinteger]:
    """The characters of UTF-8 text, one number each."""
    if text.isascii():
        return np.frombuffer(text, np.uint8)
    return np.frombuffer(text.decode().encode("utf-32-le"), "<u4")


def frequencies(characters: NDArray[np.unsignedinteger]) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """Each number that occurs (bytes: each there is), and how often."""
    if characters.dtype == np.uint8:  # no need to sort
        return np.arange(256), np.bincount(characters, minlength=256)
    return np.unique(characters, return_counts=True)


def longest_run(mask: NDArray[np.bool_]) -> int:
    """Length of the longest stretch of True."""
    breaks = np.flatnonzero(~mask)
    return int(np.diff(breaks, prepend=-1, append=len(mask)).max()) - 1


def repeated_line_share(text: bytes) -> float:
    """Share of the bytes in lines, white space around them aside, that are in lines which came before."""
    seen: set[bytes] = set()
    total = repeated = 0
    for line in map(bytes.strip, text.split(b"\n")):
        total += len(line)
        if line in seen:
            repeated += len(line)
        seen.add(line)
    return repeated / max(1, total)
