"""Files as people have them: compressed in any way, of any name, with rows that are not as they should be."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from documents import make_texts
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from stepladder.data import prepare as module
from stepladder.data.cache import read_chunk
from stepladder.data.errors import DataError
from stepladder.data.files import chunks
from stepladder.data.manifest import read
from stepladder.data.opening import compression, matching, read_all
from stepladder.data.prepare import prepare
from stepladder.documents.lock import Holder, hold
from stepladder.schema.data import SourceConfig

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda content: pa.compress(content, codec="zstd", asbytes=True),
    "lz4": lambda content: pa.Codec("lz4").compress(content, asbytes=True),
    "none": lambda content: content,
    "gzip, two members": lambda content: gzip.compress(content[:9]) + gzip.compress(content[9:]),
    "xz, two streams": lambda content: lzma.compress(content[:9]) + lzma.compress(content[9:]),
}
CONTENT = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in make_texts(9, 40))


def texts_of(source: dict) -> list[str]:
    """What a source yields, in order."""
    found = TypeAdapter(SourceConfig).validate_json(json.dumps(source))
    return [document.text.decode() for chunk in chunks(found) for document in chunk.read() if document.text]


def jsonl(path: Path, **more: str) -> dict:
    return {"kind": "jsonl", "domains": {"web": [str(path)]}} | more


def parquet(path: Path, **more: str) -> dict:
    return {"kind": "parquet", "domains": {"web": [str(path)]}} | more


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a"])
@pytest.mark.parametrize("packer", PACKERS)
def test_compression_is_told_by_content(tmp_path: Path, packer: str, name: str) -> None:
    (tmp_path / name).write_bytes(PACKERS[packer](CONTENT))
    assert texts_of(jsonl(tmp_path / name)) == make_texts(9, 40)
    assert read_all(str(tmp_path / name)) == CONTENT


@pytest.mark.parametrize("packer", [name for name in PACKERS if name not in ("none", "lz4")])
def test_a_cut_file_is_refused_by_name(tmp_path: Path, packer: str) -> None:
    packed = PACKERS[packer](CONTENT)
    (tmp_path / "a.jsonl").write_bytes(packed[: len(packed) - 20])
    with pytest.raises(DataError, match=r"a.jsonl:\d+: cannot be read from about here on: \w"):
        texts_of(jsonl(tmp_path / "a.jsonl"))
    with pytest.raises(DataError, match=r"a.jsonl: cannot be read: \w"):
        read_all(str(tmp_path / "a.jsonl"))


@given(st.text(min_size=1).map(str.encode) | st.just(b"BZh91AY is how it begins"))
def test_no_text_is_taken_for_a_compressed_file(text: bytes) -> None:
    known = compression(text[:10])
    assert known is None or (known == "lz4" and text.startswith(b'\x04"M\x18'))


@pytest.mark.parametrize("packer", [name for name in PACKERS if "two" not in name])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_are_refused(tmp_path: Path, kind: str, packer: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("plain text " * 100)
    archive = Path(shutil.make_archive(str(tmp_path / "all"), kind, tmp_path / "in"))
    archive.write_bytes(PACKERS[packer](archive.read_bytes()))
    with pytest.raises(DataError, match=rf"all.{kind}: is an archive of files .*unpack it"):
        texts_of({"kind": "text", "domains": {"web": [str(archive)]}})


@pytest.mark.parametrize("kind", ["text", "jsonl"])
def test_an_empty_file_holds_no_document_but_an_empty_archive_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").touch()
    assert texts_of({"kind": kind, "domains": {"web": [str(tmp_path / "a")]}}) == []
    for suffix in ("gz", "xz", "bz2", "zst"):
        path = tmp_path / f"a.{suffix}"
        path.touch()
        with pytest.raises(DataError, match=rf"a.{suffix}: is empty"):
            texts_of({"kind": kind, "domains": {"web": [str(path)]}})


def test_an_empty_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").touch()
    with pytest.raises(DataError, match=r"a.parquet: cannot be read from about row 1"):
        texts_of(parquet(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    "name", ["a[1].txt", "[x]/a.txt", "a[b", "[!a]/[0-9]/b*c.txt", "a?.txt", "{a,b}.txt"]
)
def test_what_exists_is_meant_as_it_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("this")
    (tmp_path / "a1.txt").write_text("not this")
    assert matching("web", (str(tmp_path / name),)) == [str(tmp_path / name)]
    beside = (tmp_path / name).parent
    assert str(tmp_path / name) in matching("web", (f"{beside}/*",))


def test_brackets_still_choose_where_no_such_file_exists(tmp_path: Path) -> None:
    for name in ("a1", "a2", "a3"):
        (tmp_path / name).touch()
    assert matching("web", (f"{tmp_path}/a[12]",)) == [f"{tmp_path}/a1", f"{tmp_path}/a2"]


def test_home_and_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").touch()
    assert matching("web", ("~/*.txt",)) == [str(tmp_path / "a.txt")]
    assert matching("web", ("a.txt", "./*.txt")) == ["./a.txt", "a.txt"]


def test_what_matches_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"'web': no file matches '.*nowhere'"):
        matching("web", (f"{tmp_path}/nowhere",))
    with pytest.raises(DataError, match=r"it is a folder; write .*folder/\*\*/\*$"):
        matching("web", (f"{tmp_path}/folder/",))


@pytest.mark.parametrize("name", [b"a\nb", b"a\xff", "a\u2028".encode()])
def test_names_that_no_line_holds_are_refused(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    with pytest.raises(DataError, match=r"'.*/a.*' has a name that cannot be listed: rename it"):
        matching("web", (f"{tmp_path}/a*",))


@pytest.mark.parametrize("name", ["a b", "a\xa0b", "漢字", "👩‍💻", "'", '"', "$(x)"])
def test_other_names_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert matching("web", (f"{tmp_path}/*",)) == [str(tmp_path / name)]


RECORDS = [
    {"doc": {"text": "first", "more": [1]}, "doc.body": "one"},
    {"doc": {"text": "second", "more": []}, "doc.body": "two"},
]


@pytest.mark.parametrize(
    ("field", "expected"), [("doc.text", ["first", "second"]), ("doc.body", ["one", "two"])]
)
def test_fields_within_fields(tmp_path: Path, field: str, expected: list[str]) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    assert texts_of(jsonl(tmp_path / "a.jsonl", field=field)) == expected
    assert texts_of(parquet(tmp_path / "a.parquet", field=field)) == expected


@pytest.mark.parametrize("field", ["doc", "doc.nothing", "doc.text.deeper", "doc.more.0", "", "."])
def test_fields_that_are_not_there_are_refused_with_their_place(tmp_path: Path, field: str) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a.jsonl:1: |at least 1 character"):
        texts_of(jsonl(tmp_path / "a.jsonl", field=field))
    with pytest.raises(ValueError, match=r"a.parquet: (no column|row 1)|at least 1 character"):
        texts_of(parquet(tmp_path / "a.parquet", field=field))


WITH_NULLS = [
    {"doc": {"text": "a"}},
    {"doc": {"text": None}},
    {"doc": None},
    {"doc": {}},
    {},
    {"doc": {"text": "  "}},
    {"doc": {"text": "b"}},
]


def test_null_texts_are_refused_or_skipped_and_counted(tmp_path: Path) -> None:
    texts = make_texts(8, 30)
    records = [*WITH_NULLS, *({"doc": {"text": text}} for text in texts)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    for source, place in (
        (jsonl(tmp_path / "a.jsonl", field="doc.text"), "a.jsonl:2"),
        (parquet(tmp_path / "a.parquet", field="doc.text"), "a.parquet: row 2"),
    ):
        with pytest.raises(DataError, match=rf"{place}.* holds nothing, not text: `null_text: skip`"):
            texts_of(source)
        skipping = source | {"null_text": "skip"}
        assert texts_of(skipping) == ["a", "b", *texts]
        for tokenizer in ({"kind": "byte"}, {"kind": "bpe", "vocab_size": 300}):
            manifest = read(prepare(skipping, tokenizer, 0.2, tmp_path / source["kind"] / tokenizer["kind"]))
            assert manifest.without_text == {"web": 4}
            assert manifest.degenerate is not None and manifest.degenerate.documents == 32
            assert manifest.duplicates == 0
            assert sum(shard.documents for shard in manifest.domains["web"].values()) == 32


def test_an_option_that_is_not_used_changes_no_spec() -> None:
    given = {"kind": "jsonl", "domains": {"web": ["a"]}}
    told = TypeAdapter(SourceConfig).validate_json(json.dumps(given)).model_dump(mode="json")
    assert told == given | {"domains": {"web": ["a"]}, "field": "text"}


LINES = {
    "a number of 5,000 digits": (b'{"n": %s, "text": "x"}' % (b"9" * 5000), None),
    "an exponent beyond all": (b'{"n": 1e999999, "text": "x"}', None),
    "a number for a text": (b'{"text": %s}' % (b"9" * 5000), r":1: field 'text' holds int, not text"),
    "nesting": (b'{"text": "x", "n": %s}' % (b"[" * 200_000 + b"]" * 200_000), r":1: .*nested too deeply"),
    "nesting that is not closed": (b"[" * 200_000, r":1: .*nested too deeply"),
    "UTF-16": ('{"text": "x"}'.encode("utf-16"), r":1: not UTF-8 text: byte 0xff"),
    "a BOM": (b'\xef\xbb\xbf{"text": "x"}', None),
    "a list": (b"[1]", r":1: expected an object"),
    "a null": (b"null", r":1: expected an object"),
    "nothing closed": (b'{"text": "x', r":1: not valid JSON"),
}


@pytest.mark.parametrize("case", LINES)
def test_lines_are_read_or_refused_with_their_number(tmp_path: Path, case: str) -> None:
    line, complaint = LINES[case]
    (tmp_path / "a.jsonl").write_bytes(line + b"\n")
    if complaint is None:
        assert texts_of(jsonl(tmp_path / "a.jsonl")) == ["x"]
    else:
        with pytest.raises(DataError, match=rf"a.jsonl{complaint}"):
            texts_of(jsonl(tmp_path / "a.jsonl"))


@given(st.binary(max_size=60))
def test_any_line_is_a_document_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, line: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    for content in (line, b'{"text": ' + line + b"}", b'{"text": "' + line + b'"}'):
        path.write_bytes(content)
        try:
            texts_of(jsonl(path))
        except DataError as error:
            assert "any.jsonl:" in str(error)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_invalid_bytes_in_parquet_are_named_with_their_row(tmp_path: Path, kind: pa.DataType) -> None:
    values = [b"fine"] * 5000
    values[4321] = b"caf\xe9"
    raw = pa.array(values, pa.large_binary() if kind == pa.large_string() else pa.binary())
    column = raw.view(kind) if kind != pa.string_view() else raw.view(pa.string()).cast(kind)
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet: row 4322: column 'text': not UTF-8 text: byte 0xe9"):
        texts_of(parquet(tmp_path / "a.parquet"))


@pytest.mark.parametrize("values", [[1, 2], [b"a"], [["a"]], [{"a": 1}], [1.5], [True], [2**62]])
def test_columns_of_no_text_are_refused_with_their_row(tmp_path: Path, values: list) -> None:
    kind = pa.timestamp("us") if values == [2**62] else None  # far beyond the years that Python knows
    pq.write_table(pa.table({"text": pa.array(values, kind)}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet: row 1: column 'text' holds [\w\[\]]+, not text"):
        texts_of(parquet(tmp_path / "a.parquet"))


def test_a_dictionary_of_texts_is_text(tmp_path: Path) -> None:
    column = pa.array(["a", "b", "a"]).dictionary_encode()
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    assert texts_of(parquet(tmp_path / "a.parquet")) == ["a", "b", "a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch(mode=0)
    with pytest.raises(DataError, match=r"a.jsonl.*Permission denied"):
        texts_of(jsonl(tmp_path / "a.jsonl"))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A link to itself, which not even root can read."""
    (tmp_path / "a.jsonl").symlink_to("a.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl"):
        texts_of(jsonl(tmp_path / "a.jsonl"))


HELD = """
import sys
from pathlib import Path
from stepladder.data import prepare as module
from stepladder.documents.lock import hold
with hold(Path(sys.argv[1]) / module.LOCK, purpose="another"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_who_prepares_beside_an_orphan_waits_for_it_by_name(tmp_path: Path, source: dict) -> None:
    (tmp_path / "data/partial-killed").mkdir(parents=True)
    orphan = start(HELD, str(tmp_path / "data"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert orphan.stdout.readline() == "held\n"
    second = start(SECOND, json.dumps(source), str(tmp_path / "data"), stderr=subprocess.PIPE)
    told = second.stderr.readline()
    assert f"are being prepared by process {orphan.pid} on" in told
    assert not (tmp_path / "data/manifest.json").exists()
    orphan.communicate()  # closes its input, and so ends it
    second.communicate()
    assert (orphan.returncode, second.returncode) == (0, 0)
    manifest = read(tmp_path / "data/manifest.json")
    there = {path.name for path in (tmp_path / "data").iterdir()}
    assert there == {file.name for file in manifest.files} | {"manifest.json"}


def test_what_an_orphan_made_meanwhile_is_taken(
    tmp_path: Path, source: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    @contextmanager
    def after_an_orphan(path: Path, purpose: str, waiting: Callable) -> Iterator[Holder]:
        monkeypatch.setattr(module, "hold", hold)
        made.append(prepare(source, {"kind": "byte"}, 0.2, tmp_path))
        yield Holder("host", 1, None, 0, "2026", purpose)

    monkeypatch.setattr(module, "hold", after_an_orphan)
    path = prepare(source, {"kind": "byte"}, 0.2, tmp_path)
    assert [path] == made
    first = path.stat()
    monkeypatch.setattr(module, "hold", after_an_orphan)
    assert prepare(source, {"kind": "byte"}, 0.3, tmp_path).stat().st_ino != first.st_ino


def start(code: str, *arguments: str, **pipes: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], text=True, **pipes)


SECOND = """
import json, sys
from pathlib import Path
from stepladder.data.prepare import prepare
prepare(json.loads(sys.argv[1]), {"kind": "byte"}, 0.2, Path(sys.argv[2]))
"""


def test_chunks_without_text_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": null}\n')
    source = TypeAdapter(SourceConfig).validate_json(
        json.dumps(jsonl(tmp_path / "a.jsonl", null_text="skip"))
    )
    (chunk,) = chunks(source)
    assert read_chunk(chunk).table["size"].tolist() == [0]
