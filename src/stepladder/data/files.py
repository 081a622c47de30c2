"""Documents from files that people bring: text, JSON Lines, Parquet; compressed or not."""

from __future__ import annotations

import glob
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stepladder.data.documents import CHUNK_BYTES, Chunk, TextDocument, digest, group_files
from stepladder.data.errors import DataError
from stepladder.schema.data import FileSource, JsonLines, TextFiles

PARQUET_ROWS = 4096
"""Rows read together."""


def chunks(source: FileSource) -> Iterator[Chunk]:
    """All chunks of `source`: domain by domain, files in sorted order.

    Raises:
        DataError: a pattern matches nothing, or a file cannot be read; bad documents raise when the
            chunk is read.
    """
    matched = {domain: _paths(domain, patterns) for domain, patterns in source.domains.items()}
    for domain, paths in matched.items():
        if isinstance(source, TextFiles):
            yield from _text(domain, paths)
        else:
            read = _json_lines if isinstance(source, JsonLines) else _parquet
            for path in paths:
                yield from read(domain, path, source.field)


def description(source: FileSource) -> str:
    """The source in words."""
    counts = {domain: len(_paths(domain, patterns)) for domain, patterns in source.domains.items()}
    return f"{source.kind}: " + ", ".join(f"{domain} from {n:,} files" for domain, n in counts.items())


def _paths(domain: str, patterns: tuple[str, ...]) -> list[str]:
    """Files that the patterns match, each once, sorted."""
    found: set[str] = set()
    for pattern in patterns:
        matches = [path for path in glob.glob(pattern, recursive=True) if Path(path).is_file()]
        if not matches:
            raise DataError(f"domain {domain!r}: no file matches {pattern!r} (seen from {Path.cwd()})")
        found.update(matches)
    return sorted(found)


def _text(domain: str, paths: list[str]) -> Iterator[Chunk]:
    for group in group_files((path, _read_all(path)) for path in paths):
        yield _text_chunk(domain, group)


def _text_chunk(domain: str, group: list[tuple[str, bytes]]) -> Chunk:
    def read() -> Iterator[TextDocument]:
        for index, (path, content) in enumerate(group):
            _check_utf8(content, path, first_line=1)
            if content.strip():
                yield TextDocument(content, 0, index, 0, content)

    key = digest({"kind": "text"}, (content for _, content in group))
    return Chunk(key, (domain,), tuple(path for path, _ in group), read)


def _json_lines(domain: str, path: str, field: str) -> Iterator[Chunk]:
    first_line = 1
    try:
        with _open(path) as stream:
            while lines := stream.readlines(CHUNK_BYTES):
                yield _json_chunk(domain, path, field, first_line, lines)
                first_line += len(lines)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}:{first_line}: cannot be read from about here on: {error}") from None


def _json_chunk(domain: str, path: str, field: str, first_line: int, lines: list[bytes]) -> Chunk:
    def read() -> Iterator[TextDocument]:
        for number, line in enumerate(lines, first_line):
            if line.strip():
                text = _json_text(line, field, path, number)
                if text.strip():
                    yield TextDocument(text, 0, 0, number, text)

    key = digest({"kind": "jsonl", "field": field, "first_line": first_line}, lines)
    return Chunk(key, (domain,), (path,), read)


def _json_text(line: bytes, field: str, path: str, number: int) -> bytes:
    _check_utf8(line, path, number)
    try:
        value = json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: not valid JSON: {error.msg} (column {error.colno})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}:{number}: expected an object {{...}}, found {type(value).__name__}")
    if field not in value:
        keys = ", ".join(value) or "none"
        raise DataError(f"{path}:{number}: no field {field!r}; this line has: {keys}")
    return _encode(value[field], f"{path}:{number}: field {field!r}")


def _parquet(domain: str, path: str, field: str) -> Iterator[Chunk]:
    first_row = 1
    try:
        with pq.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if field not in columns:
                raise DataError(f"{path}: no column {field!r}; it has: {', '.join(columns)}")
            for batch in file.iter_batches(PARQUET_ROWS, columns=[field]):
                yield _parquet_chunk(domain, path, field, first_row, batch.column(0).to_pylist())
                first_row += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read from about row {first_row} on: {error}") from None


def _parquet_chunk(domain: str, path: str, field: str, first_row: int, values: list[Any]) -> Chunk:
    def read() -> Iterator[TextDocument]:
        for row, value in enumerate(values, first_row):
            text = _encode(value, f"{path}: row {row}: column {field!r}")
            if text.strip():
                yield TextDocument(text, 0, 0, row, text)

    how = {"kind": "parquet", "field": field, "first_row": first_row}
    return Chunk(digest(how, (repr(value).encode() for value in values)), (domain,), (path,), read)


def _encode(value: Any, where: str) -> bytes:
    """UTF-8 of a text value."""
    if not isinstance(value, str):
        raise DataError(f"{where} holds {'nothing' if value is None else type(value).__name__}, not text")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where} is not Unicode text: lone surrogate at character {error.start}") from None


def _check_utf8(content: bytes, path: str, first_line: int) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start)
        byte = content[error.start]
        raise DataError(f"{path}:{line}: not UTF-8 text: byte 0x{byte:02x} ({error.reason})") from None


def _open(path: str) -> io.BufferedReader:
    """Open for reading; what .gz, .bz2, .zst or .lz4 names is decompressed."""
    return io.BufferedReader(pa.input_stream(path, compression="detect", buffer_size=2**20))


def _read_all(path: str) -> bytes:
    try:
        with _open(path) as stream:
            return stream.read()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
