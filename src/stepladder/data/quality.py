"""Degenerate documents: one character over and over, text that repeats itself, or no text at all.

They cost tokens, teach nothing, and make the loss and the gradient jump. Documents are only counted unless
the ladder asks to drop them (`data.degenerate: drop`). Judging takes a third of the time in which JSON Lines
become tokens of a BPE (benchmarks/prepare_speed.py).

The limits are far from text. Each names the extreme over Python 3.11's own sources and documentation (2,790
documents, 29 MB), of which nothing is flagged, and where scripts differ, over text in other scripts. They are
in the spirit of the repetition filters of Rae et al. 2021 (arXiv 2112.11446, table A1), whose limits are for
prose from the web: at most 0.20 of the characters in repeated lines would drop 18 % of the code here.
"""

from __future__ import annotations

import zlib
from functools import cache
from typing import NamedTuple

import numpy as np
import zstandard
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

CLEARLY_NOT_REPETITIVE, CLEARLY_TEXT = 0.12, 0.56
"""Shares of Zstandard between which zlib's is far from both of its limits: see `compressed_share`."""

WINDOWS = (15, 14)
"""Logarithms (base 2) of bytes that Zstandard looks back; zlib looks back 32,506."""

WHITE_SPACE = [ord(character) for character in " \t\n\r"]

CONTINUATION = slice(0x80, 0xC0)
"""Bytes of UTF-8 that are not a character's first."""


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
    compressed = compressed_share(text)
    if compressed < MIN_COMPRESSED_SHARE or has_repeated_lines(text):
        return "repetitive"
    if len(text) >= SHORTEST["not_text"] and compressed > MAX_COMPRESSED_SHARE:
        return "not_text"
    return None


def is_one_character(text: bytes) -> bool:
    """Whether one character makes up most of the text, or one run of it a large part."""
    most, visible, length = _most_frequent(text)
    # No run is longer than its character is frequent, so there is seldom anything to look for.
    if most <= MAX_CHARACTER_SHARE * visible and most <= MAX_RUN_SHARE * length:
        return False
    characters = code_points(text)
    values, counts = np.unique(characters, return_counts=True)
    seen = ~np.isin(values, WHITE_SPACE)
    values, counts = values[seen], counts[seen]
    if counts.max(initial=0) > MAX_CHARACTER_SHARE * counts.sum():
        return True
    longest = MAX_RUN_SHARE * len(characters)
    return any(longest_run(characters == value) > longest for value in values[counts > longest])


class Frequent(NamedTuple):
    """How often the characters of a text occur."""

    most: int
    """At least as often as any that is not white space."""
    visible: int
    """Characters that are not white space."""
    length: int
    """All characters."""


def _most_frequent(text: bytes) -> Frequent:
    """From how often each byte occurs: a character of several bytes is no more frequent than its first one,
    nor than its others."""
    counts = np.bincount(np.frombuffer(text, np.uint8), minlength=256)
    space = 0
    for byte in WHITE_SPACE:
        space += int(counts[byte])
        counts[byte] = 0
    if text.isascii():
        return Frequent(int(counts.max()), len(text) - space, len(text))
    others = counts[CONTINUATION]
    length = len(text) - int(others.sum())
    most = max(counts[: CONTINUATION.start].max(), min(counts[CONTINUATION.stop :].max(), others.max()))
    return Frequent(int(most), length - space, length)


def code_points(text: bytes) -> NDArray[np.unsignedinteger]:
    """The characters of UTF-8 text, one number each."""
    if text.isascii():
        return np.frombuffer(text, np.uint8)
    return np.frombuffer(text.decode().encode("utf-32-le"), "<u4")


def longest_run(mask: NDArray[np.bool_]) -> int:
    """Length of the longest stretch of True."""
    breaks = np.flatnonzero(~mask)
    return int(np.diff(breaks, prepend=-1, append=len(mask)).max()) - 1


def compressed_share(text: bytes) -> float:
    """Compressed size over size: zlib's at level 1, or another number on the same sides of the limits.

    Zstandard is five times faster, and finds what zlib finds. Looking back as far as zlib it tells that zlib
    cannot be below the lower limit; looking back half as far, that zlib cannot be above the upper one. Of
    12,000 texts, mutated or numbered repetitions, words of random letters, letters of random frequencies and
    mixtures of these, zlib made no less than 0.08 of any where Zstandard made 0.12, and no more than 0.67
    where that made 0.58.
    """
    share = _zstandard_share(text, WINDOWS[0])
    if share > CLEARLY_NOT_REPETITIVE and (len(text) < SHORTEST["not_text"] or _is_clearly_text(text, share)):
        return share
    return len(zlib.compress(text, 1)) / len(text)


def _is_clearly_text(text: bytes, share: float) -> bool:
    return (share if len(text) <= 2 ** WINDOWS[1] else _zstandard_share(text, WINDOWS[1])) < CLEARLY_TEXT


def _zstandard_share(text: bytes, window: int) -> float:
    return len(_zstandard(window).compress(text)) / len(text)


@cache
def _zstandard(window: int) -> zstandard.ZstdCompressor:
    """A compressor that looks back 2^`window` bytes. Not for two threads at once."""
    settings = zstandard.ZstdCompressionParameters.from_level(1, window_log=window)
    return zstandard.ZstdCompressor(compression_params=settings)


def has_repeated_lines(text: bytes) -> bool:
    """Whether more than MAX_REPEATED_LINES of the bytes in lines came before."""
    # Where there is enough in new lines among the first ones already, the rest does not matter.
    new = set(map(bytes.strip, text[: len(text) // 6].split(b"\n")[:-1]))
    if sum(map(len, new)) > 1.1 * (1 - MAX_REPEATED_LINES) * len(text):
        return False
    return repeated_line_share(text) > MAX_REPEATED_LINES


def repeated_line_share(text: bytes) -> float:
    """Share of the bytes in lines, white space around them aside, that are in lines which came before."""
    lines = list(map(bytes.strip, text.split(b"\n")))
    total = sum(map(len, lines))
    return (total - sum(map(len, set(lines)))) / max(1, total)
