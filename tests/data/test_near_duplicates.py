"""Near-duplicates: runs of words, how often two documents are found, and what is left out of the shards."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from documents import make_texts, write_jsonl
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.cache import TABLE, CachedText
from stepladder.data.manifest import verify
from stepladder.data.minhash import band_keys, bands_for, runs
from stepladder.data.parts import PARTS, parts_of, read_part
from stepladder.data.prepare import prepare, prepare_shards
from stepladder.data.request import Request
from stepladder.schema.data import NearDuplicates

BYTE = {"kind": "byte"}


def as_text(documents: list[str]) -> CachedText:
    encoded = [document.encode() for document in documents]
    table = np.zeros(len(encoded), TABLE)
    table["size"] = list(map(len, encoded))
    return CachedText(table, np.frombuffer(b"".join(encoded), np.uint8))


def runs_by_definition(text: str, words: int) -> list[tuple[str, ...]]:
    """Runs of lower-case words; a character of a script without spaces is a word."""
    found = re.findall(r"[぀-鿿가-힣]|[0-9a-zé]+", text.lower().replace("É", "é"))
    return [tuple(found[i : i + words]) for i in range(max(1, len(found) - words + 1))] if found else [()]


@given(
    st.lists(st.text("aB1é漢字 \n.-", min_size=1, max_size=40), min_size=1, max_size=8),
    st.integers(1, 6),
)
def test_runs_are_those_of_the_definition(texts: list[str], words: int) -> None:
    hashes, counts = runs([np.frombuffer(text.encode(), np.uint8) for text in texts], words)
    expected = [runs_by_definition(text, words) for text in texts]
    assert counts.tolist() == list(map(len, expected))
    of_hash: dict[int, tuple[str, ...]] = {}
    for value, run in zip(hashes.tolist(), [run for own in expected for run in own], strict=True):
        if run:  # a document without words is known by its bytes
            assert of_hash.setdefault(value, run) == run
    assert len(set(of_hash.values())) == len(of_hash)


def test_a_document_without_words_is_like_its_copy_alone() -> None:
    keys = band_keys(as_text(["...", "---", "..."]), NearDuplicates())
    assert (keys[0] == keys[2]).all() and not (keys[0] == keys[1]).any()


@pytest.mark.parametrize(("threshold", "number", "places"), [(0.5, 42, 3), (0.8, 16, 8), (0.9, 9, 14)])
def test_bands_by_hand(threshold: float, number: int, places: int) -> None:
    """1 - (1 - 0.8^8)^16 = 0.947, and with 9 places in 14 bands 0.867: the longest with nine in ten is 8."""
    bands = bands_for(threshold)
    assert (bands.number, bands.places) == (number, places)
    assert bands.chance(np.array(threshold)) >= 0.9


def test_pairs_are_found_as_often_as_the_formula_says() -> None:
    """Documents of 400 distinct words of which some are replaced: runs of one word, so that the similarity is
    known. 300 pairs at each: three standard errors are 0.09."""
    draw = random.Random(0)
    for kept in (240, 320, 360):
        documents = []
        for pair in range(300):
            words = [f"p{pair}w{number}" for number in range(400)]
            other = words[:kept] + [f"q{pair}w{number}" for number in range(400 - kept)]
            documents += [" ".join(words), " ".join(draw.sample(other, 400))]
        keys = band_keys(as_text(documents), NearDuplicates(words=1))
        found = (keys[::2] == keys[1::2]).any(axis=1).mean()
        assert found == pytest.approx(float(bands_for(0.8).chance(np.array(kept / (800 - kept)))), abs=0.09)


def edited(text: str, draw: random.Random) -> str:
    words = text.split(" ")
    words[draw.randrange(len(words))] = "edited"
    return "".join(letter.upper() if letter.isascii() else letter for letter in " ".join(words))


@pytest.fixture
def source(tmp_path: Path) -> dict:
    """Texts of some hundred words, a third of them with a near copy in a later file."""
    draw = random.Random(1)
    texts = [f"{text} {text[::-1]}" for text in make_texts(5, 90, words=200) if text.count(" ") > 100]
    write_jsonl(tmp_path / "web/0.jsonl", texts)
    write_jsonl(tmp_path / "web/1.jsonl", [edited(text, draw) for text in texts[::3]] + make_texts(6, 40))
    return {"kind": "jsonl", "domains": {"web": [f"{tmp_path}/web/*.jsonl"]}}


def test_near_copies_are_left_out_of_training_and_counted(tmp_path: Path, source: dict) -> None:
    before = verify(prepare(source, BYTE, 0.3, tmp_path / "kept"))
    after = verify(prepare(source, BYTE, 0.3, tmp_path / "left_out", near_duplicates={}))
    assert before.near_duplicates is None and after.near_duplicates is not None
    left_out = after.near_duplicates["web"]
    was, now = (found.domains["web"] for found in (before, after))
    assert was["train"].documents - now["train"].documents == left_out > 5
    assert was["validation"] == now["validation"]
    train = (tmp_path / "left_out/web.train.tokens").read_bytes()
    for copy in (tmp_path / "web/1.jsonl").read_text().splitlines():
        text = json.loads(copy)["text"]
        if "EDITED" in text and text.encode() in train:  # its origin is not in the shards, nor held out
            raise AssertionError(text)


def test_parts_leave_out_the_same(tmp_path: Path, source: dict) -> None:
    asked = Request.of(source, BYTE, 0.3, near_duplicates={"threshold": 0.7}, part_bytes=10_000)
    whole = verify(prepare_shards(asked, tmp_path / "whole", print))
    for part in reversed(parts_of(asked)):
        read_part(asked, part.name, tmp_path / "data" / PARTS / f"{part.name}.json", print)
    assert verify(prepare_shards(asked, tmp_path / "data", print, gather=True)) == whole
    assert whole.near_duplicates
