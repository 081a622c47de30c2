"""Tokenizers: exact round trips and exact byte counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from stepladder.data.errors import DataError
from stepladder.data.tokenization import Bytes, Subwords, load_pretrained, train_bpe
from stepladder.schema.data import BPETokenizer, PretrainedTokenizer

BPE = BPETokenizer(kind="bpe", vocab_size=300)
TRAINED = train_bpe(BPE, [b"the ladder has rungs, the rungs have a width " * 20])


def rebuilt(tokenizer: Bytes | Subwords, text: str) -> tuple[bytes, int]:
    (ids,) = tokenizer.encode([text.encode()])
    assert tokenizer.end_of_document not in ids
    return tokenizer.decode(ids), int(tokenizer.token_bytes[ids].sum())


@pytest.mark.parametrize("tokenizer", [Bytes(), TRAINED], ids=["byte", "bpe"])
@given(text=st.text())
def test_round_trip_and_byte_count_are_exact(tokenizer: Bytes | Subwords, text: str) -> None:
    assert rebuilt(tokenizer, text) == (text.encode(), len(text.encode()))


def test_bytes_are_their_own_ids() -> None:
    assert Bytes().encode(["aé".encode()])[0].tolist() == [0x61, 0xC3, 0xA9]


def test_bpe_merges_fit_below_its_last_id_and_shorten_text() -> None:
    (ids,) = TRAINED.encode([b"the ladder has rungs"])
    assert len(ids) < 8
    assert ids.max() < TRAINED.end_of_document == BPE.vocab_size - 1
    assert len(TRAINED.token_bytes) == BPE.vocab_size


def test_pretrained_takes_its_own_end_token_but_text_cannot_spell_it(tmp_path: Path) -> None:
    path = save_with_end_token(tmp_path / "tokenizer.json")
    settings = PretrainedTokenizer(kind="pretrained", path=str(path), vocab_size=320)
    tokenizer = load_pretrained(settings)
    assert tokenizer.vocab_size == 320
    assert rebuilt(tokenizer, "a <|end_of_text|> b") == (b"a <|end_of_text|> b", 19)
    assert tokenizer.token_bytes[tokenizer.end_of_document] == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"path": "nowhere.json"}, "no such tokenizer file"),
        ({"end_of_document": "<eos>"}, r"special tokens: <\|end_of_text\|>"),
        ({"vocab_size": 260}, "has ids up to .* set vocab_size"),
    ],
)
def test_unusable_pretrained_tokenizers_say_why(tmp_path: Path, change: dict, complaint: str) -> None:
    path = save_with_end_token(tmp_path / "tokenizer.json")
    settings = {"kind": "pretrained", "path": str(path), "vocab_size": 320} | change
    with pytest.raises(DataError, match=complaint):
        load_pretrained(PretrainedTokenizer(**settings))


def test_a_tokenizer_that_loses_text_is_refused(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"<|end_of_text|>": 0, "?": 1}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "words.json"))
    settings = PretrainedTokenizer(kind="pretrained", path=str(tmp_path / "words.json"), vocab_size=300)
    with pytest.raises(DataError, match="not a byte-level tokenizer"):
        load_pretrained(settings)


def test_training_is_deterministic() -> None:
    again = train_bpe(BPE, [b"the ladder has rungs, the rungs have a width " * 20])
    assert again.key == TRAINED.key
    assert np.array_equal(again.token_bytes, TRAINED.token_bytes)


def save_with_end_token(path: Path) -> Path:
    TRAINED.save(path)
    inner = Tokenizer.from_file(str(path))
    inner.add_special_tokens(["<|end_of_text|>"])
    inner.save(str(path))
    return path
