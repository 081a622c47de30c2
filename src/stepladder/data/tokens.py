"""Documents from tokens already made: what their ids stand for tells text, bytes and duplicates, and the ids
go into the shards as they are.

A document ends at the tokenizer's end-of-document id, and in Megatron's files also where the index says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stepladder.data.cache import CachedText, as_ids, read_chunk
from stepladder.data.documents import Chunk, TextDocument, digest
from stepladder.data.errors import DataError, mend, why
from stepladder.data.flat import flat_blocks
from stepladder.data.manifest import id_dtype
from stepladder.data.megatron import megatron_blocks
from stepladder.data.opening import UNREADABLE, source_files
from stepladder.data.tokenization import Tokenizer
from stepladder.schema.data import FlatTokens, TokenSource

PROBED_DOCUMENTS = 16
"""First documents of a file whose text is tokenized again."""

PROBED_TOKENS = 2048
"""Of each of them."""

SAME_SHARE = 0.9
"""Of a document's tokens, those before the first that differs: the rest may be cut, or special tokens."""


class Block(NamedTuple):
    """Adjacent whole documents of a file."""

    ids: NDArray[np.integer]
    starts: NDArray[np.int64]
    """First token of each document (documents,)."""
    ends: NDArray[np.int64]
    """The one after its last, which is its end of document, if there is one (documents,)."""
    rows: NDArray[np.int64]
    """Number of each document in its file, from 1."""


@dataclass(frozen=True)
class TokenChunk:
    """Documents that are read and cached together, as a `stepladder.data.documents.Chunk`, but in tokens."""

    digest: str
    domains: tuple[str, ...]
    files: tuple[str, ...]
    block: Block
    tokenizer: Tokenizer
    spelled: pa.LargeBinaryArray
    """Bytes that each id stands for; those of special tokens are empty."""
    first: bool
    """Whether it is the first of its file, where the tokenizer is looked at closely."""

    def entry(self) -> CachedText:
        """Its documents for the cache: their ids, and what their text tells.

        Raises:
            DataError: an id is none of the tokenizer's, or the tokens were made by another one.
        """
        found = [one for one in self._documents() if one.text.strip()]
        if self.first:
            _check_tokenizer(found, self.tokenizer, self.files[0])
        texts = [TextDocument(one.text, 0, 0, one.row, one.text) for one in found]
        text = read_chunk(Chunk(self.digest, self.domains, self.files, lambda: iter(texts)))
        return as_ids(text, [one.ids for one in found], id_dtype(self.tokenizer.vocab_size))

    def _documents(self) -> Iterator[_Document]:
        ids, starts, ends, rows = self.block
        self._check_ids()
        spelled = self.spelled.take(pa.array(ids.astype(np.uint32)))
        ends_N = np.frombuffer(spelled.buffers()[1], np.int64)
        letters = memoryview(spelled.buffers()[2] or b"").cast("B")
        for first, last, row in zip(starts, ends, rows, strict=True):
            # Where a document was cut within a character, that is no text, but its bytes count all the same.
            text = bytes(letters[ends_N[first] : ends_N[last]]).decode(errors="replace").encode()
            yield _Document(ids[first:last], text, int(row))

    def _check_ids(self) -> None:
        ids, starts, _, rows = self.block
        known_V = self.tokenizer.known
        inside = (ids >= 0) & (ids < len(known_V))
        bad = np.flatnonzero(~inside | ~known_V[np.where(inside, ids, 0)])
        if bad.size:
            row = rows[np.searchsorted(starts, bad[0], side="right") - 1]
            raise DataError(
                f"{self.files[0]}: document {row}: id {int(ids[bad[0]])} is none of the "
                f"{int(known_V.sum()):,} of {self.tokenizer.name}: name the tokenizer that the tokens were "
                "made with, and their dtype"
            )


class _Document(NamedTuple):
    ids: NDArray[np.integer]
    text: bytes
    row: int


def chunks(source: TokenSource, tokenizer: Tokenizer) -> Iterator[TokenChunk]:
    """All chunks of `source`: domain by domain, files in sorted order.

    Args:
        tokenizer: the one that the tokens were made with.

    Raises:
        DataError: a pattern matches nothing, or a file cannot be read.
    """
    how = {"kind": source.kind, "tokenizer": tokenizer.key}
    spelled = pa.array([spelling or b"" for spelling in tokenizer.spellings], pa.large_binary())
    for domain, paths in source_files(source).items():
        for path in paths:
            first = True
            for block in _blocks(path, source, tokenizer.end_of_document):
                parts = (part.tobytes() for part in block)
                key = digest(how | {"dtype": str(block.ids.dtype), "first": first}, parts)
                yield TokenChunk(key, (domain,), (path,), block, tokenizer, spelled, first)
                first = False


def _blocks(path: str, source: TokenSource, end: int) -> Iterator[Block]:
    try:
        if isinstance(source, FlatTokens):
            rows = 1
            for ids in flat_blocks(path, source.dtype, end):
                block = _split(ids, np.zeros(1, np.int64), None, end, rows)
                yield block
                rows += len(block.rows)
        else:
            for ids, starts, first_row in megatron_blocks(path):
                yield _split(ids, starts, first_row, end, 1)
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {why(error)}{mend(error)}") from None


def _split(
    ids: NDArray[np.integer], starts: NDArray[np.int64], first_row: int | None, end: int, rows: int
) -> Block:
    """Cut documents at ends of document as well; empty ones are none.

    Args:
        starts: of documents that are known.
        first_row: number of the first of these in the file; None to number what comes out, from `rows` on.
    """
    bounds = np.union1d(np.append(starts, len(ids)), np.flatnonzero(ids == end) + 1)
    begins, ends = bounds[:-1], bounds[1:] - (ids[bounds[1:] - 1] == end)
    kept = ends > begins
    begins, ends = begins[kept], ends[kept]
    if first_row is None:
        return Block(ids, begins, ends, rows + np.arange(len(begins)))
    return Block(ids, begins, ends, first_row + np.searchsorted(starts, begins, side="right") - 1)


def _check_tokenizer(documents: Sequence[_Document], tokenizer: Tokenizer, path: str) -> None:
    """Tokens and text of the first documents go together.

    Raises:
        DataError: of most of them the text becomes other tokens.
    """
    probed = documents[:PROBED_DOCUMENTS]
    heads = [one.ids[:PROBED_TOKENS] for one in probed]
    texts = [one.text[: 64 * PROBED_TOKENS] for one in probed]
    again = tokenizer.encode([text.decode(errors="ignore").encode() for text in texts])
    sizes = tokenizer.token_bytes
    same = [
        _same_share(head[sizes[head] > 0], new) >= SAME_SHARE for head, new in zip(heads, again, strict=True)
    ]
    if 2 * sum(same) < len(same):
        number = same.index(False)
        shown = documents[number].text[:40].decode(errors="replace")
        raise DataError(
            f"{path}: document {documents[number].row}: {tokenizer.name} reads its tokens as {shown!r}, and "
            f"makes other tokens of that ({sum(same)} of the first {len(same)} documents become what they "
            "are): name the tokenizer that they were made with, its end_of_document and their dtype"
        )


def _same_share(ids: NDArray[np.integer], others: NDArray[np.integer]) -> float:
    """Share of the ids before the first that differs."""
    size = min(len(ids), len(others))
    differ = np.flatnonzero(ids[:size] != others[:size])
    return float((differ[0] if differ.size else size) / max(1, len(ids)))
