"""Documents from files that people bring: text, JSON Lines, Parquet; compressed or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stepladder.data.documents import CHUNK_BYTES, NO_TEXT, Chunk, TextDocument, digest, group_files
from stepladder.data.errors import DataError
from stepladder.data.opening import UNREADABLE, matching, open_file, read_all, why
from stepladder.schema.data import FileSource, JsonLines, Records, TextFiles

PARQUET_ROWS = 4096
"""Rows read together."""


def chunks(source: FileSource) -> Iterator[Chunk]:
    """All chunks of `source`: domain by domain, files in sorted order.

    Raises:
        DataError: a pattern matches nothing, or a file cannot be read; bad documents raise when the
            chunk is read.
    """
    matched = {domain: matching(domain, patterns) for domain, patterns in source.domains.items()}
    for domain, paths in matched.items():
        if isinstance(source, TextFiles):
            yield from _text(domain, paths)
        else:
            read = _json_lines if isinstance(source, JsonLines) else _parquet
            for path in paths:
                yield from read(domain, path, source)


def description(source: FileSource) -> str:
    """The source in words."""
    counts = {domain: len(matching(domain, patterns)) for domain, patterns in source.domains.items()}
    return f"{source.kind}: " + ", ".join(f"{domain} from {n:,} files" for domain, n in counts.items())


def _text(domain: str, paths: list[str]) -> Iterator[Chunk]:
    for group in group_files((path, read_all(path)) for path in paths):
        yield _text_chunk(domain, group)


def _text_chunk(domain: str, group: list[tuple[str, bytes]]) -> Chunk:
    def read() -> Iterator[TextDocument]:
        for index, (path, content) in enumerate(group):
            _check_utf8(content, path, first_line=1)
            if content.strip():
                yield TextDocument(content, 0, index, 0, content)

    key = digest({"kind": "text"}, (content for _, content in group))
    return Chunk(key, (domain,), tuple(path for path, _ in group), read)


def _json_lines(domain: str, path: str, source: Records) -> Iterator[Chunk]:
    first_line = 1
    try:
        with open_file(path) as stream:
            while lines := stream.readlines(CHUNK_BYTES):
                yield _json_chunk(domain, path, source, first_line, lines)
                first_line += len(lines)
    except UNREADABLE as error:
        raise DataError(f"{path}:{first_line}: cannot be read from about here on: {why(error)}") from None


def _json_chunk(domain: str, path: str, source: Records, first_line: int, lines: list[bytes]) -> Chunk:
    field = source.field

    def read() -> Iterator[TextDocument]:
        for number, line in enumerate(lines, first_line):
            if line.strip():
                value = _json_text(line, source, path, number)
                yield from _document(value, source, number, f"{path}:{number}: field {field!r}")

    key = digest({"kind": "jsonl", "field": field, "first_line": first_line} | _asked(source), lines)
    return Chunk(key, (domain,), (path,), read)


def _json_text(line: bytes, source: Records, path: str, number: int) -> Any:
    """Value of the field in a line: None where it is null, or missing and to be skipped."""
    record = _json_object(line, path, number)
    if source.field in record:
        return record[source.field]
    value: Any = record
    for key in source.field.split("."):
        if value is None and source.null_text == "skip":
            return None
        if not isinstance(value, dict) or key not in value:
            if source.null_text == "skip" and isinstance(value, dict):
                return None
            keys = ", ".join(record) or "none"
            raise DataError(f"{path}:{number}: no field {source.field!r}; this line has: {keys:.200}")
        value = value[key]
    return value


def _json_object(line: bytes, path: str, number: int) -> dict[str, Any]:
    with suppress(orjson.JSONDecodeError):  # Python's own parser takes more, and says better what is wrong
        value = orjson.loads(line)
        if isinstance(value, dict):
            return value
    _check_utf8(line, path, number)
    try:
        value = _parse_json(line.rstrip())
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: not valid JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise DataError(f"{path}:{number}: not usable JSON: nested too deeply") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}:{number}: expected an object {{...}}, found {type(value).__name__}")
    return value


def _parse_json(line: bytes) -> Any:
    """What a line says. Integers of thousands of digits, which Python does not convert, read as 0: they are
    no text."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(line, parse_int=lambda digits: 0)


def _parquet(domain: str, path: str, source: Records) -> Iterator[Chunk]:
    first_row = 1
    try:
        with pq.ParquetFile(path) as file:
            place = _column(file.schema_arrow, path, source.field)
            for batch in file.iter_batches(PARQUET_ROWS, columns=[source.field]):
                column = batch.column(0)
                for name in place[1:]:
                    column = pc.struct_field(column, name)
                values = _values(column, first_row, path, source.field)
                yield _parquet_chunk(domain, path, source, first_row, values)
                first_row += batch.num_rows
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read from about row {first_row} on: {why(error)}") from None


def _column(schema: pa.Schema, path: str, field: str) -> list[str]:
    """Where a field lies: a column of that very name, or a struct's column and the names within."""
    if field in schema.names:
        return [field]
    first, *rest = field.split(".")
    kind: Any = schema.field(first).type if first in schema.names else None
    for name in rest:
        inside = kind is not None and pa.types.is_struct(kind) and kind.get_field_index(name) >= 0
        kind = kind.field(name).type if inside else None
    if kind is None:
        raise DataError(f"{path}: no column {field!r}; it has: {', '.join(schema.names):.200}")
    return [first, *rest]


def _values(column: pa.Array, first_row: int, path: str, field: str) -> list[Any]:
    """A column as Python's values.

    Raises:
        DataError: a string is not UTF-8.
    """
    try:
        values: list[Any] = column.to_pylist()
        return values
    except UnicodeDecodeError:
        for row, value in enumerate(column, first_row):
            try:
                value.as_py()
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                raise DataError(
                    f"{path}: row {row}: column {field!r}: not UTF-8 text: byte 0x{byte:02x} ({error.reason})"
                ) from None
        raise
    except (ValueError, OverflowError):  # such as times that Python cannot hold
        raise DataError(f"{path}: row {first_row}: column {field!r} holds {column.type}, not text") from None


def _parquet_chunk(domain: str, path: str, source: Records, first_row: int, values: list[Any]) -> Chunk:
    field = source.field

    def read() -> Iterator[TextDocument]:
        for row, value in enumerate(values, first_row):
            yield from _document(value, source, row, f"{path}: row {row}: column {field!r}")

    how = {"kind": "parquet", "field": field, "first_row": first_row} | _asked(source)
    return Chunk(digest(how, (repr(value).encode() for value in values)), (domain,), (path,), read)


def _asked(source: Records) -> dict[str, str]:
    """What a chunk's digest says of the source beyond its field; nothing where it is as ever."""
    return {} if source.null_text == "refuse" else {"null_text": source.null_text}


def _document(value: Any, source: Records, row: int, where: str) -> Iterator[TextDocument]:
    """The document of a record, if it has any text."""
    if value is None and source.null_text == "skip":
        yield TextDocument(NO_TEXT, 0, 0, row, NO_TEXT)
        return
    text = _encode(value, where)
    if text.strip():
        yield TextDocument(text, 0, 0, row, text)


def _encode(value: Any, where: str) -> bytes:
    """UTF-8 of a text value."""
    if value is None:
        raise DataError(f"{where} holds nothing, not text: `null_text: skip` leaves such records out")
    if not isinstance(value, str):
        raise DataError(f"{where} holds {type(value).__name__}, not text")
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
