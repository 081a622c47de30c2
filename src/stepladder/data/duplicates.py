"""Which of many documents are the first of their content, in memory that does not grow with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 2**22
"""Documents that are sorted together, about: 400 MB."""


def first_of_each(digests: NDArray[np.void], at_once: int = AT_ONCE) -> NDArray[np.bool_]:
    """Whether each of (N,) digests of 16 bytes is the first of its value.

    Args:
        digests: may be mapped from a file: it is read once per part.
    """
    n = len(digests)
    words_N2 = digests.view(np.uint64).reshape(-1, 2)
    return first_of_words(words_N2, np.zeros(n, np.bool_), np.ones(n, np.bool_), at_once)


def first_of_words(
    words_NW: NDArray[np.uint64],
    late_N: NDArray[np.bool_],
    among_N: NDArray[np.bool_],
    at_once: int = AT_ONCE,
) -> NDArray[np.bool_]:
    """Whether each of (N, W) words is the first of its value.

    Digests are as good as random, so that their first word cuts them into equal parts, which are sorted one
    after the other; equal ones are in the same part.

    Args:
        words_NW: may be mapped from a file: it is read once per part.
        late_N: those that come after all others, whatever their place.
        among_N: those that there are: others are told to be first, and nothing is equal to them.
    """
    parts = max(1, -(-len(words_NW) // at_once))
    first_N = np.ones(len(words_NW), dtype=np.bool_)
    for part in range(parts):
        mine = np.flatnonzero(among_N & (words_NW[:, 0] % parts == part) if parts > 1 else among_N)
        words = words_NW[mine]
        order = np.lexsort((late_N[mine], *words.T[::-1]))  # stable: of equal ones the first comes first
        again = (words[order[1:]] == words[order[:-1]]).all(axis=1)
        first_N[mine[order[1:]][again]] = False
    return first_N
