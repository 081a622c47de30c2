"""From source to shards: the split, duplicates, bad files and going on after them, tampering."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from documents import make_texts, write_jsonl

from stepladder.data import cache
from stepladder.data.errors import DataError
from stepladder.data.manifest import Manifest, read, verify
from stepladder.data.prepare import prepare

BYTE = {"kind": "byte"}
BPE = {"kind": "bpe", "vocab_size": 320}


def documents(manifest: Path, domain: str, split: str) -> list[bytes]:
    """Texts of a shard of bytes, read without the package's own reader."""
    shard = read(manifest).domains[domain][split]
    flat = (manifest.parent / shard.token_file.name).read_bytes()
    starts = np.load(manifest.parent / shard.document_file.name)["start"].tolist()
    found = [flat[a : b - 1] for a, b in zip(starts, [*starts[1:], len(flat)], strict=True)]
    assert flat.count(b"\xff") == len(found) == shard.documents
    assert (len(flat), sum(map(len, found))) == (shard.tokens, shard.bytes)
    return found


def test_every_document_is_in_exactly_one_split(manifest: Path, texts: dict[str, list[str]]) -> None:
    for domain, expected in texts.items():
        train, held_out = (documents(manifest, domain, split) for split in ("train", "validation"))
        assert sorted(train + held_out) == sorted(text.encode() for text in expected)
        assert 0.1 < len(held_out) / len(expected) < 0.3


def test_manifest_describes_its_files(manifest: Path) -> None:
    described = verify(manifest)
    names = {file.name for file in described.files}
    assert {path.name for path in manifest.parent.iterdir()} == names | {"manifest.json"}
    assert sum(described.mix.values()) == pytest.approx(1)
    assert described.description == "jsonl: web from 1 files, code from 1 files"


def test_same_data_give_the_same_shards_in_another_process(
    manifest: Path, source: dict, tmp_path: Path
) -> None:
    for tokenizer in (BYTE, BPE):
        code = (
            "import sys, json, pathlib; from stepladder.data.prepare import prepare;"
            "prepare(json.loads(sys.argv[1]), json.loads(sys.argv[2]), 0.2, pathlib.Path(sys.argv[3]))"
        )
        out = tmp_path / tokenizer["kind"]
        arguments = [json.dumps(source), json.dumps(tokenizer), str(out)]
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
        here = manifest if tokenizer is BYTE else prepare(source, tokenizer, 0.2, tmp_path / "here")
        assert read(out / "manifest.json") == read(here)


def test_duplicates_are_dropped_before_the_split(tmp_path: Path) -> None:
    texts = make_texts(3, 40)
    first = write_jsonl(tmp_path / "a.jsonl", texts)
    second = write_jsonl(tmp_path / "b.jsonl", texts[::-1] + texts)
    source = {"kind": "jsonl", "domains": {"web": [str(first), str(second)]}}
    path = prepare(source, BYTE, 0.2, tmp_path / "data")
    found = [*documents(path, "web", "train"), *documents(path, "web", "validation")]
    assert sorted(found) == sorted(text.encode() for text in texts)
    assert read(path).duplicates == 80


def test_bpe_shards_stand_for_the_same_bytes(manifest: Path, source: dict, tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    path = prepare(source, BPE, 0.2, tmp_path)
    bpe, byte = verify(path), read(manifest)
    assert bpe.dtype == "uint16"
    inner = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for domain, splits in bpe.domains.items():
        for split, shard in splits.items():
            assert shard.bytes == byte.domains[domain][split].bytes
            assert shard.tokens < byte.domains[domain][split].tokens
            ids = np.fromfile(tmp_path / shard.token_file.name, dtype=bpe.dtype)
            ends = np.flatnonzero(ids == bpe.end_of_document)
            decoded = [inner.decode(part.tolist()[:-1]) for part in np.split(ids, ends + 1)[:-1]]
            assert [text.encode() for text in decoded] == documents(manifest, domain, split)


def test_text_jsonl_and_parquet_agree(tmp_path: Path) -> None:
    texts = make_texts(4, 50)
    (tmp_path / "text").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / f"text/{number:03}.txt").write_text(text, encoding="utf-8")
    write_jsonl(tmp_path / "a.jsonl", texts)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    pq.write_table(pa.table({"id": range(50), "body": texts}), tmp_path / "a.parquet", row_group_size=7)
    sources = [
        {"kind": "text", "domains": {"web": [f"{tmp_path}/text/**/*.txt"]}},
        {"kind": "jsonl", "domains": {"web": [f"{tmp_path}/a.jsonl"]}},
        {"kind": "jsonl", "domains": {"web": [f"{tmp_path}/*.gz"]}},
        {"kind": "parquet", "domains": {"web": [f"{tmp_path}/a.parquet"]}, "field": "body"},
    ]
    made = [prepare(source, BYTE, 0.2, tmp_path / f"out{i}") for i, source in enumerate(sources)]
    assert len({read(path).sha256 for path in made}) == 1


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"text": "cut', r"bad.jsonl:3: not valid JSON: Unterminated string.*column 10"),
        (b'["text"]', r"bad.jsonl:3: expected an object \{...\}, found list"),
        (b'{"body": "x", "id": 1}', r"bad.jsonl:3: no field 'text'; this line has: body, id"),
        (b'{"text": null}', r"bad.jsonl:3: field 'text' holds nothing, not text"),
        (b'{"text": "\\ud800"}', r"bad.jsonl:3: field 'text' is not Unicode text"),
        (b'{"text": "\xe9"}', r"bad.jsonl:3: not UTF-8 text: byte 0xe9"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, complaint: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' + line + b"\n")
    with pytest.raises(DataError, match=complaint):
        prepare({"kind": "jsonl", "domains": {"web": [str(path)]}}, BYTE, 0.2, tmp_path / "data")


def test_other_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo \xff\n")
    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "null.parquet")
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "number.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    whole = gzip.compress(b'{"text": "x"}\n' * 1000)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    cases = [
        ("text", "a.txt", {}, r"a.txt:2: not UTF-8 text: byte 0xff"),
        ("text", "none.*", {}, r"domain 'web': no file matches '.*none.\*'"),
        ("parquet", "null.parquet", {}, r"null.parquet: row 2: column 'text' holds nothing"),
        ("parquet", "number.parquet", {}, r"number.parquet: row 1: column 'text' holds int"),
        ("parquet", "null.parquet", {"field": "body"}, r"no column 'body'; it has: text"),
        ("parquet", "broken.parquet", {}, r"broken.parquet: cannot be read"),
        ("jsonl", "cut.jsonl.gz", {}, r"cut.jsonl.gz:\d+: cannot be read"),
    ]
    for kind, name, more, complaint in cases:
        source = {"kind": kind, "domains": {"web": [str(tmp_path / name)]}} | more
        with pytest.raises(DataError, match=complaint):
            prepare(source, BYTE, 0.2, tmp_path / "data")


def test_what_was_read_before_a_bad_file_is_kept_for_the_next_attempt(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", make_texts(5, 30))
    whole = write_jsonl(tmp_path / "b.jsonl", make_texts(6, 30)).read_text()
    (tmp_path / "b.jsonl").write_text(whole + "{oops\n")
    source = {"kind": "jsonl", "domains": {"web": [f"{tmp_path}/*.jsonl"]}}

    def attempt() -> list[tuple[str, int]]:
        with pytest.raises(DataError, match=r"b.jsonl:31"):
            prepare(source, BPE, 0.2, tmp_path / "data")
        assert not (tmp_path / "data/manifest.json").exists()
        return [(path.name, path.stat().st_ino) for path in (tmp_path / "data/cache").iterdir()]

    kept = attempt()
    assert len(kept) == 1
    assert attempt() == kept  # the same file on disk: a.jsonl was not parsed again

    (tmp_path / "b.jsonl").write_text(whole)
    path = prepare(source, BPE, 0.2, tmp_path / "data")
    assert verify(path) == verify(prepare(source, BPE, 0.2, tmp_path / "fresh"))
    assert not (tmp_path / "data/cache").exists()


def test_an_entry_that_is_cached_is_not_made_again(tmp_path: Path) -> None:
    def fail() -> cache.CachedText:
        raise AssertionError("made again")

    text = cache.CachedText(np.zeros(1, dtype=cache.TABLE), np.arange(5, dtype=np.uint8))
    path = cache.Cache(tmp_path).get("tokens-a", lambda: text)
    assert cache.Cache(tmp_path).get("tokens-a", fail) == path
    assert np.array_equal(cache.load(path).flat, text.flat)


def test_too_little_text_is_explained(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ["one document"])
    with pytest.raises(DataError, match="domain 'web' has no document for"):
        prepare({"kind": "jsonl", "domains": {"web": [str(path)]}}, BYTE, 0.2, tmp_path / "data")


def test_changed_shards_are_noticed(source: dict, tmp_path: Path) -> None:
    path = prepare(source, BYTE, 0.2, tmp_path)
    shard = tmp_path / "web.train.tokens"
    content = bytearray(shard.read_bytes())
    content[5] ^= 1
    shard.write_bytes(content)
    assert isinstance(read(path), Manifest)
    with pytest.raises(DataError, match=r"web.train.tokens is not what"):
        verify(path)
    shard.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"web.train.tokens has [\d,]+ bytes, not"):
        read(path)
    shard.unlink()
    with pytest.raises(DataError, match="is missing"):
        read(path)
    with pytest.raises(DataError, match="prepare the data first"):
        read(tmp_path / "nowhere.json")
