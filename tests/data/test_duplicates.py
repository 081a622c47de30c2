"""The first document of each content, in parts of memory."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.cache import DIGEST
from stepladder.data.duplicates import first_of_each


@given(st.lists(st.integers(0, 30), max_size=80), st.integers(1, 20))
def test_the_first_of_each_is_found_whatever_the_memory(contents: list[int], at_once: int) -> None:
    digests = [hashlib.sha256(bytes([content])).digest()[:16] for content in contents]
    found = first_of_each(np.frombuffer(b"".join(digests), DIGEST), at_once)
    assert found.tolist() == [content not in contents[:number] for number, content in enumerate(contents)]
