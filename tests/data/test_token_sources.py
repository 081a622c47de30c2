"""Tokens already made, as OLMo, nanoGPT, llm.c and Megatron keep them, and shards written for Megatron."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from documents import make_texts, write_jsonl
from hypothesis import given
from hypothesis import strategies as st
from pretrained import BEGIN, END, encode, save_tokenizer
from tokenizers import Tokenizer
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.data import flat, megatron
from stepladder.data.errors import DataError
from stepladder.data.export import export
from stepladder.data.manifest import Manifest, read, verify
from stepladder.data.prepare import prepare
from stepladder.data.tokens import _split

TEXTS = make_texts(31, 60)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="module")
def from_text(tmp_path_factory: pytest.TempPathFactory, tokenizer: dict) -> Manifest:
    """Shards of the same documents, made from their text."""
    folder = tmp_path_factory.mktemp("text")
    source = {"kind": "jsonl", "domains": {"web": [str(write_jsonl(folder / "a.jsonl", TEXTS))]}}
    return read(prepare(source, tokenizer, 0.2, folder / "data"))


def with_header(magic: int, version: int, dtype: str) -> Callable[[Path, list[np.ndarray]], None]:
    def write(path: Path, documents: list[np.ndarray]) -> None:
        ids = np.concatenate(documents)
        header = np.zeros(256, np.int32)
        header[:3] = magic, version, len(ids)
        path.write_bytes(header.tobytes() + ids.astype(dtype).tobytes())

    return write


def end_first(path: Path, documents: list[np.ndarray]) -> None:
    """As modded-nanogpt: the end-of-document id before each document."""
    with_header(20240520, 1, "uint16")(path, [np.roll(ids, 1) for ids in documents])


WRITERS: dict[str, tuple[Callable[[Path, list[np.ndarray]], object], dict]] = {
    "OLMo, a memmap": (lambda path, ids: np.concatenate(ids).astype("<u2").tofile(path), {}),
    "OLMo, uint32": (
        lambda path, ids: np.concatenate(ids).astype("<u4").tofile(path),
        {"dtype": "uint32"},
    ),
    "numpy, with a header": (lambda path, ids: np.save(path, np.concatenate(ids).astype("<u2")), {}),
    "numpy, int32": (lambda path, ids: np.save(path, np.concatenate(ids).astype("<i4")), {}),
    "nanoGPT": (lambda path, ids: np.concatenate(ids).astype("<u2").tofile(path), {}),
    "modded-nanogpt": (end_first, {}),
    "llm.c, GPT-2": (with_header(20240520, 1, "uint16"), {}),
    "llm.c, Llama 3": (with_header(20240801, 7, "uint32"), {}),
}


@pytest.mark.parametrize("chunk_bytes", [60, 2**24])
@pytest.mark.parametrize("name", WRITERS)
def test_flat_tokens_give_the_shards_of_their_text(
    tmp_path: Path,
    tokenizer: dict,
    from_text: Manifest,
    name: str,
    chunk_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flat, "CHUNK_BYTES", chunk_bytes)
    write, more = WRITERS[name]
    write(tmp_path / "a.npy", encode(tokenizer, TEXTS))
    source = {"kind": "tokens", "domains": {"web": [str(tmp_path / "a.npy")]}} | more
    made = verify(prepare(source, tokenizer, 0.2, tmp_path / "data"))
    assert made.sha256 == from_text.sha256
    assert made.domains["web"]["train"].bytes == from_text.domains["web"]["train"].bytes


def write_megatron(path: Path, documents: list[np.ndarray], sentences: int = 1, dtype=np.int32) -> None:
    """By Megatron's own writer, each document in so many sequences."""
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    builder = IndexedDatasetBuilder(str(path), dtype=dtype)
    for ids in documents:
        parts = np.array_split(ids, sentences)
        builder.add_document(ids.astype(dtype), [len(part) for part in parts])
    builder.finalize(str(path.with_suffix(".idx")))


@pytest.mark.parametrize("chunk_bytes", [60, 2**24])
@pytest.mark.parametrize(("sentences", "dtype"), [(1, np.int32), (3, np.uint16), (2, np.int64)])
@pytest.mark.parametrize("ends", [True, False])
def test_what_megatron_writes_gives_the_shards_of_its_text(
    tmp_path: Path,
    tokenizer: dict,
    from_text: Manifest,
    sentences: int,
    dtype: type,
    ends: bool,
    chunk_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(megatron, "CHUNK_BYTES", chunk_bytes)
    documents = [ids if ends else ids[:-1] for ids in encode(tokenizer, TEXTS)]
    write_megatron(tmp_path / "a.bin", documents, sentences, dtype)
    for name in ("a", "a.bin", "a.idx", "*"):
        source = {"kind": "megatron", "domains": {"web": [str(tmp_path / name)]}}
        made = verify(prepare(source, tokenizer, 0.2, tmp_path / "data"))
        assert made.sha256 == from_text.sha256


def test_megatron_reads_what_is_exported(manifest: Path, tmp_path: Path, source: dict) -> None:
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    for tokenizer in (None, {"kind": "bpe", "vocab_size": 300}, {"kind": "bpe", "vocab_size": 70_000}):
        if tokenizer is not None:
            manifest = prepare(source, tokenizer, 0.2, tmp_path / "data")
        out = tmp_path / f"out{read(manifest).dtype}"
        done = CliRunner().invoke(app, ["export-data", str(manifest), "--out", str(out)])
        assert done.exit_code == 0, done.output
        prefixes = [Path(line) for line in done.output.splitlines()]
        assert [path.name for path in prefixes] == [
            f"{domain}.{split}" for domain in ("web", "code") for split in ("train", "validation")
        ]
        told = read(manifest)
        for prefix in prefixes:
            domain, split = prefix.name.split(".")
            shard = told.domains[domain][split]
            tokens = np.fromfile(manifest.parent / shard.token_file.name, told.dtype)
            found = IndexedDataset(str(prefix))
            assert len(found) == len(found.document_indices) - 1 == shard.documents
            assert np.array_equal(np.concatenate([found[i] for i in range(len(found))]), tokens)
            assert all(found[i][-1] == told.end_of_document for i in range(len(found)))
        about = json.loads((out / "about.json").read_text())
        assert (about["sha256"], about["end_of_document"]) == (told.sha256, told.end_of_document)
        assert (out / "tokenizer.json").exists() == (tokenizer is not None)


def test_what_is_exported_comes_back(manifest: Path, tmp_path: Path) -> None:
    export(manifest, tmp_path / "out")
    domains = {
        domain: [f"{tmp_path}/out/{domain}.train", f"{tmp_path}/out/{domain}.val*"]
        for domain in ("web", "code")
    }
    again = read(prepare({"kind": "megatron", "domains": domains}, {"kind": "byte"}, 0.2, tmp_path / "data"))
    was = read(manifest)
    assert again.end_of_document == was.end_of_document
    for domain, splits in was.domains.items():
        assert again.domains[domain]["validation"].token_file.sha256 == splits["validation"].token_file.sha256
        assert again.domains[domain]["train"].token_file.sha256 == splits["train"].token_file.sha256


def test_a_folder_that_is_there_is_not_written_into(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"out: is there already: name a new folder"):
        export(manifest, tmp_path / "out")
    assert [*tmp_path.iterdir()] == [tmp_path / "out"]


def test_special_tokens_stay_and_stand_for_no_text(
    tmp_path: Path, tokenizer: dict, from_text: Manifest
) -> None:
    np.concatenate(encode(tokenizer, TEXTS, begin=True)).astype("<u2").tofile(tmp_path / "a.bin")
    source = {"kind": "tokens", "domains": {"web": [str(tmp_path / "a.bin")]}}
    made = verify(prepare(source, tokenizer, 0.2, tmp_path / "data"))
    begin = Tokenizer.from_file(tokenizer["path"]).token_to_id(BEGIN)
    for split, shard in made.domains["web"].items():
        same = from_text.domains["web"][split]
        assert (shard.bytes, shard.documents) == (same.bytes, same.documents)
        assert shard.tokens == same.tokens + same.documents
        ids = np.fromfile(tmp_path / "data" / shard.token_file.name, made.dtype)
        assert np.sum(ids == begin) == shard.documents


def test_a_document_that_is_cut_within_a_character_counts_its_bytes(tmp_path: Path) -> None:
    texts = [text.encode() for text in TEXTS]
    texts[7] = "漢".encode()[:2] + texts[7]
    (tmp_path / "a.bin").write_bytes(b"\xff".join(texts) + b"\xff")
    ids = np.frombuffer((tmp_path / "a.bin").read_bytes(), np.uint8)
    ids.astype("<u2").tofile(tmp_path / "a.bin")
    source = {"kind": "tokens", "domains": {"web": [str(tmp_path / "a.bin")]}}
    made = read(prepare(source, {"kind": "byte"}, 0.2, tmp_path / "data"))
    assert sum(shard.bytes for shard in made.domains["web"].values()) == sum(map(len, texts))


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_documents_are_cut_at_every_end_and_every_mark(ids: list[int], marks: list[int]) -> None:
    """Against a loop; 0 ends a document."""
    starts = sorted({0, *(mark for mark in marks if mark <= len(ids))})
    expected, own = [], []
    for place, id_ in enumerate(ids):
        if place in starts or (place and ids[place - 1] == 0):
            expected.append((own, starts.index(max(s for s in starts if s <= place)) + 1))
            own = []
            expected[-1] = (own, expected[-1][1])
        if id_:
            own.append(id_)
    block = _split(np.array(ids, np.int64), np.array(starts, np.int64), 1, 0, 1)
    found = [block.ids[a:b].tolist() for a, b in zip(block.starts, block.ends, strict=True)]
    assert found == [own for own, _ in expected if own]
    assert block.rows.tolist() == [row for own, row in expected if own]


def test_the_wrong_tokenizer_is_refused(tmp_path: Path, tokenizer: dict) -> None:
    other = save_tokenizer(tmp_path / "other.json", seed=5, vocab_size=420)
    np.concatenate(encode(tokenizer, TEXTS)).astype("<u2").tofile(tmp_path / "a.bin")
    source = {"kind": "tokens", "domains": {"web": [str(tmp_path / "a.bin")]}}
    with pytest.raises(
        DataError, match=r"a.bin: document \d+: .*other.json reads its tokens as .* name the tokenizer"
    ):
        prepare(source, other, 0.2, tmp_path / "data")


def test_a_bpe_of_their_own_is_refused_in_words(tmp_path: Path) -> None:
    source = {"kind": "tokens", "domains": {"web": [str(tmp_path / "a.bin")]}}
    with pytest.raises(
        DataError, match="holds tokens, and no text that a BPE could be trained on: name the tokenizer"
    ):
        prepare(source, {"kind": "bpe", "vocab_size": 300}, 0.2, tmp_path / "data")


def test_the_end_is_the_tokenizers(tokenizer: dict) -> None:
    assert encode(tokenizer, ["x"])[0][-1] == Tokenizer.from_file(tokenizer["path"]).token_to_id(END)
