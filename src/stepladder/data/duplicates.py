"""Which of many documents are the first of their content, in memory that does not grow with them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 2**22
"""Digests that are sorted together, about: 400 MB."""


def first_of_each(digests: NDArray[np.void], at_once: int = AT_ONCE) -> NDArray[np.bool_]:
    """Whether each of (N,) digests of 16 bytes is the first of its value.

    Digests are as good as random, so that their first word cuts them into equal parts, which are sorted one
    after the other; equal ones are in the same part.

    Args:
        digests: may be mapped from a file: it is read once per part.
    """
    words_N2 = digests.view(np.uint64).reshape(-1, 2)
    parts = -(-len(digests) // at_once)
    first_N = np.ones(len(digests), dtype=np.bool_)
    for part in range(parts):
        mine = np.flatnonzero(words_N2[:, 0] % parts == part) if parts > 1 else np.arange(len(digests))
        words = words_N2[mine]
        order = np.lexsort((words[:, 1], words[:, 0]))  # stable: of equal ones the first comes first
        again = (words[order[1:]] == words[order[:-1]]).all(axis=1)
        first_N[mine[order[1:]][again]] = False
    return first_N
