"""Arrow as Hugging Face's `datasets` writes it: saved data sets, cached files, and what may be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from documents import make_texts

from stepladder.data import columns
from stepladder.data.errors import DataError
from stepladder.data.files import chunks
from stepladder.data.manifest import read
from stepladder.data.prepare import prepare
from stepladder.schema.data import ArrowFiles, ParquetFiles

TEXTS = make_texts(41, 90)
BYTE = {"kind": "byte"}


def texts_of(*paths: Path, **more: str) -> list[str]:
    """What a source yields, in order."""
    source = ArrowFiles(kind="arrow", domains={"web": tuple(map(str, paths))}, **more)
    return [document.text.decode() for chunk in chunks(source) for document in chunk.read() if document.text]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that save_to_disk wrote, of two files."""
    folder = tmp_path_factory.mktemp("saved") / "web"
    rows = datasets.Dataset.from_dict({"text": TEXTS, "meta": [{"lang": "en"}] * len(TEXTS)})
    rows.save_to_disk(folder, num_shards=2)
    return folder


@pytest.mark.parametrize("rows", [7, 4096])
def test_a_saved_data_set_is_read_by_its_folder_or_its_files(
    saved: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "ROWS", rows)
    assert texts_of(saved) == texts_of(saved / "*.arrow") == TEXTS
    assert texts_of(saved.parent / "w*") == TEXTS
    assert texts_of(saved, field="meta.lang") == ["en"] * len(TEXTS)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_chunks_are_cut_by_bytes_whatever_the_rows_hold(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 10_000
    monkeypatch.setattr(columns, "CHUNK_BYTES", most)
    texts = [None, *("ä" * n for n in (30_000, 1, 4_000, 700, 700, 0, 9_000, 5)), *["short"] * 5_000]
    path, table = tmp_path / f"a.{kind}", pa.table({"text": texts})
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=3_000)
    else:
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)
    settings = {"domains": {"web": (str(path),)}, "null_text": "skip"}
    source = (ParquetFiles if kind == "parquet" else ArrowFiles)(kind=kind, **settings)
    read = [[document.text for document in chunk.read() if document.text] for chunk in chunks(source)]
    assert [text for chunk in read for text in chunk] == [text.encode() for text in texts if text]
    longest = max(len(text.encode()) for text in texts if text)
    assert all(sum(map(len, chunk)) < most + longest for chunk in read)
    assert all(sum(map(len, chunk[:-1])) <= most for chunk in read), "a document is not cut"
    assert len(read) < 40, "nor is every row a chunk of its own"


def test_it_gives_the_shards_of_its_text(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    made = [
        read(prepare({"kind": kind, "domains": {"web": [str(path)]}}, BYTE, 0.2, tmp_path / kind))
        for kind, path in (("jsonl", tmp_path / "a.jsonl"), ("arrow", saved))
    ]
    assert made[0].sha256 == made[1].sha256
    assert made[1].description == "arrow: web from 2 files"


def test_splits_are_named_one_by_one(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"text": TEXTS})
    datasets.DatasetDict({"train": rows, "test": rows.select(range(3))}).save_to_disk(tmp_path / "all")
    with pytest.raises(
        DataError, match=r"all: holds splits .* name those that are meant: .*all/train, .*all/test"
    ):
        texts_of(tmp_path / "all")
    assert texts_of(tmp_path / "all/test") == TEXTS[:3]


def test_what_select_leaves_is_what_is_read(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": TEXTS}).select([5, 3, 8]).save_to_disk(tmp_path / "some")
    assert texts_of(tmp_path / "some") == [TEXTS[5], TEXTS[3], TEXTS[8]]


def test_cached_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    datasets.disable_progress_bars()
    rows = datasets.load_dataset(
        "json", data_files=str(tmp_path / "a.jsonl"), cache_dir=str(tmp_path / "cache")
    )
    (cached,) = [Path(file["filename"]) for file in rows["train"].cache_files]
    assert texts_of(cached) == TEXTS


def test_arrow_files_of_the_other_format_are_read(tmp_path: Path) -> None:
    table = pa.table({"text": TEXTS, "n": range(len(TEXTS))})
    for codec in (None, "zstd"):
        with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as out:
            options = pa.ipc.IpcWriteOptions(compression=codec)
            with pa.ipc.new_file(out, table.schema, options=options) as writer:
                writer.write_table(table, max_chunksize=11)
        assert texts_of(tmp_path / "a.arrow") == TEXTS


def test_a_stream_that_was_cut_between_two_batches_is_noticed(tmp_path: Path) -> None:
    """pyarrow reads it to its end without a word."""
    table = pa.table({"text": TEXTS})
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=30)
        at = out.tell()
        writer.write_table(table)
    content = (tmp_path / "a.arrow").read_bytes()
    (tmp_path / "a.arrow").write_bytes(content[:at])
    with pytest.raises(
        DataError, match=r"a.arrow: cannot be read from about row 91 on: the mark of its end is missing"
    ):
        texts_of(tmp_path / "a.arrow")


def test_a_folder_with_a_file_missing_or_a_broken_state_is_refused(saved: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(saved, tmp_path / "web")
    gone = tmp_path / "web/data-00001-of-00002.arrow"
    gone.unlink()
    with pytest.raises(
        DataError, match=r"data-00001-of-00002.arrow: is missing, and .*state.json lists it: copy"
    ):
        texts_of(tmp_path / "web")
    for content in (b"", b"[]", b"{}", b'{"_data_files": 3}', b"\xff"):
        (tmp_path / "web/state.json").write_bytes(content)
        with pytest.raises(
            DataError, match=r"state.json: is not what save_to_disk writes: save the data set again"
        ):
            texts_of(tmp_path / "web")
