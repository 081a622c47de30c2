"""The fast JSON parser says of any line what Python's own says, in values and in words."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepladder.data import files
from stepladder.data.errors import DataError
from stepladder.schema.data import JsonLines

SOURCE = JsonLines(kind="jsonl", domains={"web": ("web.jsonl",)})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ODD = [
    b'{"text": NaN}',
    b'{"n": Infinity, "text": "x"}',
    b'{"n": ' + b"9" * 5000 + b', "text": "x"}',
    b'{"n": 123456789012345678901234567890, "text": "x"}',
    b'{"text": "first", "text": "last"}',
    b'{"text": "\\ud83d\\ude42 \\u0000 \\u00e9"}',
    b'{"text": "\\ud83d"}',
    b'{"text": "\xff"}',
    b'{"text": "\xed\xa0\x80"}',
    b'\xef\xbb\xbf{"text": "marked"}',
    b'{"text": "a\tb"}',
    b'{"text": "a\\vb"}',
    b'{"text": "x"} {}',
    b'{"text": "x",}',
    b'{"a": ' + b"[" * 3000 + b"]" * 3000 + b', "text": "x"}',
    b' \t{"text": "x"} \r\n',
    b'{"text": 1e999}',
    b'{"text": -0}',
    b'["text"]',
    b"123456789012345678901234567890",
    b'{"text": {"a": [1, 2.5, "b", null, true]}}',
    b"{}",
]


def read(line, parse_fast=True):
    """The document of a line, or what is wrong with it."""
    with pytest.MonkeyPatch.context() as patch:
        if not parse_fast:
            patch.setattr(files.orjson, "loads", refuse)
        chunk = files._json_chunk("web", "web.jsonl", SOURCE, 7, [line])
        try:
            return list(chunk.read())
        except DataError as error:
            return str(error)


def refuse(line):
    raise files.orjson.JSONDecodeError("", "", 0)


@pytest.mark.parametrize("line", ODD)
def test_odd_lines_are_read_alike(line):
    assert read(line) == read(line, parse_fast=False)


@given(VALUES, st.booleans())
@example(-(2**63) - 1, False)
@example(2**64, False)
def test_any_value_is_read_alike(value, escaped):
    for record in (value, {"text": value}, {"text": "x", "more": value}):
        line = json.dumps(record, ensure_ascii=escaped).encode(errors="surrogatepass")
        slowly = read(line, parse_fast=False)
        if isinstance(slowly, str) and isinstance(value, int) and not -(2**63) <= value < 2**64:
            slowly = slowly.replace("holds int,", "holds float,")  # which the fast parser makes of it
        assert read(line) == slowly


@given(st.binary(max_size=30), st.sampled_from(ODD), st.integers(0, 60))
def test_damaged_lines_are_read_alike(damage, line, place):
    damaged = line[:place] + damage + line[place + len(damage) :]
    assert read(damaged) == read(damaged, parse_fast=False)
