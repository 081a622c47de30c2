"""The document that a record holds: a line of JSON or a row of a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stepladder.data.documents import NO_TEXT, TextDocument
from stepladder.data.errors import DataError
from stepladder.schema.data import Records


def asked(source: Records) -> dict[str, str]:
    """What a chunk's digest says of the source beyond its field; nothing where it is as ever."""
    return {} if source.null_text == "refuse" else {"null_text": source.null_text}


def document(value: Any, source: Records, row: int, where: str) -> Iterator[TextDocument]:
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
        raise DataError(f"{where} holds {type(value).__name__}, not text: name a field of text in `field`")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} is not Unicode text: lone surrogate at character {error.start}: mend or "
            "remove this record"
        ) from None
