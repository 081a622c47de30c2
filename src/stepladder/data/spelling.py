"""Whether ids stand for exactly the bytes of a text: eight bytes of every token compared at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stepladder.data.documents import groups

WORD = 8
"""Bytes compared at once."""

MASKS = np.array([256**size - 1 for size in range(WORD + 1)], np.uint64)
"""All bits of so many first bytes."""

TOGETHER = 2**17
"""Bytes of text from which on texts are compared together: what that takes stays in the cache of a core."""


class Spellings:
    """What each id stands for."""

    def __init__(self, of_id: Sequence[bytes | None]) -> None:
        """Lay the bytes out in words.

        Args:
            of_id: bytes that each id stands for (vocab_size,); None for one that may stand in no text.
        """
        self._of_id = of_id
        self._sizes_V = np.array([len(spelling or b"") for spelling in of_id], np.int64)
        self._n_words = 1 + int(self._sizes_V.max(initial=0)) // WORD
        words_VW = np.array(of_id, f"S{WORD * self._n_words}").view("<u8").reshape(-1, self._n_words)
        masks_VW = MASKS[np.clip(self._sizes_V[:, None] - WORD * np.arange(self._n_words), 0, WORD)]
        # Under a mask without any bit, bits are equal to nothing: such an id is a difference.
        words_VW[[spelling is None for spelling in of_id]] = MASKS[WORD]
        self._words = [
            (words_V.copy(), masks_V.copy()) for words_V, masks_V in zip(words_VW.T, masks_VW.T, strict=True)
        ]

    def spell(self, ids: NDArray[np.integer]) -> bytes | None:
        """Bytes that the ids stand for; None if one of them may stand in no text."""
        parts = [self._of_id[number] for number in ids.tolist()]
        return None if None in parts else b"".join(part for part in parts if part is not None)

    def first_changed(self, texts: Sequence[bytes], ids: Sequence[NDArray[np.integer]]) -> int | None:
        """Number of the first text whose ids stand for other bytes than its own; None if there is none."""
        for group in groups(map(len, texts), TOGETHER):
            if not self._all_kept(texts[group], ids[group]):
                numbers = range(len(texts))[group]
                return next(number for number in numbers if self.spell(ids[number]) != texts[number])
        return None

    def _all_kept(self, texts: Sequence[bytes], ids: Sequence[NDArray[np.integer]]) -> bool:
        joined = b"".join([*texts, bytes(WORD * self._n_words)])
        # One word per byte of the text, each beginning one byte after the one before it.
        text_B = np.ndarray(len(joined) - WORD + 1, "<u8", joined, strides=(1,))
        ids_T = np.concatenate(ids).astype(np.intp)
        sizes_T = self._sizes_V.take(ids_T)
        begins_T = np.zeros(len(ids_T) + 1, np.int64)
        np.cumsum(sizes_T, out=begins_T[1:])
        # A text begins where its first token does, and the last one ends where its last token does.
        if not np.array_equal(begins_T[np.cumsum([0, *map(len, ids)])], np.cumsum([0, *map(len, texts)])):
            return False
        begins_T = begins_T[:-1]
        for number, (words_V, masks_V) in enumerate(self._words):
            found_T = text_B[begins_T]
            found_T &= masks_V.take(ids_T)
            if (found_T != words_V.take(ids_T)).any():
                return False
            longer = np.flatnonzero(sizes_T > WORD * (number + 1))
            if not longer.size:
                break
            ids_T, sizes_T, begins_T = ids_T[longer], sizes_T[longer], begins_T[longer] + WORD
        return True
