"""Work that is done once: chunks of documents, as text and as tokens, kept until the shards are complete.

An entry's name says what it was made from and how, so an entry that exists is right.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from stepladder.data.documents import NO_TEXT, Chunk
from stepladder.data.errors import DataError
from stepladder.data.quality import judge
from stepladder.data.tokenization import Tokenizer

DIGEST = "V16"
"""First half of a SHA-256: no two of 10^12 documents share it (odds below 1 in 10^14)."""
TABLE = [
    ("content", DIGEST),
    ("group", DIGEST),
    ("domain", "<u4"),
    ("file", "<u4"),
    ("row", "<u4"),
    ("size", "<u8"),
    ("flaw", "u1"),
]
"""numpy dtype of a document's entry: digests of its text and of its group, its length in `flat`, and what
`quality.judge` says of its text."""


class CachedText(NamedTuple):
    """The documents of a chunk, one after another in a flat array of bytes or token ids."""

    table: NDArray[np.void]
    flat: NDArray[np.unsignedinteger]

    def part(self, mask: NDArray[np.bool_]) -> CachedText:
        """Those of the documents that a mask (documents,) picks."""
        if mask.all():
            return self
        return CachedText(self.table[mask], self.flat[np.repeat(mask, self.table["size"].astype(np.int64))])

    def documents(self) -> Iterator[NDArray[np.unsignedinteger]]:
        """Each document's part of the flat array, in order."""
        end = 0
        for size in self.table["size"].tolist():
            yield self.flat[end : end + size]
            end += size


class Cache:
    """Entries in a folder, one file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where the entry `name` is, or would be."""
        return self._folder / f"{name}.npz"

    def keep(self, paths: Iterable[Path]) -> None:
        """Remove all entries but these."""
        for path in {*self._folder.iterdir()} - {*paths}:
            path.unlink()

    def get(self, name: str, make: Callable[[], CachedText]) -> Path:
        """Path of the entry `name`, which is made and stored first if it is not there."""
        return self.arrays(name, lambda: make()._asdict())

    def arrays(self, name: str, make: Callable[[], dict[str, NDArray[Any]]]) -> Path:
        """The same for an entry of any arrays."""
        path = self.path(name)
        if not path.exists():
            partial = path.with_suffix(f".{uuid.uuid4().hex[:8]}.partial.npz")
            np.savez(partial, **cast(Any, make()))  # names are checked as numpy's own options
            os.replace(partial, path)
        return path


def load(path: Path) -> CachedText:
    """Read an entry."""
    with np.load(path) as arrays:
        return CachedText(arrays["table"], arrays["flat"])


def load_table(path: Path) -> NDArray[np.void]:
    """Read an entry's table alone."""
    with np.load(path) as arrays:
        table: NDArray[np.void] = arrays["table"]
        return table


def read_chunk(chunk: Chunk) -> CachedText:
    """Parse a chunk's documents.

    Raises:
        DataError: a document is bad; the message says where.
    """
    documents = list(chunk.read())
    texts = [document.text for document in documents]
    table = np.zeros(len(documents), dtype=TABLE)
    table["content"] = _digests(texts)
    # Most documents are a group of their own, whose digest is the same.
    table["group"] = table["content"]
    others = [number for number, document in enumerate(documents) if document.group is not document.text]
    table["group"][others] = _digests([documents[number].group for number in others])
    for column in ("domain", "file", "row"):
        table[column] = [getattr(document, column) for document in documents]
    table["size"] = list(map(len, texts))
    table["flaw"] = list(map(judge, texts))
    return CachedText(table, np.frombuffer(b"".join(texts), dtype=np.uint8))


def tokenize(text: CachedText, tokenizer: Tokenizer, dtype: str, files: Sequence[str]) -> CachedText:
    """The same documents as token ids, without end of document.

    Args:
        files: names of the chunk's files, for messages.

    Raises:
        DataError: the tokens of a document do not stand for exactly its bytes.
    """
    documents = [part.tobytes() for part in text.documents()]
    ids = tokenizer.encode(documents)
    if changed := tokenizer.first_changed(documents, ids):
        file, row = text.table[["file", "row"]][changed.number]
        place = f"{files[file]}:{row}" if row else files[file]
        raise DataError(
            f"{tokenizer.name}: cannot be used for this text, because its tokens do not stand for exactly "
            f"that: in {place} {changed.why}. Bits per byte would be wrong: take another tokenizer, or leave "
            "such documents out"
        )
    return as_ids(text, ids, dtype)


def as_ids(text: CachedText, ids: Sequence[NDArray[np.integer]], dtype: str) -> CachedText:
    """The same documents as these token ids."""
    table = text.table.copy()
    table["size"] = [len(one) for one in ids]
    return CachedText(table, np.concatenate([np.empty(0, np.uint32), *ids]).astype(dtype))


def _digests(contents: Sequence[bytes]) -> NDArray[np.void]:
    digests = b"".join(hashlib.sha256(content).digest()[:16] for content in contents)
    return np.frombuffer(digests, DIGEST)


NO_CONTENT = _digests([NO_TEXT])[0]
"""`content` of records without text."""
