"""What every source yields: chunks of documents, each chunk known by a digest of what it was read from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

CHUNK_BYTES = 16 * 2**20
"""Raw bytes read together: the most text that is read or tokenized again after an error."""


Flaw = Literal["one_character", "repetitive", "not_text"]
"""What can be wrong with a document; `stepladder.data.quality` finds it."""

NO_TEXT = b""
"""Text of a record whose text is null: it is no document, and only counted. No document is empty."""


class TextDocument(NamedTuple):
    """One text. `domain` and `file` count within the chunk's `domains` and `files`."""

    text: bytes
    """UTF-8."""
    domain: int
    file: int
    row: int
    """Line or row in the file, from 1; 0 where the file is the document."""
    group: bytes
    """What decides the split, together with all documents of the same group: mostly the text itself."""


@dataclass(frozen=True)
class Chunk:
    """Documents that are read, tokenized and cached together."""

    digest: str
    """Identifies the documents: hash of the raw bytes and of how they are read."""
    domains: tuple[str, ...]
    files: tuple[str, ...]
    """Names of the files, as a person knows them."""
    read: Callable[[], Iterator[TextDocument]]
    """Parses the documents; raises DataError at a bad place."""


def digest(how: Mapping[str, object], parts: Iterable[bytes]) -> str:
    """Digest of raw bytes and of the settings under which they are read."""
    hasher = hashlib.sha256(json.dumps(how, sort_keys=True).encode())
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.hexdigest()


def group_files(files: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Cut a stream of (name, content) into lists of about CHUNK_BYTES, in order."""
    group: list[tuple[str, bytes]] = []
    size = 0
    for name, content in files:
        group.append((name, content))
        size += len(content)
        if size >= CHUNK_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def groups(sizes: Iterable[int], least: int) -> Iterator[slice]:
    """Consecutive items in groups of at least `least` in all; the last group may be smaller."""
    first, last, total = 0, 0, 0
    for last, size in enumerate(sizes, 1):
        total += size
        if total >= least:
            yield slice(first, last)
            first, total = last, 0
    if last > first:
        yield slice(first, last)
