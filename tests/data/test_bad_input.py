"""Every kind of source, and everything that may be wrong with it: file, place and fix are told, and what was
read before is kept."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from documents import make_texts
from pretrained import encode, save_tokenizer
from test_token_sources import write_megatron

from stepladder.data.errors import DataError
from stepladder.data.manifest import verify
from stepladder.data.prepare import prepare

GOOD, OTHER = make_texts(61, 40), make_texts(62, 40)
BYTE = {"kind": "byte"}


def text_file(path: Path, texts: list) -> None:
    path.write_bytes(b"\n".join(text if isinstance(text, bytes) else text.encode() for text in texts))


def json_lines(path: Path, texts: list, field: str = "text") -> None:
    lines = [
        b'{"text": "' + text + b'"}' if isinstance(text, bytes) else json.dumps({field: text}).encode()
        for text in texts
    ]
    path.write_bytes(b"\n".join(lines) + b"\n")


def table_of(texts: list, field: str) -> pa.Table:
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    return pa.table({field: pa.array(raw, pa.binary()).view(pa.string())})


def parquet(path: Path, texts: list, field: str = "text") -> None:
    pq.write_table(table_of(texts, field), path)


def arrow(path: Path, texts: list, field: str = "text") -> None:
    table = table_of(texts, field)
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=10)


def flat(path: Path, documents: list[np.ndarray]) -> None:
    np.concatenate(documents).astype("<u2").tofile(path)


WRITERS: dict[str, Callable] = {
    "text": text_file,
    "jsonl": json_lines,
    "parquet": parquet,
    "arrow": arrow,
    "tokens": flat,
    "megatron": write_megatron,
}
NAMES = {
    "text": "b.txt",
    "jsonl": "b.jsonl",
    "parquet": "b.parquet",
    "arrow": "b.arrow",
    "tokens": "b.npy",
    "megatron": "b.bin",
}
TOKENS = ("tokens", "megatron")

AGAIN = "fetch or write (it|both) again"
TOLD = {
    ("text", "missing"): r"domain 'web': no file matches '.*b.txt' .*: mend the path",
    ("text", "empty"): r"domain 'web' has no document for train.*: bring more",
    ("text", "cut"): r"b.txt:40: not UTF-8 text: byte 0x\w\w .*: convert the file, or mend or remove",
    ("text", "invalid bytes"): r"b.txt:6: not UTF-8 text: byte 0xff .*: convert the file, or mend or remove",
    ("jsonl", "missing"): r"domain 'web': no file matches '.*b.jsonl' .*: mend the path",
    ("jsonl", "empty"): r"domain 'web' has no document for train.*: bring more",
    ("jsonl", "cut"): r"b.jsonl:40: not valid JSON: .*: mend or remove this line, or fetch the file again",
    (
        "jsonl",
        "wrong field",
    ): r"b.jsonl:1: no field 'text'; this line has: body; name the text's key in `field`",
    ("jsonl", "null"): r"b.jsonl:6: field 'text' holds nothing, not text: `null_text: skip`",
    (
        "jsonl",
        "invalid bytes",
    ): r"b.jsonl:6: not UTF-8 text: byte 0xff .*: convert the file, or mend or remove",
    ("parquet", "missing"): r"domain 'web': no file matches '.*b.parquet' .*: mend the path",
    ("parquet", "empty"): rf"b.parquet: cannot be read from about row 1 on: .*: {AGAIN}",
    ("parquet", "cut"): rf"b.parquet: cannot be read from about row 1 on: .*: {AGAIN}",
    (
        "parquet",
        "wrong field",
    ): r"b.parquet: no column 'text'; it has: body; name the text's column in `field`",
    ("parquet", "null"): r"b.parquet: row 6: column 'text' holds nothing, not text: `null_text: skip`",
    (
        "parquet",
        "invalid bytes",
    ): r"b.parquet: row 6: column 'text': not UTF-8 .*0xff.*: mend or remove this row",
    ("arrow", "missing"): r"domain 'web': no file matches '.*b.arrow' .*: mend the path",
    ("arrow", "empty"): r"b.arrow: is empty, which no Arrow file is: fetch or write it again",
    ("arrow", "cut"): rf"b.arrow: cannot be read from about row \d+ on: .*: {AGAIN}",
    ("arrow", "wrong field"): r"b.arrow: no column 'text'; it has: body; name the text's column in `field`",
    ("arrow", "null"): r"b.arrow: row 6: column 'text' holds nothing, not text: `null_text: skip`",
    ("arrow", "invalid bytes"): r"b.arrow: row 6: column 'text': not UTF-8 .*0xff.*: mend or remove this row",
    ("tokens", "missing"): r"domain 'web': no file matches '.*b.npy' .*: mend the path",
    ("tokens", "empty"): rf"b.npy: is empty: {AGAIN}",
    ("tokens", "cut"): rf"b.npy: ends within id \d+ of uint16: it is cut, .*: {AGAIN}",
    ("tokens", "invalid bytes"): r"b.npy: document 6: id 700 is none of the \d+ of .*: name the tokenizer",
    ("megatron", "missing"): r"domain 'web': no file matches '.*b.bin' .*: mend the path",
    ("megatron", "empty"): rf"b.bin: has 0 bytes, and its index tells of [\d,]+: .*: {AGAIN}",
    ("megatron", "cut"): rf"b.bin: has [\d,]+ bytes, and its index tells of [\d,]+: .*: {AGAIN}",
    ("megatron", "invalid bytes"): r"b.bin: document 6: id 700 is none of the \d+ of .*: name the tokenizer",
}
"""Kind and what is wrong, to what is said. Texts have no field and no null, and neither have tokens."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


def spoil(path: Path, kind: str, wrong: str, tokenizer: dict) -> None:
    """Write OTHER, or its tokens, with something wrong in it."""
    content = list(encode(tokenizer, OTHER) if kind in TOKENS else OTHER)
    if wrong == "wrong field":
        WRITERS[kind](path, content, field="body")
        return
    if wrong == "null":
        content[5] = None
    if wrong == "invalid bytes":
        content[5] = np.array([700, *content[5]]) if kind in TOKENS else b"caf\xff"
    if wrong == "cut" and kind == "text":
        content[-1] = "漢字"
    WRITERS[kind](path, content)
    if wrong == "missing":
        path.unlink()
    elif wrong == "empty":
        path.write_bytes(b"")
    elif wrong == "cut":
        whole = path.read_bytes()
        path.write_bytes(whole[: -1 if kind in ("text", *TOKENS) else -9])


def prepared(folder: Path, kind: str, tokenizer: dict) -> Path:
    source = {
        "kind": kind,
        "domains": {"code": [str(folder / "a" / NAMES[kind])], "web": [str(folder / NAMES[kind])]},
    }
    return prepare(source, tokenizer if kind in TOKENS else BYTE, 0.2, folder / "data")


def lay_out(folder: Path, kind: str, tokenizer: dict) -> None:
    """A domain that is as it should be: of several files where a file is a document."""
    (folder / "a").mkdir()
    path = folder / "a" / NAMES[kind]
    WRITERS[kind](path, encode(tokenizer, GOOD) if kind in TOKENS else GOOD)


@pytest.mark.parametrize(("kind", "wrong"), TOLD)
def test_what_is_wrong_is_told_and_what_was_read_is_kept(
    tmp_path: Path, tokenizer: dict, kind: str, wrong: str
) -> None:
    lay_out(tmp_path, kind, tokenizer)
    spoil(tmp_path / NAMES[kind], kind, wrong, tokenizer)
    if (kind, wrong) == ("text", "empty"):
        (tmp_path / "a" / NAMES[kind]).rename(tmp_path / "a/c.txt")
        for number, text in enumerate(GOOD):
            (tmp_path / f"a/{number}.txt").write_text(text)
    with pytest.raises(DataError, match=TOLD[kind, wrong]) as refused:
        if (kind, wrong) == ("text", "empty"):
            source = {
                "kind": kind,
                "domains": {"code": [f"{tmp_path}/a/*"], "web": [str(tmp_path / NAMES[kind])]},
            }
            prepare(source, BYTE, 0.2, tmp_path / "data")
        else:
            prepared(tmp_path, kind, tokenizer)
    assert "\n" not in str(refused.value)
    if wrong == "missing":
        return  # which is noticed before anything is read
    kept = {path.name: path.stat().st_ino for path in (tmp_path / "data/cache").iterdir()}
    assert len(kept) >= 1 and not (tmp_path / "data/manifest.json").exists()
    if kind == "text":
        return  # a file is a document: there would be too few
    WRITERS[kind](tmp_path / NAMES[kind], encode(tokenizer, OTHER) if kind in TOKENS else OTHER)
    assert verify(prepared(tmp_path, kind, tokenizer)).domains["web"]["train"].documents > 20


@contextmanager
def as_nobody() -> Iterator[None]:
    """Not as root, who reads everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_that_may_not_be_read_is_named(tokenizer: dict, kind: str) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    try:
        lay_out(folder, kind, tokenizer)
        path = folder / NAMES[kind]
        WRITERS[kind](path, encode(tokenizer, OTHER) if kind in TOKENS else OTHER)
        path.chmod(0)
        folder.chmod(0o777)
        open_to_all = folder / "tokenizer.json"
        open_to_all.write_bytes(Path(tokenizer["path"]).read_bytes())
        own = tokenizer | {"path": str(open_to_all)}
        said = rf"{NAMES[kind]}.*: cannot be read.*Permission denied: give yourself access"
        with as_nobody(), pytest.raises(DataError, match=said):
            prepared(folder, kind, own)
    finally:
        shutil.rmtree(folder)


INDEX = {
    "missing": (None, r"b.bin: cannot be read: No such file"),
    "empty": (lambda content: b"", r"b.idx: not an index of Megatron's \(0 bytes\): fetch or write"),
    "cut": (
        lambda content: content[:-200],
        r"b.idx: has [\d,]+ bytes, and tells of \d+ sequences .*: it is cut: fetch",
    ),
    "another format": (lambda content: b"x" * 99, r"b.idx: not an index of Megatron's \(99 bytes\)"),
    "another version": (
        lambda content: content[:9] + b"\2" + content[10:],
        r"b.idx: version 2, .*write it by megatron-core",
    ),
    "of floats": (
        lambda content: content[:17] + b"\6" + content[18:],
        r"b.idx: version 1, dtype 6: .*write it by megatron-core",
    ),
    "out of order": (
        lambda content: content[:34] + b"\xff\0" + content[36:],
        r"b.idx: its sequences do not follow one another",
    ),
}


@pytest.mark.parametrize("wrong", INDEX)
def test_what_is_wrong_with_an_index_is_told(tmp_path: Path, tokenizer: dict, wrong: str) -> None:
    lay_out(tmp_path, "megatron", tokenizer)
    write_megatron(tmp_path / "b.bin", encode(tokenizer, OTHER))
    change, said = INDEX[wrong]
    index = tmp_path / "b.idx"
    if change is None:
        index.unlink()
    else:
        index.write_bytes(change(index.read_bytes()))
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, "megatron", tokenizer)


HEADERS = {
    "count": (
        lambda head: head[:8] + b"\1\0\0\0" + head[12:],
        r"b.npy: its header tells of 1 ids, and it holds",
    ),
    "numpy, two axes": (
        None,
        r"b.npy: holds uint16 of shape \(2, 3\): token ids are a flat array of integers",
    ),
    "compressed": (..., r"b.npy.gz: tokens are read as they are stored: decompress it"),
}


@pytest.mark.parametrize("wrong", HEADERS)
def test_what_is_wrong_with_a_header_is_told(tmp_path: Path, tokenizer: dict, wrong: str) -> None:
    change, said = HEADERS[wrong]
    path = tmp_path / ("b.npy.gz" if change is ... else "b.npy")
    if callable(change):
        ids = np.concatenate(encode(tokenizer, OTHER))
        header = np.zeros(256, "<i4")
        header[:3] = 20240520, 1, len(ids)
        path.write_bytes(change(header.tobytes()) + ids.astype("<u2").tobytes())
    elif change is None:
        np.save(path, np.zeros((2, 3), np.uint16))
    else:
        path.write_bytes(b"anything")
    with pytest.raises(DataError, match=said):
        prepare({"kind": "tokens", "domains": {"web": [str(path)]}}, tokenizer, 0.2, tmp_path / "data")
