"""Ids stand for exactly a text, or the first text of which they do not is found."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data import spelling
from stepladder.data.spelling import Spellings

TOKENS = [
    b"a",
    b"b",
    b"ab",
    b"abababab",
    b"ababababa",
    b"ab" * 8,
    b"ab" * 13 + b"a",
    b"",
    b"\0",
    b"\xff" * 8,
    None,
]
KNOWN = Spellings(TOKENS)
NUMBERS = st.integers(0, len(TOKENS) - 1)


@st.composite
def documents(draw):
    """Ids, and texts that mostly are what these stand for, of which some were changed by a little."""
    ids = draw(
        st.lists(st.lists(NUMBERS if draw(st.booleans()) else st.integers(0, 7), max_size=30), max_size=6)
    )
    texts = [b"".join(TOKENS[n] or b"" for n in one) for one in ids]
    for _ in range(draw(st.integers(0, 2)) if texts else 0):
        which = draw(st.integers(0, len(texts) - 1))
        text = texts[which]
        place = draw(st.integers(0, len(text)))
        texts[which] = (
            text[:place]
            + draw(st.sampled_from([b"", b"a", b"b", b"\0"]))
            + text[place + draw(st.booleans()) :]
        )
    return texts, [np.array(one, dtype=np.uint32) for one in ids]


@given(made=documents(), together=st.sampled_from([1, 20, 2**17]))
def test_the_first_changed_text_is_that_of_a_loop_over_tokens(made, together):
    texts, ids = made
    wrong = [
        number
        for number, (text, one) in enumerate(zip(texts, ids, strict=True))
        if any(TOKENS[n] is None for n in one) or b"".join(TOKENS[n] for n in one) != text
    ]
    before, spelling.TOGETHER = spelling.TOGETHER, together
    try:
        assert KNOWN.first_changed(texts, ids) == (wrong[0] if wrong else None)
    finally:
        spelling.TOGETHER = before


def test_bytes_that_move_from_one_text_to_the_next_are_a_change():
    ids = [np.array([0, 1], np.uint32), np.array([2], np.uint32)]
    assert KNOWN.first_changed([b"ab", b"ab"], ids) is None
    assert KNOWN.first_changed([b"a", b"bab"], ids) == 0
    assert KNOWN.first_changed([b"", b"abab"], ids) == 0


def test_an_id_that_stands_for_nothing_allowed_is_a_change_even_where_no_byte_is_missing():
    nothing = np.array([len(TOKENS) - 1], np.uint32)
    assert KNOWN.first_changed([b""], [nothing]) == 0
    assert KNOWN.first_changed([b"\xff" * 8], [nothing]) == 0
    assert KNOWN.spell(nothing) is None
    assert KNOWN.spell(np.array([3, 7, 0], np.uint32)) == b"ababababa"
    assert KNOWN.first_changed([], []) is None
