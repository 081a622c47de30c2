"""Tokenizers: exact round trips and exact byte counts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from stepladder.data.cache import TABLE, CachedText, tokenize
from stepladder.data.errors import DataError
from stepladder.data.tokenization import BYTE_OF_LETTER, Bytes, Subwords, load_pretrained, train_bpe
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


SETTINGS_THAT_ONLY_A_MODEL_NEEDS = {
    "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
    "padding": {
        "strategy": {"Fixed": 40},
        "direction": "Left",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "!",
    },
    "dropout": 0.5,
    "template": {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|end_of_text|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "<|end_of_text|>": {"id": "<|end_of_text|>", "ids": [299], "tokens": ["<|end_of_text|>"]}
        },
    },
}


@pytest.mark.parametrize("setting", SETTINGS_THAT_ONLY_A_MODEL_NEEDS)
def test_settings_for_running_a_model_are_switched_off(tmp_path: Path, setting: str) -> None:
    def change(told: dict) -> None:
        place = told["model"] if setting == "dropout" else told
        name = "post_processor" if setting == "template" else setting
        place[name] = SETTINGS_THAT_ONLY_A_MODEL_NEEDS[setting]

    text = b"the ladder has rungs, the rungs have a width"
    plain, loaded = (load_changed(tmp_path, how) for how in (lambda told: None, change))
    texts = [text] * 20  # dropout is random
    assert [one.tolist() for one in loaded.encode(texts)] == [one.tolist() for one in plain.encode(texts)]
    assert loaded.first_changed(texts, loaded.encode(texts)) is None
    if setting != "template":  # which is not used
        assert loaded.key == plain.key


def added(content: str, **more: bool) -> dict:
    """An entry of `added_tokens`."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": 310, "content": content} | flags | more


CHANGES_TEXT = {
    "lowercase": ("normalizer", {"type": "Lowercase"}, "The", "normalizer Lowercase"),
    "nfc": ("normalizer", {"type": "NFC"}, "e\u0301", "normalizer NFC"),
    "nfkc": ("normalizer", {"type": "NFKC"}, "\ufb01", "normalizer NFKC"),
    "strip": (
        "normalizer",
        {"type": "Strip", "strip_left": True, "strip_right": True},
        " x",
        "normalizer Strip",
    ),
    "replace": (
        "normalizer",
        {
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "q"}, "content": "k"}],
        },
        "aqua",
        "normalizer Replace",
    ),
    "prepend": ("normalizer", {"type": "Prepend", "prepend": "_"}, "x", "normalizer Prepend"),
    "lstrip": ("added", added("<sep>", lstrip=True), "a  <sep>", "'<sep>' has lstrip"),
    "rstrip": ("added", added("<sep>", rstrip=True), "<sep>\n\nb", "'<sep>' has rstrip"),
    "prefix": (
        "pre_tokenizer",
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "x",
        "add_prefix_space",
    ),
    "split": (
        "pre_tokenizer",
        {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"String": "-"}, "behavior": "Removed", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            ],
        },
        "a-b",
        "",
    ),
}


@pytest.mark.parametrize("case", CHANGES_TEXT)
def test_a_tokenizer_that_changes_a_document_is_refused_by_name(tmp_path: Path, case: str) -> None:
    part, value, text, complaint = CHANGES_TEXT[case]

    def change(told: dict) -> None:
        if part == "added":
            told["added_tokens"].append(value)
        else:
            told[part] = value

    with pytest.raises(DataError, match=rf"(?s)tokenizer.json.*{re.escape(complaint)}"):
        tokenizer = load_changed(tmp_path, change)
        texts = ["fine", text, "fine"]
        table = np.zeros(3, dtype=TABLE)
        table["size"], table["row"] = [len(one.encode()) for one in texts], [4, 5, 6]
        flat = np.frombuffer("".join(texts).encode(), np.uint8)
        tokenize(CachedText(table, flat), tokenizer, "uint16", ["web.jsonl"])


def test_the_file_may_lie_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_with_end_token(tmp_path / "tokenizer.json")
    settings = PretrainedTokenizer(kind="pretrained", path="~/tokenizer.json", vocab_size=320)
    assert load_pretrained(settings).name == str(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("end", ["the", "e", "<plain>"])
def test_an_ordinary_token_cannot_end_documents(tmp_path: Path, end: str) -> None:
    def change(told: dict) -> None:
        told["added_tokens"].append(added("<plain>"))

    with pytest.raises(DataError, match=rf"'{end}', which is an ordinary token.*<\|end_of_text\|>"):
        load_changed(tmp_path, change, end_of_document=end)


def test_a_word_that_is_marked_as_special_cannot_end_documents(tmp_path: Path) -> None:
    def change(told: dict) -> None:
        told["added_tokens"].append(added("the", special=True) | {"id": told["model"]["vocab"]["the"]})

    with pytest.raises(DataError, match="'the', which is an ordinary token"):
        load_changed(tmp_path, change, end_of_document="the")


@given(
    texts=st.lists(st.text(st.sampled_from("ab <s>e\u0301TQ-\n"), max_size=20), max_size=5), data=st.data()
)
def test_tokens_that_pass_stand_for_exactly_their_text(texts: list[str], data: st.DataObject) -> None:
    part, value, _, _ = CHANGES_TEXT[data.draw(st.sampled_from(sorted(CHANGES_TEXT)))]
    told = json.loads(TRAINED._inner.to_str())
    told["added_tokens"].append(added("<s>", rstrip=data.draw(st.booleans())))
    if part != "added":
        told[part] = value
    inner = Tokenizer.from_str(json.dumps(told))
    tokenizer = Subwords(inner, 301, 300)
    contents = [text.encode() for text in texts]
    ids = tokenizer.encode(contents)
    wrong = [i for i, one in enumerate(ids) if spelled_by_hand(inner, one) != contents[i]]
    changed = tokenizer.first_changed(contents, ids)
    assert (changed.number if changed else None) == (wrong[0] if wrong else None)


def spelled_by_hand(inner: Tokenizer, ids: np.ndarray) -> bytes:
    """Text of ids, one token after another."""
    names = map(inner.id_to_token, ids.tolist())
    return b"".join(b"<s>" if name == "<s>" else bytes(map(BYTE_OF_LETTER.get, name)) for name in names)


def test_the_alphabet_is_that_of_the_library() -> None:
    assert set(BYTE_OF_LETTER) == set(pre_tokenizers.ByteLevel.alphabet())
    for byte in range(128):
        ((letter, _),) = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(chr(byte))
        assert BYTE_OF_LETTER[letter] == byte


def load_changed(folder: Path, change: Callable[[dict], None], **settings: object) -> Subwords:
    """The trained BPE, its tokenizer.json changed by hand and loaded again."""
    path = save_with_end_token(folder / "tokenizer.json")
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))
    given = {"kind": "pretrained", "path": str(path), "vocab_size": 320} | settings
    return load_pretrained(PretrainedTokenizer(**given))


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
