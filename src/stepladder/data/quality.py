"""Degenerate documents: one character over and over, text that repeats itself, or no text at all.

They cost tokens, teach nothing, and make the loss and the gradient jump. Documents are only counted unless
the ladder asks to drop them (`data.degenerate: drop`).

The limits are far from text: over Python's own sources and documentation (2,800 documents, 29 MB) compressed
sizes are 0.10 to 0.63 of the text's and the most frequent character makes up at most 0.43, so that nothing is
flagged. Base64 compresses to 0.76, random bytes to 1, and a page that says one sentence a thousand times to
below 0.02.
"""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np

Flaw = Literal["one_character", "repetitive", "not_text"]

FLAWS: tuple[Flaw, ...] = ("one_character", "repetitive", "not_text")
"""In the order in which they are looked for; a document has at most one."""

MAX_CHARACTER_SHARE = 0.5
"""Of the bytes that are not white space; more is a ruler, a dump of zeros or a broken download."""

COMPRESSED_SHARE = (0.05, 0.7)
"""Compressed size over size (zlib, level 1). Below: repetitive, in the spirit of the repetition filters of
Rae et al. 2021 (arXiv 2112.11446, table A1), which count repeated lines and n-grams. Above: encoded or
random."""

SHORTEST = {"character": 100, "compression": 1000}
"""Bytes from which the measures mean something; shorter documents are not judged by them."""

WHITE_SPACE = list(b" \t\n\r")


def judge(text: bytes) -> int:
    """0 for a sound document, else 1 + the place of its flaw among `FLAWS`.

    Args:
        text: UTF-8.
    """
    if len(text) >= SHORTEST["character"]:
        count = np.bincount(np.frombuffer(text, np.uint8), minlength=256)
        count[WHITE_SPACE] = 0
        if count.max() > MAX_CHARACTER_SHARE * max(1, count.sum()):
            return 1 + FLAWS.index("one_character")
    if len(text) >= SHORTEST["compression"]:
        share = len(zlib.compress(text, 1)) / len(text)
        low, high = COMPRESSED_SHARE
        if share < low:
            return 1 + FLAWS.index("repetitive")
        if share > high:
            return 1 + FLAWS.index("not_text")
    return 0
