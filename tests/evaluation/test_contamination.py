"""Items are found in the training text, and only those that are there."""

from __future__ import annotations

import random
from pathlib import Path

from stepladder.data.decode import documents as stored
from stepladder.data.manifest import parse
from stepladder.data.prepare import prepare
from stepladder.evaluation import contamination
from stepladder.evaluation.contamination import look_for
from stepladder.record.items import Item

DRAW = random.Random(0)
WORDS = ["".join(DRAW.choices("abcdefghij", k=5)) for _ in range(3000)]


def corpus(folder: Path, documents: list[str], tokenizer: dict) -> Path:
    (folder / "text").mkdir()
    for number, text in enumerate(documents):
        (folder / "text" / f"{number}.txt").write_text(text)
    source = {"kind": "text", "domains": {"web": [str(folder / "text" / "*.txt")]}}
    return prepare(source, tokenizer, 0.3, folder / "data")


def documents() -> list[str]:
    return [" ".join(DRAW.choices(WORDS, k=200)) for _ in range(30)]


def asked(text: str, first: int, words: int) -> str:
    return " ".join(text.split()[first : first + words])


def test_only_what_was_trained_on_is_found(tmp_path: Path) -> None:
    for kind in ({"kind": "byte"}, {"kind": "bpe", "vocab_size": 400}):
        folder = tmp_path / kind["kind"]
        folder.mkdir()
        texts = documents()
        path = corpus(folder, texts, kind)
        manifest = parse(path)
        trained = {text.decode() for text in stored(manifest, path, "web", "train")}
        items = [
            Item(str(n), asked(text, 50, 10), (" " + asked(text, 60, 10),), 0) for n, text in enumerate(texts)
        ]
        found = look_for(items, manifest, path)
        assert found.found.tolist() == [text in trained for text in texts]
        assert 0 < found.found.sum() < len(texts)
        assert found.training_bytes == sum(len(text.encode()) for text in trained)
        assert not found.too_short.any()


def test_case_and_punctuation_do_not_hide_an_item(tmp_path: Path) -> None:
    texts = documents()
    path = corpus(tmp_path, texts, {"kind": "byte"})
    items = [
        Item(str(n), asked(text, 0, 20).upper().replace(" ", " -- "), (".",), 0)
        for n, text in enumerate(texts)
    ]
    plain = [Item(str(n), asked(text, 0, 20), (".",), 0) for n, text in enumerate(texts)]
    manifest = parse(path)
    assert look_for(items, manifest, path).found.tolist() == look_for(plain, manifest, path).found.tolist()


def test_fewer_words_than_a_run_tell_nothing(tmp_path: Path) -> None:
    texts = documents()
    path = corpus(tmp_path, texts, {"kind": "byte"})
    items = [Item(str(words), asked(texts[0], 0, words), ("!",), 0) for words in (1, 12, 13)] + [
        Item("none", "", ("?!",), 0)
    ]
    assert look_for(items, parse(path), path).too_short.tolist() == [True, True, False, True]


def test_a_long_document_is_read_in_pieces(tmp_path: Path, monkeypatch) -> None:
    texts = documents()
    path = corpus(tmp_path, texts, {"kind": "byte"})
    items = [
        Item(str(n), asked(text, first, 14), ("",), 0)
        for n, text in enumerate(texts)
        for first in (0, 90, 185)
    ]
    manifest = parse(path)
    whole = look_for(items, manifest, path)
    monkeypatch.setattr(contamination, "READ_BYTES", 400)
    monkeypatch.setattr(contamination, "OVERLAP", 150)
    assert look_for(items, manifest, path).found.tolist() == whole.found.tolist()
