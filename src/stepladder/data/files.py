"""Documents from files that people bring: text and JSON Lines, compressed or not; columns are read by
`stepladder.data.columns`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson

from stepladder.data.columns import arrow, parquet
from stepladder.data.documents import CHUNK_BYTES, Chunk, TextDocument, digest, group_files
from stepladder.data.errors import DataError, mend, why
from stepladder.data.opening import UNREADABLE, open_file, read_all, source_files
from stepladder.data.records import asked, document
from stepladder.schema.data import (
    ArrowFiles,
    FileSource,
    JsonLines,
    ParquetFiles,
    Records,
    TextFiles,
    TokenSource,
)


def chunks(source: FileSource) -> Iterator[Chunk]:
    """All chunks of `source`: domain by domain, files in sorted order.

    Raises:
        DataError: a pattern matches nothing, or a file cannot be read; bad documents raise when the
            chunk is read.
    """
    for domain, paths in source_files(source).items():
        if isinstance(source, TextFiles):
            yield from _text(domain, paths)
            continue
        for path in paths:
            yield from _records(domain, path, source)


def description(source: FileSource | TokenSource) -> str:
    """The source in words."""
    counts = {domain: len(paths) for domain, paths in source_files(source).items()}
    return f"{source.kind}: " + ", ".join(f"{domain} from {n:,} files" for domain, n in counts.items())


def _records(domain: str, path: str, source: JsonLines | ParquetFiles | ArrowFiles) -> Iterator[Chunk]:
    if isinstance(source, JsonLines):
        return _json_lines(domain, path, source)
    read = parquet if isinstance(source, ParquetFiles) else arrow
    return read(domain, path, source)


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
        raise DataError(
            f"{path}:{first_line}: cannot be read from about here on: {why(error)}{mend(error)}"
        ) from None


def _json_chunk(domain: str, path: str, source: Records, first_line: int, lines: list[bytes]) -> Chunk:
    field = source.field

    def read() -> Iterator[TextDocument]:
        for number, line in enumerate(lines, first_line):
            if line.strip():
                value = _json_text(line, source, path, number)
                yield from document(value, source, number, f"{path}:{number}: field {field!r}")

    key = digest({"kind": "jsonl", "field": field, "first_line": first_line} | asked(source), lines)
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
            raise DataError(
                f"{path}:{number}: no field {source.field!r}; this line has: {keys:.200}; name the text's "
                "key in `field`"
            )
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
        raise DataError(
            f"{path}:{number}: not valid JSON: {error.msg} (column {error.colno}): mend or "
            "remove this line, or fetch the file again"
        ) from None
    except RecursionError:
        raise DataError(f"{path}:{number}: not usable JSON: nested too deeply: remove this line") from None
    if not isinstance(value, dict):
        raise DataError(
            f"{path}:{number}: expected an object {{...}}, found {type(value).__name__}: write one "
            "object per line"
        )
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


def _check_utf8(content: bytes, path: str, first_line: int) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start)
        byte = content[error.start]
        raise DataError(
            f"{path}:{line}: not UTF-8 text: byte 0x{byte:02x} ({error.reason}): convert the file, or "
            "mend or remove this line"
        ) from None
