"""From chunks of tokens to shards: duplicates dropped, split by hash, a flat file per domain and split.

Two passes over the chunks: the first reads their tables alone and finds the duplicates, the second copies the
tokens of what stays. Neither holds more than a chunk and some bytes per document.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.cache import DIGEST, NO_CONTENT, TABLE, CachedText, load, load_table
from stepladder.data.documents import Flaw
from stepladder.data.duplicates import first_of_each
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
from stepladder.data.near_duplicates import BandTable
from stepladder.data.quality import FLAWS
from stepladder.data.tokenization import Bytes, Tokenizer


class Piece(NamedTuple):
    """A chunk's entry with what its numbers refer to."""

    path: Path
    """Of the entry, as `cache.load` reads it."""
    domains: tuple[str, ...]
    first_file: int
    """Line of files.txt that holds the name of the chunk's file 0."""
    only: Split | None = None
    """The split that its documents are for: those of the other one are passed over."""
    bands: Path | None = None
    """Of its entry of band keys, where near-duplicates are left out."""


COUNTED = 2**18
"""Tokens counted at once, for the processor's cache."""

MAX_EXAMPLES = 5
"""Degenerate documents that the manifest names, of each domain and flaw."""


class Degenerate:
    """Counts documents, and those with a flaw."""

    def __init__(self, domains: tuple[str, ...]) -> None:
        self._documents = 0
        self._counts: dict[str, dict[Flaw, int]] = {domain: {} for domain in domains}
        self._examples: list[tuple[int, int, Flaw]] = []

    def add(self, piece: Piece, table: NDArray[np.void]) -> None:
        """Count a chunk's documents."""
        self._documents += len(table)
        for about in table[table["flaw"] > 0]:
            flaw, counts = FLAWS[about["flaw"] - 1], self._counts[piece.domains[about["domain"]]]
            counts[flaw] = counts.get(flaw, 0) + 1
            if counts[flaw] <= MAX_EXAMPLES:
                self._examples.append((piece.first_file + int(about["file"]), int(about["row"]), flaw))

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
    near_duplicates: dict[str, int] | None
    """Training documents left out because another is nearly the same, by domain; None where they are kept."""
    degenerate: Degenerate
    without_text: dict[str, int]
    """Records whose text was null, and which were skipped, by domain."""


def is_held_out(groups: NDArray[np.void], validation_fraction: float) -> NDArray[np.bool_]:
    """Whether documents of these group digests go to validation: a fixed, even draw by hash."""
    drawn = np.ascontiguousarray(groups).view(">u8")[::2]
    return np.asarray(drawn < ceil(validation_fraction * 2.0**64))


class ShardWriter:
    """One domain and split: appends documents, then says what was written."""

    def __init__(self, folder: Path, name: str, tokenizer: Tokenizer) -> None:
        self._dtype = np.dtype(id_dtype(tokenizer.vocab_size))
        self._path = folder / f"{name}.tokens"
        self._stream = self._path.open("wb")
        self._index = (folder / f"{name}.index").open("w+b")
        self._sha256 = hashlib.sha256()
        self._tokenizer = tokenizer
        self._token_bytes = tokenizer.token_bytes
        self._end = tokenizer.end_of_document
        self._documents = self._tokens = self._bytes = 0

    def append(self, documents: CachedText, first_file: int) -> None:
        """Write documents, each with the token that ends it."""
        table = documents.table
        ends = np.cumsum(table["size"].astype(np.int64))
        tokens = np.insert(documents.flat.astype(self._dtype, copy=False), ends, self._end)
        index = np.empty(len(table), DOCUMENT)
        index["start"] = (
            self._tokens + np.concatenate([[0], ends[:-1] + np.arange(1, len(ends))])[: len(ends)]
        )
        index["file"], index["row"] = first_file + table["file"], table["row"]
        self._stream.write(tokens.data)
        self._sha256.update(tokens.data)
        self._index.write(index.data)
        self._documents += len(table)
        self._tokens += len(tokens)
        self._bytes += self._bytes_of(documents.flat)

    def _bytes_of(self, tokens: NDArray[np.unsignedinteger]) -> int:
        """Bytes that tokens stand for. To count ids is quicker than to look each up; bytes need neither."""
        if isinstance(self._tokenizer, Bytes):
            return len(tokens)
        often = np.zeros(len(self._token_bytes), np.int64)
        for start in range(0, len(tokens), COUNTED):
            often += np.bincount(tokens[start : start + COUNTED], minlength=len(often))
        return int(often @ self._token_bytes.astype(np.int64))

    def close(self) -> Shard:
        """Finish both files."""
        self._stream.close()
        documents = self._path.with_suffix(".documents.npy")
        with documents.open("wb") as stream, self._index as index:
            header = {"descr": DOCUMENT, "fortran_order": False, "shape": (self._documents,)}
            np.lib.format.write_array_header_1_0(stream, header)
            index.seek(0)
            shutil.copyfileobj(index, stream, 2**20)
        Path(index.name).unlink()
        return Shard(
            tokens=self._tokens,
            bytes=self._bytes,
            documents=self._documents,
            token_file=File(
                name=self._path.name,
                size=self._tokens * self._dtype.itemsize,
                sha256=self._sha256.hexdigest(),
            ),
            document_file=describe_file(documents),
        )


class HeldOut:
    """Held-out documents of a domain, kept in a file until all are there and can be put in order."""

    def __init__(self, path: Path, dtype: np.dtype[np.unsignedinteger]) -> None:
        self._path, self._dtype = path, dtype
        self._stream = path.open("wb")
        self._tables: list[NDArray[np.void]] = []

    def append(self, documents: CachedText, first_file: int) -> None:
        """Keep documents."""
        table = documents.table.copy()
        table["file"] += first_file
        self._tables.append(table)
        self._stream.write(documents.flat.astype(self._dtype, copy=False).data)

    def write(self, shard: ShardWriter) -> None:
        """Hand all documents on, in the order of their hash, so that any prefix is an even sample."""
        self._stream.close()
        table = np.concatenate([np.empty(0, TABLE), *self._tables])
        ends = np.cumsum(table["size"].astype(np.int64))
        words = np.ascontiguousarray(table["content"]).view(">u8").reshape(-1, 2)
        if len(table):  # no file without bytes can be mapped, and no document is empty
            tokens = np.memmap(self._path, dtype=self._dtype, mode="r")
        for number in np.lexsort((words[:, 1], words[:, 0])):
            own = tokens[ends[number] - int(table["size"][number]) : ends[number]]
            shard.append(CachedText(table[number : number + 1], own), 0)
        self._path.unlink()


def write_shards(
    pieces: Sequence[Piece],
    domains: Mapping[Split, Sequence[str]],
    tokenizer: Tokenizer,
    validation_fraction: float,
    folder: Path,
    drop_degenerate: Mapping[Split, bool],
) -> Written:
    """Write all shards into `folder`.

    Training documents stand in the order of the source; held-out ones in the order of their hash.

    Args:
        domains: those that must have documents, by split. One of a single split has an empty shard of the
            other.
        drop_degenerate: whether they are left out, by split.

    Raises:
        DataError: a domain has no training or no held-out document.
    """
    every = tuple(dict.fromkeys([*domains["train"], *domains["validation"]]))
    dtype = np.dtype(id_dtype(tokenizer.vocab_size))
    train = {domain: ShardWriter(folder, f"{domain}.train", tokenizer) for domain in every}
    held_out = {domain: HeldOut(folder / f"{domain}.held_out", dtype) for domain in every}
    degenerate = Degenerate(every)
    wanted = _Wanted(pieces, validation_fraction, folder)
    for piece, keep in wanted:
        entry = load(piece.path)
        degenerate.add(piece, entry.table[keep])
        held = is_held_out(entry.table["group"], validation_fraction)
        dropped = np.where(held, drop_degenerate["validation"], drop_degenerate["train"])
        keep = keep & ~(dropped & (entry.table["flaw"] > 0))
        for number, domain in enumerate(piece.domains):
            mine = keep & (entry.table["domain"] == number)
            train[domain].append(entry.part(mine & ~held), piece.first_file)
            held_out[domain].append(entry.part(mine & held), piece.first_file)
    shards: dict[str, dict[Split, Shard]] = {}
    for domain in every:
        validation = ShardWriter(folder, f"{domain}.validation", tokenizer)
        held_out[domain].write(validation)
        shards[domain] = {"train": train[domain].close(), "validation": validation.close()}
        for split, shard in shards[domain].items():
            if shard.documents == 0 and domain in domains[split]:
                left_out = degenerate.count(domain) if drop_degenerate[split] else 0
                raise DataError(
                    f"domain {domain!r} has no document for {split} "
                    f"({shards[domain]['train'].documents:,} for training, "
                    f"{left_out:,} degenerate ones left out): bring more or smaller "
                    f"documents, or change validation_fraction (now {validation_fraction:g})"
                )
    without_text = {domain: wanted.without_text.get(domain, 0) for domain in every}
    near = {domain: wanted.near_duplicates.get(domain, 0) for domain in every} if wanted.looks_near else None
    return Written(shards, wanted.duplicates, near, degenerate, without_text)


class _Wanted:
    """Which documents of each chunk are text of the right split, the first of their content, and not nearly
    the same as another."""

    def __init__(self, pieces: Sequence[Piece], validation_fraction: float, folder: Path) -> None:
        self._pieces = pieces
        self._masks: list[NDArray[np.bool_]] = []
        self.without_text: dict[str, int] = {}
        self.looks_near = any(piece.bands for piece in pieces)
        self.near_duplicates: dict[str, int] = {}
        bands = BandTable(folder / "bands") if self.looks_near else None
        held: list[NDArray[np.bool_]] = []
        scratch = folder / "digests"
        with scratch.open("wb") as stream:
            for piece in pieces:
                table = load_table(piece.path)
                mask = self._usable(piece, table, validation_fraction)
                self._masks.append(mask)
                stream.write(np.ascontiguousarray(table["content"][mask]).data)
                if bands is not None and piece.bands is not None:
                    bands.append(piece.bands, mask)
                    held.append(is_held_out(table["group"][mask], validation_fraction))
        digests = np.memmap(scratch, DIGEST, "r") if scratch.stat().st_size else np.empty(0, DIGEST)
        self._first = first_of_each(digests)
        self.duplicates = int(np.count_nonzero(~self._first))
        self._near = np.zeros(len(self._first), np.bool_)
        if bands is not None:
            self._near = bands.near(np.concatenate(held), self._first)
        scratch.unlink()

    def __iter__(self) -> Iterator[tuple[Piece, NDArray[np.bool_]]]:
        """Each piece with its documents' mask."""
        seen = 0
        for piece, mask in zip(self._pieces, self._masks, strict=True):
            here = slice(seen, seen := seen + int(np.count_nonzero(mask)))
            if self._near[here].any():
                self._count_near(piece, mask, self._near[here])
            mask[mask] = self._first[here] & ~self._near[here]
            yield piece, mask

    def _count_near(self, piece: Piece, mask: NDArray[np.bool_], near: NDArray[np.bool_]) -> None:
        for number in load_table(piece.path)["domain"][mask][near].tolist():
            domain = piece.domains[number]
            self.near_duplicates[domain] = self.near_duplicates.get(domain, 0) + 1

    def _usable(self, piece: Piece, table: NDArray[np.void], validation_fraction: float) -> NDArray[np.bool_]:
        blank = table["content"] == NO_CONTENT
        if piece.only != "validation":  # of that split the source's own shards count them
            for number in table["domain"][blank].tolist():
                domain = piece.domains[number]
                self.without_text[domain] = self.without_text.get(domain, 0) + 1
        if piece.only is None:
            return np.asarray(~blank)
        held = is_held_out(table["group"], validation_fraction)
        return np.asarray(~blank & (held if piece.only == "validation" else ~held))
