"""Documents from tables that keep their columns together: Parquet, and Arrow as `datasets` writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stepladder.data.documents import CHUNK_BYTES, Chunk, TextDocument, digest
from stepladder.data.errors import DataError, mend, why
from stepladder.data.opening import UNREADABLE
from stepladder.data.records import asked, document
from stepladder.data.remote import is_remote, open_remote
from stepladder.schema.data import ArrowFiles, ParquetFiles

Table = ParquetFiles | ArrowFiles

ROWS = 4096
"""Rows read together, at most: fewer where a chunk's bytes are reached."""

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""Last bytes of a whole Arrow stream (arrow.apache.org/docs/format/Columnar.html, IPC streaming format).
Without them a stream may have been cut between two batches, which its reader would not notice."""

FILE_MAGIC = b"ARROW1"
"""First bytes of Arrow's other format, the IPC file, whose footer says where everything is."""


def parquet(domain: str, path: str, source: Table) -> Iterator[Chunk]:
    """Chunks of a Parquet file.

    Raises:
        DataError: it cannot be read, or has no such column of text.
    """

    def batches(stream: Any) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(stream) as file:
            _column(file.schema_arrow, path, source.field)
            yield from file.iter_batches(_rows(file.metadata, source.field), columns=[source.field])

    yield from _chunks(domain, path, source, batches)


def arrow(domain: str, path: str, source: Table) -> Iterator[Chunk]:
    """Chunks of a .arrow file: an Arrow stream, or an Arrow IPC file.

    Raises:
        DataError: it cannot be read, was cut, or has no such column of text.
    """

    def batches(stream: Any) -> Iterator[pa.RecordBatch]:
        for batch in _arrow_batches(stream, path, source.field):
            for first in range(0, batch.num_rows, ROWS):
                yield batch.slice(first, ROWS)

    yield from _chunks(domain, path, source, batches)


def _arrow_batches(stream: Any, path: str, field: str) -> Iterator[pa.RecordBatch]:
    begin = stream.read(len(FILE_MAGIC))
    size = stream.seek(0, 2)
    if size == 0:
        raise DataError(f"{path}: is empty, which no Arrow file is: fetch or write it again")
    stream.seek(max(0, size - len(END_OF_STREAM)))
    whole = stream.read() == END_OF_STREAM
    stream.seek(0)
    if begin == FILE_MAGIC:
        with pa.ipc.open_file(stream) as file:
            name = _column(file.schema, path, field)[0]
            for number in range(file.num_record_batches):
                yield file.get_batch(number).select([name])
        return
    with pa.ipc.open_stream(stream) as batches:
        name = _column(batches.schema, path, field)[0]
        for batch in batches:
            yield batch.select([name])
    if not whole:
        raise EOFError("the mark of its end is missing, so that what follows is lost")


def _chunks(
    domain: str, path: str, source: Table, batches: Callable[[Any], Iterator[pa.RecordBatch]]
) -> Iterator[Chunk]:
    first_row = 1
    try:
        with _seekable(path) as stream:
            for batch in batches(stream):
                place = _column(batch.schema, path, source.field)
                column = batch.column(place[0])
                for name in place[1:]:
                    column = pc.struct_field(column, name)
                for part in _cut(column):
                    values = _values(part, first_row, path, source.field)
                    yield _chunk(domain, path, source, first_row, values)
                    first_row += len(part)
    except UNREADABLE as error:
        raise DataError(
            f"{path}: cannot be read from about row {first_row} on: {why(error)}{mend(error)}"
        ) from None


def _rows(about: pq.FileMetaData, field: str) -> int:
    """How many rows of a column to read at once, by their mean size in the row group of the longest."""
    longest = 1.0
    for group in map(about.row_group, range(about.num_row_groups)):
        columns = map(group.column, range(group.num_columns))
        size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema == field)
        longest = max(longest, size / max(1, group.num_rows))
    return max(1, min(ROWS, int(CHUNK_BYTES / longest)))


def _cut(column: pa.Array) -> Iterator[pa.Array]:
    """A column of strings in parts of about CHUNK_BYTES; one of anything else whole."""
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        yield column
        return
    ends = np.cumsum(pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False))
    first = 0
    while first < len(column):
        before = ends[first - 1] if first else 0
        after = min(len(column), int(np.searchsorted(ends, before + CHUNK_BYTES)) + 1)
        yield column[first:after]
        first = after


def _seekable(path: str) -> AbstractContextManager[Any]:
    """A file to be gone about in: pyarrow's own where it lies here, which holds no lock while it reads."""
    found: AbstractContextManager[Any] = (
        pa.PythonFile(open_remote(path, seekable=True), "r") if is_remote(path) else pa.OSFile(path, "rb")
    )
    return found


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
        raise DataError(
            f"{path}: no column {field!r}; it has: {', '.join(schema.names):.200}; "
            "name the text's column in `field`"
        )
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
                    f"{path}: row {row}: column {field!r}: not UTF-8 text: byte 0x{byte:02x} "
                    f"({error.reason}): mend or remove this row"
                ) from None
        raise
    except (ValueError, OverflowError):  # such as times that Python cannot hold
        raise DataError(
            f"{path}: row {first_row}: column {field!r} holds {column.type}, not text: "
            "name a column of text in `field`"
        ) from None


def _chunk(domain: str, path: str, source: Table, first_row: int, values: list[Any]) -> Chunk:
    field = source.field

    def read() -> Iterator[TextDocument]:
        for row, value in enumerate(values, first_row):
            yield from document(value, source, row, f"{path}: row {row}: column {field!r}")

    how = {"kind": source.kind, "field": field, "first_row": first_row} | asked(source)
    return Chunk(digest(how, (repr(value).encode() for value in values)), (domain,), (path,), read)
