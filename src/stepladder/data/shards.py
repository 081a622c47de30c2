"""From chunks of tokens to shards: duplicates dropped, split by hash, a flat file per domain and split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.cache import Entry
from stepladder.data.errors import DataError
from stepladder.data.manifest import DOCUMENT, DegenerateDocuments, File, Shard, Split, describe_file
from stepladder.data.quality import FLAWS
from stepladder.data.tokenization import Tokenizer, id_dtype


class Piece(NamedTuple):
    """A chunk's entry with what its numbers refer to."""

    entry: Entry
    domains: tuple[str, ...]
    first_file: int
    """Line of files.txt that holds the name of the chunk's file 0."""


class Row(NamedTuple):
    """One document on its way into a shard."""

    domain: str
    tokens: NDArray[np.unsignedinteger]
    file: int
    row: int
    group: bytes
    content: bytes
    flaw: int
    """See `quality.judge`."""


MAX_EXAMPLES = 20
"""Degenerate documents that the manifest names."""


class Degenerate:
    """Counts documents with a flaw."""

    def __init__(self, domains: tuple[str, ...]) -> None:
        self._by_domain = dict.fromkeys(domains, 0)
        self._by_flaw: dict[str, int] = dict.fromkeys(FLAWS, 0)
        self._examples: list[tuple[int, int, str]] = []

    def add(self, row: Row) -> None:
        """Count one."""
        flaw = FLAWS[row.flaw - 1]
        self._by_domain[row.domain] += 1
        self._by_flaw[flaw] += 1
        if len(self._examples) < MAX_EXAMPLES:
            self._examples.append((row.file, row.row, flaw))

    def describe(self, files: list[str], dropped: bool) -> DegenerateDocuments:
        """For the manifest.

        Args:
            files: names of the source files, as in files.txt.
        """
        places = (
            (f"{files[file]}:{row}" if row else files[file], flaw) for file, row, flaw in self._examples
        )
        return DegenerateDocuments(
            dropped=dropped,
            by_domain=self._by_domain,
            by_flaw=self._by_flaw,
            examples=tuple(f"{place} ({flaw})" for place, flaw in places),
        )


class Written(NamedTuple):
    """All shards of a corpus."""

    domains: dict[str, dict[Split, Shard]]
    duplicates: int
    degenerate: Degenerate


def is_held_out(group: bytes, validation_fraction: float) -> bool:
    """Whether documents of this group digest go to validation: a fixed, even draw by hash."""
    return int.from_bytes(group[:8], "big") < validation_fraction * 2.0**64


class ShardWriter:
    """One domain and split: appends documents, then says what was written."""

    def __init__(self, folder: Path, name: str, tokenizer: Tokenizer) -> None:
        self.dtype = np.dtype(id_dtype(tokenizer.vocab_size))
        self.path = folder / f"{name}.tokens"
        self._stream = self.path.open("wb")
        self._sha256 = hashlib.sha256()
        self._token_bytes = tokenizer.token_bytes
        self._end = np.array([tokenizer.end_of_document], dtype=self.dtype)
        self._index: list[tuple[int, int, int]] = []
        self._tokens = self._bytes = 0

    def append(self, row: Row) -> None:
        """Write one document and the token that ends it."""
        self._index.append((self._tokens, row.file, row.row))
        for part in (row.tokens.astype(self.dtype, copy=False), self._end):
            self._stream.write(part.data)
            self._sha256.update(part.data)
        self._tokens += len(row.tokens) + 1
        self._bytes += int(self._token_bytes[row.tokens].sum(dtype=np.int64))

    def close(self) -> Shard:
        """Finish both files."""
        self._stream.close()
        documents = self.path.with_suffix(".documents.npy")
        np.save(documents, np.array(self._index, dtype=DOCUMENT))
        size = self._tokens * self.dtype.itemsize
        return Shard(
            tokens=self._tokens,
            bytes=self._bytes,
            documents=len(self._index),
            token_file=File(name=self.path.name, size=size, sha256=self._sha256.hexdigest()),
            document_file=describe_file(documents),
        )


def write_shards(
    pieces: Iterable[Piece],
    domains: tuple[str, ...],
    tokenizer: Tokenizer,
    validation_fraction: float,
    folder: Path,
    drop_degenerate: bool = False,
) -> Written:
    """Write all shards into `folder`. Held-out documents are held in memory.

    Training documents stand in the order of the source; held-out ones in the order of their hash, so that any
    prefix is an even sample.

    Raises:
        DataError: a domain has no training or no held-out document.
    """
    train = {domain: ShardWriter(folder, f"{domain}.train", tokenizer) for domain in domains}
    held_out: dict[str, list[Row]] = {domain: [] for domain in domains}
    duplicates = 0
    seen: set[bytes] = set()
    degenerate = Degenerate(domains)
    for row in _rows(pieces):
        if row.content in seen:
            duplicates += 1
            continue
        seen.add(row.content)
        if row.flaw:
            degenerate.add(row)
            if drop_degenerate:
                continue
        if is_held_out(row.group, validation_fraction):
            held_out[row.domain].append(row._replace(tokens=row.tokens.copy()))
        else:
            train[row.domain].append(row)
    shards: dict[str, dict[Split, Shard]] = {}
    for domain in domains:
        validation = ShardWriter(folder, f"{domain}.validation", tokenizer)
        for row in sorted(held_out[domain], key=lambda row: row.content):
            validation.append(row)
        shards[domain] = {"train": train[domain].close(), "validation": validation.close()}
        for split, shard in shards[domain].items():
            if shard.documents == 0:
                raise DataError(
                    f"domain {domain!r} has no document for {split} "
                    f"({shards[domain]['train'].documents:,} for training): bring more or smaller "
                    f"documents, or change validation_fraction (now {validation_fraction:g})"
                )
    return Written(shards, duplicates, degenerate)


def _rows(pieces: Iterable[Piece]) -> Iterator[Row]:
    for entry, domains, first_file in pieces:
        for about, tokens in zip(entry.table, entry.documents(), strict=True):
            yield Row(
                domain=domains[about["domain"]],
                tokens=tokens,
                file=first_file + int(about["file"]),
                row=int(about["row"]),
                group=about["group"].tobytes(),
                content=about["content"].tobytes(),
                flaw=int(about["flaw"]),
            )
