"""Files that lie elsewhere, from real servers on this machine: the same shards, and no secret is kept."""

from __future__ import annotations

import gzip
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from documents import make_texts
from pydantic import TypeAdapter, ValidationError
from servers import KEY, SECRET, Whole, s3_server, web_server

from stepladder.data import remote
from stepladder.data.errors import DataError
from stepladder.data.manifest import read
from stepladder.data.opening import matching, read_all, stored
from stepladder.data.prepare import prepare
from stepladder.schema.data import SourceConfig

TEXTS = make_texts(51, 80)
LINES = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()
BYTE = {"kind": "byte"}


def files(folder: Path) -> dict[str, Path]:
    """The same texts as one file of each kind."""
    (folder / "b.jsonl").write_bytes(LINES)
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(LINES))
    table = pa.table({"text": TEXTS})
    pq.write_table(table, folder / "d.parquet", row_group_size=9)
    with pa.OSFile(str(folder / "e.arrow"), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=13)
    ids = np.frombuffer(b"".join(text.encode() + b"\xff" for text in TEXTS), np.uint8)
    ids.astype("<u2").tofile(folder / "f.npy")
    return {path.name: path for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    files(made)
    return made


KINDS = {
    "b.jsonl": "jsonl",
    "c.jsonl.gz": "jsonl",
    "d.parquet": "parquet",
    "e.arrow": "arrow",
    "f.npy": "tokens",
}


@pytest.fixture(scope="module")
def expected(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    source = {"kind": "jsonl", "domains": {"web": [str(folder / "b.jsonl")]}}
    return read(prepare(source, BYTE, 0.2, tmp_path_factory.mktemp("here"))).sha256


@pytest.fixture(scope="module")
def s3(folder: Path) -> Iterator[str]:
    with s3_server() as address:
        client = boto3.client(
            "s3",
            endpoint_url=address,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )
        client.create_bucket(Bucket="corpus")
        for path in folder.iterdir():
            client.upload_file(str(path), "corpus", f"web/v1/{path.name}")
        yield address


@pytest.fixture
def in_environment(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.usefixtures("in_environment")
def test_an_object_store_gives_the_same_shards_and_no_secret_is_kept(
    tmp_path: Path, expected: str, name: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source = {"kind": KINDS[name], "domains": {"web": [f"s3://corpus/web/**/{name[0]}*"]}}
    made = prepare(source, BYTE, 0.2, tmp_path / "data")
    assert read(made).sha256 == expected
    assert set((tmp_path / "data/files.txt").read_text().splitlines()) == {f"s3://corpus/web/v1/{name}"}
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    said = "".join((caplog.text, *capfd.readouterr())).encode()
    assert SECRET.encode() not in kept + said and KEY.encode() not in kept + said


@pytest.mark.usefixtures("in_environment")
def test_globs_of_an_object_store() -> None:
    names = [f"s3://corpus/web/v1/{name}" for name in KINDS]
    assert matching("web", ("s3://corpus/web/**/*",)) == names
    assert matching("web", ("s3://corpus/web/v1/[bc].*",)) == names[:2]
    assert matching("web", (names[3], "s3://corpus/*/v1/e.*")) == [names[3]]
    with pytest.raises(DataError, match=r"s3://corpus/web: is a folder: write s3://corpus/web/\*\*/\*"):
        matching("web", ("s3://corpus/web",))
    for nothing in ("s3://corpus/none*", "s3://corpus/web/v1/none", "s3://nobucket/x", "s3://nobucket/x*"):
        with pytest.raises(
            DataError, match=r"'web': no file matches 's3://\w+/.*none|'web': no file matches 's3://no"
        ):
            matching("web", (nothing,))


@pytest.mark.usefixtures("in_environment")
def test_size_and_version_are_told_without_reading(folder: Path) -> None:
    about = stored("s3://corpus/web/v1/b.jsonl")
    assert about.size == (folder / "b.jsonl").stat().st_size and len(about.version) > 10
    assert stored("s3://corpus/web/v1/c.jsonl.gz").version != about.version


def test_a_store_that_does_not_answer_or_knows_no_key_is_named(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    with pytest.raises(
        DataError,
        match=r"s3://corpus/web/v1/b.jsonl: cannot be .*(credential|Forbidden|denied).*docs/data.md",
    ):
        matching("web", ("s3://corpus/web/v1/b.jsonl",))


@pytest.mark.parametrize("name", KINDS)
def test_a_web_server_gives_the_same_shards(tmp_path: Path, folder: Path, expected: str, name: str) -> None:
    with web_server(folder) as address:
        source = {"kind": KINDS[name], "domains": {"web": [f"{address}/{name}"]}}
        assert read(prepare(source, BYTE, 0.2, tmp_path / "data")).sha256 == expected


def test_a_web_server_that_serves_files_whole(
    tmp_path: Path, folder: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enough for what is read from begin to end; the others need parts, unless they fit in one."""
    monkeypatch.setattr(remote, "BLOCK", 100)
    with web_server(folder, Whole) as address:
        for name in ("b.jsonl", "c.jsonl.gz", "f.npy"):
            source = {"kind": KINDS[name], "domains": {"web": [f"{address}/{name}"]}}
            assert read(prepare(source, BYTE, 0.2, tmp_path / "data")).sha256 == expected
        source = {"kind": "parquet", "domains": {"web": [f"{address}/d.parquet"]}}
        with pytest.raises(DataError, match=r"d.parquet: cannot be read .*: download it first"):
            prepare(source, BYTE, 0.2, tmp_path / "data")


def test_what_a_web_server_refuses_or_cuts_is_named(tmp_path: Path, folder: Path) -> None:
    for name in ("forbidden", "cut"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b.jsonl").write_bytes(LINES)
    with web_server(tmp_path) as address:
        with pytest.raises(DataError, match=r"no file matches 'http://.*/none.jsonl': mend the path"):
            matching("web", (f"{address}/none.jsonl",))
        with pytest.raises(DataError, match=r"forbidden/b.jsonl: cannot be .*403.*: give yourself access"):
            matching("web", (f"{address}/forbidden/b.jsonl",))
            read_all(f"{address}/forbidden/b.jsonl")
        source = {"kind": "jsonl", "domains": {"web": [f"{address}/cut/b.jsonl"]}}
        with pytest.raises(DataError, match=r"cut/b.jsonl:\d+: .*(cannot be read|not valid JSON)"):
            prepare(source, BYTE, 0.2, tmp_path / "data")


def test_an_address_that_a_server_has_signed_is_not_told(tmp_path: Path) -> None:
    with web_server(tmp_path) as address:
        for look in (lambda path: matching("web", (path,)), read_all):
            with pytest.raises((DataError, OSError)) as caught:
                look(f"{address}/signed/b.jsonl")
            assert SECRET not in str(caught.value) and "signed/b.jsonl" in str(caught.value)


def test_a_file_of_the_web_that_was_written_to_has_another_version(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(LINES)
    with web_server(tmp_path) as address:
        before = stored(f"{address}/a.jsonl")
        os.utime(file, (1, 1))
        after = stored(f"{address}/a.jsonl")
    assert before.size == after.size and before.version != after.version


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(
        DataError, match=r"http://127.0.0.1:9/x: cannot be looked at: \w|no file matches 'http://127"
    ):
        matching("web", ("http://127.0.0.1:9/x",))


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        (f"s3://{KEY}:{SECRET}@corpus/a", "what stands before its @"),
        ("https://me:word@example.org/a", "what stands before its @"),
        ("https://example.org/a?X-Amz-Signature=0123", "its parameter X-Amz-Signature"),
        ("https://example.org/a?sv=1&sig=0123", "its parameter sig"),
        ("hf://datasets/a/b/c?token=hf_0123", "its parameter token"),
        ("s3://AKIA0:wJal/K7M+x@bucket/web/*.jsonl", "what stands before its @"),
        *((f"https://me:wo{letter}rd@example.org/f", "what stands before its @") for letter in "/#?:"),
        *(
            (f"https://example.org/f?a=1&{name}=0123", f"its parameter {name}")
            for name in ("auth", "Authorization", "pwd", "pass", "sas", "jwt", "api%5Fkey", "session_id")
        ),
        ("https://example.org/f;token=0123", "its parameter token"),
        ("https://example.org/f#token=0123", "its parameter token"),
        ("az://container/a", "az:// are not read"),
    ],
)
def test_paths_that_hold_secrets_are_refused(path: str, complaint: str) -> None:
    for domain in ([path], {"paths": [path]}):
        with pytest.raises(ValidationError, match=complaint):
            TypeAdapter(SourceConfig).validate_json(json.dumps({"kind": "text", "domains": {"web": domain}}))


@pytest.mark.parametrize(
    "path",
    [
        *("hf://datasets/a/b@main/c.parquet", "https://example.org/a?download=true", "a@b?token=1"),
        *("http://127.0.0.1:8080/a@2/b:c.jsonl", "https://example.org:443", "https://example.org/?author=me"),
    ],
)
def test_other_paths_are_taken(path: str) -> None:
    TypeAdapter(SourceConfig).validate_json(json.dumps({"kind": "text", "domains": {"web": [path]}}))


@pytest.mark.parametrize(
    ("path", "package"),
    [
        ("s3://a/b", "s3fs"),
        ("gs://a/b", "gcsfs"),
        ("https://a/b", "aiohttp"),
        ("hf://datasets/a/b/c", "huggingface_hub"),
    ],
)
def test_a_missing_package_is_named(path: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        DataError, match=rf"needs the package {package}, .*: pip install \"stepladder\[remote\]\""
    ):
        matching("web", (path,))
