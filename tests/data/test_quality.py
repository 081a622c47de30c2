"""Degenerate documents: what is one, that they are counted, and that dropping them changes nothing else."""

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data import manifest
from stepladder.data.prepare import prepare
from stepladder.data.quality import FLAWS, judge

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "it",
    "was",
    "for",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "from",
    "or",
]


def prose(seed, words=400):
    generator = random.Random(seed)
    return " ".join(generator.choice(WORDS) + str(generator.randrange(50)) for _ in range(words)).encode()


BAD = {
    "one_character": b"=" * 300,
    "repetitive": b"Click here to continue reading the page. " * 500,
    "not_text": base64.b64encode(random.Random(0).randbytes(3000)),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_flaws_are_named(flaw):
    assert FLAWS[judge(BAD[flaw]) - 1] == flaw


def test_prose_short_text_and_white_space_are_sound():
    assert judge(prose(0)) == 0
    assert judge(b"") == judge(b"=====") == 0
    assert judge(b" " * 5000 + prose(1)) == 0


@given(st.text(max_size=3000))
def test_any_text_is_judged(text):
    assert 0 <= judge(text.encode()) <= len(FLAWS)


@pytest.fixture
def source(tmp_path):
    """Forty documents of prose, and the three bad ones among them."""
    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02d}.txt").write_bytes(prose(number))
    for name, content in BAD.items():
        (folder / f"05-{name}.txt").write_bytes(content)
    return {"kind": "text", "domains": {"web": [f"{folder}/*.txt"]}}


def test_counting_keeps_and_dropping_leaves_out(source, tmp_path):
    """Without the bad ones the shards are those of a corpus that never had them."""
    for name, drop in (("counted", False), ("dropped", True)):
        (tmp_path / name).mkdir()
        prepare(source, {"kind": "byte"}, 0.2, tmp_path / name, drop)
    counted, dropped = (manifest.read(tmp_path / n / "manifest.json") for n in ("counted", "dropped"))
    for found in (counted.degenerate, dropped.degenerate):
        assert found.by_flaw == dict.fromkeys(FLAWS, 1) and found.by_domain == {"web": 3}
        assert any("05-one_character.txt (one_character)" in example for example in found.examples)
    assert (counted.degenerate.dropped, dropped.degenerate.dropped) == (False, True)
    for bad in BAD:
        (tmp_path / "text" / f"05-{bad}.txt").unlink()
    (tmp_path / "never").mkdir()
    prepare(source, {"kind": "byte"}, 0.2, tmp_path / "never")
    never = manifest.read(tmp_path / "never" / "manifest.json")
    assert dropped.sha256 == never.sha256 != counted.sha256
