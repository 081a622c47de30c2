"""From chunks of tokens to shards: duplicates dropped, split by hash, a flat file per domain and split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.cache import NO_CONTENT, CachedText
from stepladder.data.documents import Flaw
from stepladder.data.errors import DataError
from stepladder.data.manifest import (
    DOCUMENT,
    DegenerateDocuments,
    File,
    Shard,
    Split,
    describe_file,
    id_dtype,
)
from stepladder.data.quality import FLAWS
from stepladder.data.tokenization import Tokenizer


class Piece(NamedTuple):
    """A chunk's entry with what its numbers refer to."""

    entry: CachedText
    domains: tuple[str, ...]
    first_file: int
    """Line of files.txt that holds the name of the chunk's file 0."""
    only: Split | None = None
    """The split that its documents are for: those of the other one are passed over."""


class DocumentRow(NamedTuple):
    """One document on its way into a shard."""

    domain: str
    tokens: NDArray[np.unsignedinteger]
    file: int
    row: int
    group: bytes
    content: bytes
    flaw: int
    """See `quality.judge`."""
    only: Split | None
    """See `Piece`."""


MAX_EXAMPLES = 5
"""Degenerate documents that the manifest names, of each domain and flaw."""


class Degenerate:
    """Counts documents, and those with a flaw."""

    def __init__(self, domains: tuple[str, ...]) -> None:
        self._documents = 0
        self._counts: dict[str, dict[Flaw, int]] = {domain: {} for domain in domains}
        self._examples: list[tuple[int, int, Flaw]] = []

    def add(self, row: DocumentRow) -> None:
        """Count one."""
        self._documents += 1
        if not row.flaw:
            return
        flaw, counts = FLAWS[row.flaw - 1], self._counts[row.domain]
        counts[flaw] = counts.get(flaw, 0) + 1
        if counts[flaw] <= MAX_EXAMPLES:
            self._examples.append((row.file, row.row, flaw))

    def count(self, domain: str) -> int:
        """Documents of a domain that have a flaw."""
        return sum(self._counts[domain].values())

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
            documents=self._documents,
            counts=self._counts,
            examples=tuple(f"{place} ({flaw})" for place, flaw in places),
        )


class Written(NamedTuple):
    """All shards of a corpus."""

    domains: dict[str, dict[Split, Shard]]
    duplicates: int
    degenerate: Degenerate
    without_text: dict[str, int]
    """Records whose text was null, and which were skipped, by domain."""


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

    def append(self, row: DocumentRow) -> None:
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
    domains: Mapping[Split, Sequence[str]],
    tokenizer: Tokenizer,
    validation_fraction: float,
    folder: Path,
    drop_degenerate: bool = False,
) -> Written:
    """Write all shards into `folder`. Held-out documents are held in memory.

    Training documents stand in the order of the source; held-out ones in the order of their hash, so that any
    prefix is an even sample.

    Args:
        domains: those that must have documents, by split. One of a single split has an empty shard of the
            other.

    Raises:
        DataError: a domain has no training or no held-out document.
    """
    every = tuple(dict.fromkeys([*domains["train"], *domains["validation"]]))
    train = {domain: ShardWriter(folder, f"{domain}.train", tokenizer) for domain in every}
    held_out: dict[str, list[DocumentRow]] = {domain: [] for domain in every}
    duplicates = 0
    seen: set[bytes] = set()
    degenerate = Degenerate(every)
    without_text = dict.fromkeys(every, 0)
    for row in _rows(pieces):
        if row.content == NO_CONTENT:
            without_text[row.domain] += row.only != "validation"
            continue
        split: Split = "validation" if is_held_out(row.group, validation_fraction) else "train"
        if row.only not in (None, split):
            continue
        if row.content in seen:
            duplicates += 1
            continue
        seen.add(row.content)
        degenerate.add(row)
        if row.flaw and drop_degenerate:
            continue
        if split == "validation":
            held_out[row.domain].append(row._replace(tokens=row.tokens.copy()))
        else:
            train[row.domain].append(row)
    shards: dict[str, dict[Split, Shard]] = {}
    for domain in every:
        validation = ShardWriter(folder, f"{domain}.validation", tokenizer)
        for row in sorted(held_out[domain], key=lambda row: row.content):
            validation.append(row)
        shards[domain] = {"train": train[domain].close(), "validation": validation.close()}
        for split, shard in shards[domain].items():
            if shard.documents == 0 and domain in domains[split]:
                left_out = degenerate.count(domain) if drop_degenerate else 0
                raise DataError(
                    f"domain {domain!r} has no document for {split} "
                    f"({shards[domain]['train'].documents:,} for training, "
                    f"{left_out:,} degenerate ones left out): bring more or smaller "
                    f"documents, or change validation_fraction (now {validation_fraction:g})"
                )
    return Written(shards, duplicates, degenerate, without_text)


def _rows(pieces: Iterable[Piece]) -> Iterator[DocumentRow]:
    for entry, domains, first_file, only in pieces:
        for about, tokens in zip(entry.table, entry.documents(), strict=True):
            yield DocumentRow(
                domain=domains[about["domain"]],
                tokens=tokens,
                file=first_file + int(about["file"]),
                row=int(about["row"]),
                group=about["group"].tobytes(),
                content=about["content"].tobytes(),
                flaw=int(about["flaw"]),
                only=only,
            )
