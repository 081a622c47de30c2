"""Rows of files as people have them: JSON Lines, JSON, Parquet, CSV and TSV, plain or compressed; and the
items that they are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from stepladder.data.opening import read_all
from stepladder.record.items import Item, ItemError
from stepladder.schema.evaluation import Shots, Stored

Row = dict[str, Any]

BETWEEN = "\n\n"
"""Between examples, and between the last one and the item."""

COMPRESSED = (".gz", ".zst", ".zstd", ".bz2", ".xz")


def read_rows(path: str) -> Iterator[Row]:
    """Records of a file, by its ending. Columns of CSV without a header are called 0, 1, 2 and so on.

    Raises:
        ItemError: it is missing, or not what its ending says; with the line.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ItemError(f"{path}: no such file (seen from {Path.cwd()})")
    endings = [ending for ending in file.suffixes if ending not in COMPRESSED]
    ending = endings[-1] if endings else ""
    readers = {
        ".jsonl": _json_lines,
        ".ndjson": _json_lines,
        ".json": _json,
        ".parquet": _parquet,
        ".csv": _csv,
        ".tsv": _tsv,
        ".txt": _text,
    }
    if ending not in readers:
        raise ItemError(
            f"{path}: what its ending {ending!r} means is not known; there are {', '.join(readers)}"
        )
    yield from readers[ending](str(file), read_all(str(file)))


def stored_items(config: Stored, make: Callable[[Row], Item]) -> Iterator[Item]:
    """Items of a file, with examples in front if the settings ask for them.

    Args:
        make: a row to its item; of an item without an id the row's number becomes it.

    Raises:
        ItemError: a row is no item; with file and row.
    """
    rows = _items(config.path, make)
    before = ""
    if isinstance(config, Shots) and config.shots:
        source = rows if config.shots_path is None else _items(config.shots_path, make)
        examples = list(islice(source, config.shots))
        if len(examples) < config.shots:
            raise ItemError(
                f"{config.shots_path or config.path}: {len(examples)} examples, and shots is {config.shots}"
            )
        before = "".join(item.context + item.answer + BETWEEN for item in examples)
    for item in islice(rows, config.limit):
        yield item._replace(context=before + item.context) if before else item


def _items(path: str, make: Callable[[Row], Item]) -> Iterator[Item]:
    for number, row in enumerate(read_rows(path), start=1):
        try:
            item = make(row)
        except KeyError as error:
            there = ", ".join(map(str, row))
            raise ItemError(f"{path}: row {number} has no field {error}; it has: {there:.200}") from None
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            raise ItemError(f"{path}: row {number} is no item of this kind: {error}") from None
        yield item if item.id else item._replace(id=str(number))


def _json_lines(path: str, content: bytes) -> Iterator[Row]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ItemError(f"{path}:{number}: no JSON: {error}") from None
            yield _object(row, f"{path}:{number}")


def _json(path: str, content: bytes) -> Iterator[Row]:
    """A list of objects, or JSON Lines under this ending."""
    try:
        rows = json.loads(content)
    except ValueError:
        yield from _json_lines(path, content)
        return
    for number, row in enumerate(rows if isinstance(rows, list) else [rows], start=1):
        yield _object(row, f"{path}: entry {number}")


def _object(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise ItemError(f"{where}: a {type(row).__name__}, not an object with fields")
    return row


def _parquet(path: str, content: bytes) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise ItemError(f"{path}: no Parquet: {error}") from None
    yield from table.to_pylist()


def _csv(path: str, content: bytes, separator: str = ",") -> Iterator[Row]:
    try:
        lines = csv.reader(io.StringIO(_decoded(path, content), newline=""), delimiter=separator)
        rows = [row for row in lines if row]
    except csv.Error as error:
        raise ItemError(f"{path}: no CSV: {error}") from None
    named = bool(rows) and all(name.strip().isidentifier() for name in rows[0])
    names = [name.strip() for name in rows[0]] if named else [*map(str, range(len(rows[0]) if rows else 0))]
    for number, row in enumerate(rows[named:], start=1 + named):
        if len(row) != len(names):
            raise ItemError(f"{path}: row {number} has {len(row)} cells, and the first has {len(names)}")
        yield dict(zip(names, row, strict=True))


def _tsv(path: str, content: bytes) -> Iterator[Row]:
    return _csv(path, content, "\t")


def _text(path: str, content: bytes) -> Iterator[Row]:
    """The whole file as one row."""
    yield {"text": _decoded(path, content)}


def _decoded(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ItemError(f"{path}: no UTF-8: {error}") from None
