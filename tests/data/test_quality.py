"""Degenerate documents: what is one, that they are counted, and that dropping them changes nothing else."""

import base64
import json
import random
import zlib
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data import manifest
from stepladder.data.errors import DataError
from stepladder.data.prepare import prepare
from stepladder.data.quality import (
    FLAWS,
    MAX_COMPRESSED_SHARE,
    SHORTEST,
    find_flaw,
    judge,
    longest_run,
    repeated_line_share,
)

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


def test_a_repeated_page_is_repetitive_however_far_apart():
    """Pages of 50 kB, further apart than zlib looks back: 10 of 11 came before."""
    page = prose(2, 12_000).replace(b" ", b"\n") + b"\n"
    lines = page.split()
    page = b"".join(b"%d %s\n" % (number, line) for number, line in enumerate(lines))
    assert len(page) > 2**15
    assert find_flaw(page) is None
    assert find_flaw(page * 11) == "repetitive"


def test_repeated_lines_by_hand():
    assert repeated_line_share(b"") == repeated_line_share(b"\n\n \n") == 0
    assert repeated_line_share(b"ab\ncd\n  ab\t\n\nef") == 2 / 8


def test_a_ruler_in_a_text():
    """30 % of the characters are the limit, in any script, and white space is no ruler."""
    text = prose(3)
    for mark in ("-", "。"):
        longest = len(text) * 3 // 7  # 3 / (3 + 7) = 30 %
        assert find_flaw(text + mark.encode() * (longest - 10)) is None
        assert find_flaw(text + mark.encode() * (longest + 10)) == "one_character"
    assert find_flaw(b" " * 5000 + text) is None


def test_characters_are_counted_not_bytes():
    """Two of three bytes of these letters are the same in all of them."""
    letters = "".join(chr(0x0E01 + number % 46) for number in range(0, 46 * 47, 7))
    assert find_flaw(letters[:300].encode()) is None
    assert find_flaw(("ก" * 200 + letters[:100]).encode()) == "one_character"


def test_short_chinese_is_text():
    """Random characters of a vocabulary of 600, denser than any language: above the limit, and short."""
    text = "".join(random.Random(0).choices([chr(0x4E00 + 37 * n) for n in range(500)], k=500)).encode()
    assert len(text) < SHORTEST["not_text"]
    assert len(zlib.compress(text, 1)) > MAX_COMPRESSED_SHARE * len(text)
    assert find_flaw(text) is None


def test_prose_and_short_text_are_sound():
    assert judge(prose(0)) == 0
    assert judge(b"") == judge(b"=====") == 0


@given(st.text(max_size=3000))
def test_any_text_is_judged(text):
    assert 0 <= judge(text.encode()) <= len(FLAWS)


@given(st.lists(st.booleans()))
def test_longest_run(mask):
    runs = [len(list(group)) for value, group in groupby(mask) if value]
    assert longest_run(np.array(mask, dtype=bool)) == max(runs, default=0)


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


@pytest.mark.parametrize("tokenizer", [{"kind": "byte"}, {"kind": "bpe", "vocab_size": 400}], ids=str)
def test_counting_keeps_and_dropping_leaves_out(source, tmp_path, tokenizer):
    """Without the bad ones shards and tokenizer are those of a corpus that never had them."""
    counted = manifest.read(prepare(source, tokenizer, 0.2, tmp_path / "counted"))
    dropped = manifest.read(prepare(source, tokenizer, 0.2, tmp_path / "dropped", drop_degenerate=True))
    for found in (counted.degenerate, dropped.degenerate):
        assert (found.documents, found.counts) == (43, {"web": dict.fromkeys(FLAWS, 1)})
        assert any("05-one_character.txt (one_character)" in example for example in found.examples)
    assert (counted.degenerate.dropped, dropped.degenerate.dropped) == (False, True)
    for bad in BAD:
        (tmp_path / "text" / f"05-{bad}.txt").unlink()
    never = manifest.read(prepare(source, tokenizer, 0.2, tmp_path / "never"))
    assert dropped.sha256 == never.sha256 != counted.sha256
    tokenizers = [tmp_path / name / "tokenizer.json" for name in ("dropped", "never")]
    if tokenizer["kind"] == "bpe":
        assert tokenizers[0].read_bytes() == tokenizers[1].read_bytes()


def test_a_few_of_each_kind_are_named(tmp_path):
    """Many of one flaw do not crowd out the others, and each is found by its line."""
    rulers = ["=" * length for length in range(100, 130)]
    web = [*rulers, BAD["repetitive"].decode(), *(prose(number).decode() for number in range(40))]
    path = tmp_path / "web.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in web))
    source = {"kind": "jsonl", "domains": {"web": [str(path)]}}
    found = manifest.read(prepare(source, {"kind": "byte"}, 0.2, tmp_path / "data")).degenerate
    assert found.counts == {"web": {"one_character": 30, "repetitive": 1}}
    assert found.examples == (
        *(f"{path}:{line} (one_character)" for line in range(1, 6)),
        f"{path}:31 (repetitive)",
    )


def test_nothing_left_is_explained(tmp_path):
    path = tmp_path / "web.jsonl"
    path.write_text("".join(json.dumps({"text": "=" * length}) + "\n" for length in range(100, 130)))
    source = {"kind": "jsonl", "domains": {"web": [str(path)]}}
    with pytest.raises(DataError, match="30 degenerate ones left out"):
        prepare(source, {"kind": "byte"}, 0.2, tmp_path / "data", drop_degenerate=True)


def test_manifests_from_before_are_read(source, tmp_path):
    path = prepare(source, {"kind": "byte"}, 0.2, tmp_path / "data")
    told = json.loads(path.read_text())
    del told["degenerate"], told["digest"]
    path.write_text(json.dumps(told))
    assert manifest.verify(path).degenerate is None
