"""The fast encoder gives the reference's ids, is left aside where it does not, and that is said."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from stepladder.data import encoding
from stepladder.data.encoding import NASTY, Encoder, fast_encoder

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_2 = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT_2 = None
END = "<|end_of_text|>"
TEXT = "the ladder has rungs, the rungs have a width\n\tif (x):  # naïve 漢字 🙂 123 4567\r\n don't we'll "


def trained(pattern: str | None, ignore_merges: bool = False, more: Sequence[str] = ()) -> Tokenizer:
    """A byte-level BPE with a special token and an added one that is plain."""
    inner = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if pattern is None:
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        inner.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    inner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator([TEXT * 20, *NASTY, *more], trainer)
    inner.add_special_tokens([END, "<s>"])
    inner.add_tokens(["<plain>"])
    inner.encode_special_tokens = True
    return inner


INNER = {
    "gpt2": trained(GPT_2),
    "llama3": trained(LLAMA_3, ignore_merges=True),
    "qwen2": trained(QWEN_2),
}
FAST = {name: fast_encoder(inner.to_str()) for name, inner in INNER.items()}
PIECES = [
    *" \n\r\t'\0aé漢🙂1٣\u0301\u00a0\u200d\ufeff\U0010ffff",
    "'s",
    "'LL",
    END,
    "<s>",
    "<plain>",
    "the ladder",
]


def as_lists(ids: list[np.ndarray]) -> list[list[int]]:
    return [one.tolist() for one in ids]


@pytest.mark.parametrize("name", INNER)
@given(texts=st.lists(st.text() | st.lists(st.sampled_from(PIECES)).map("".join), max_size=5))
def test_both_encoders_agree_on_any_text(name: str, texts: list[str]) -> None:
    assert as_lists(FAST[name](texts)) == as_lists(Encoder(INNER[name], name).reference(texts))


@pytest.mark.parametrize("name", INNER)
def test_both_encoders_agree_on_nasty_text_and_what_spells_special_tokens_stays_text(name: str) -> None:
    texts = [*NASTY, END, f"a{END}b", "<s><s>", " <plain> "]
    ids = FAST[name](texts)
    assert as_lists(ids) == as_lists(Encoder(INNER[name], name).reference(texts))
    assert INNER[name].token_to_id(END) not in np.concatenate(ids)
    assert INNER[name].token_to_id("<plain>") in ids[-1]


def many(n: int = 400) -> list[str]:
    """Documents of 120,000 characters in all, more than is compared, and none like another."""
    return [f"{n * i} {TEXT}" * (1 + i % 5) for i in range(n)]


def test_a_large_batch_is_encoded_fast_and_compared_in_places(monkeypatch, capsys) -> None:
    seen: list[str] = []
    reference = Encoder.reference
    monkeypatch.setattr(
        Encoder, "reference", lambda self, texts: seen.extend(texts) or reference(self, texts)
    )
    texts = many()
    encoder = Encoder(INNER["llama3"], "mine.json")
    found = encoder(texts)
    compared = [text for text in seen if text in texts]
    assert {texts[0], texts[-1]} < set(compared)
    assert set(NASTY) < set(seen) and {END, "<plain>"} < set(seen)
    assert sum(map(len, compared)) < sum(map(len, texts)) / 10
    assert as_lists(found) == as_lists(reference(encoder, texts))
    assert capsys.readouterr().err == ""


def test_long_documents_are_compared_in_different_places() -> None:
    text = "".join(f"{n:09}\n" for n in range(30_000))
    sample = encoding._sample([text])
    assert sample.texts[0] == text[: encoding.SAMPLE_CHARACTERS] and text.endswith(sample.texts[-1])
    assert len(set(sample.texts)) == encoding.SAMPLES
    assert encoding._sample(["short", "ones"]) == (["short", "ones"], True)
    assert encoding._sample([]) == ([], True)


def one_merge_apart() -> tuple[Tokenizer, Tokenizer]:
    """A tokenizer, and one that takes `qzq` for one token, which no nasty text has."""
    other = trained(GPT_2, more=["qzq"] * 1000)
    told = json.loads(other.to_str())
    merges = told["model"]["merges"]
    told["model"]["merges"] = [merge for merge in merges if "".join(merge) != "qzq"]
    assert len(told["model"]["merges"]) == len(merges) - 1
    inner = Tokenizer.from_str(json.dumps(told))
    inner.encode_special_tokens = True
    return inner, other


def test_documents_with_a_difference_are_encoded_by_the_reference_and_that_is_said(
    monkeypatch, capsys
) -> None:
    inner, other = one_merge_apart()
    made = fast_encoder(other.to_str())
    monkeypatch.setattr(encoding, "fast_encoder", lambda told: made)
    encoder = Encoder(inner, "mine.json")
    alike, different = many(), ["qzq", *many()]
    encoder(alike)
    assert capsys.readouterr().err == ""
    found = as_lists(encoder(different))
    assert found == as_lists(encoder.reference(different)) != as_lists(made(different))
    said = capsys.readouterr().err
    assert "mine.json: 401 documents are encoded" in said and "other ids than tokenizers for 'qzq'" in said
    # What follows is judged by itself, so that the order of the work does not matter.
    encoder(alike)
    assert capsys.readouterr().err == ""


def test_an_encoder_that_differs_on_nasty_text_is_never_used(monkeypatch, capsys) -> None:
    made = fast_encoder(INNER["gpt2"].to_str())
    monkeypatch.setattr(encoding, "fast_encoder", lambda told: made)
    encoder = Encoder(INNER["qwen2"], "mine.json")
    for _ in range(2):
        assert as_lists(encoder(many())) == as_lists(encoder.reference(many()))
    said = capsys.readouterr().err
    assert said.count("mine.json: all documents are encoded 15 times slower") == 1


def test_without_the_library_the_reference_encodes_and_says_so(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "fastokens", None)
    encoder = Encoder(INNER["gpt2"], "mine.json")
    assert as_lists(encoder(many())) == as_lists(encoder.reference(many()))
    assert "all documents are encoded 15 times slower than usual: " in capsys.readouterr().err


NORMALIZERS = {
    "nfc": {"type": "NFC"},
    "lowercase": {"type": "Lowercase"},
    "strip": {"type": "Strip", "strip_left": True, "strip_right": True},
    "replace": {"type": "Replace", "pattern": {"String": "q"}, "content": "k"},
    "prepend": {"type": "Prepend", "prepend": "_"},
}


@pytest.mark.parametrize("name", NORMALIZERS)
def test_whatever_a_tokenizer_does_to_text_the_ids_are_the_references(name: str) -> None:
    told = json.loads(INNER["gpt2"].to_str()) | {"normalizer": NORMALIZERS[name]}
    inner = Tokenizer.from_str(json.dumps(told))
    inner.encode_special_tokens = True
    encoder = Encoder(inner, name)
    texts = [f" Aqua e\u0301 {text} " for text in many(200)]
    assert as_lists(encoder(texts)) == as_lists(encoder.reference(texts))
