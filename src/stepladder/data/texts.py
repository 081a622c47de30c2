"""Chunks of text on their way to shards: read once, tokenized once, kept in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from stepladder.data import files, stdlib
from stepladder.data.cache import Cache, CachedText, load, read_chunk, tokenize
from stepladder.data.documents import Chunk
from stepladder.data.errors import DataError
from stepladder.data.manifest import Split, id_dtype
from stepladder.data.minhash import band_keys
from stepladder.data.request import Request
from stepladder.data.sample import sample
from stepladder.data.shards import Piece
from stepladder.data.tokenization import Bytes, Tokenizer, ready_made, train_bpe
from stepladder.data.tokens import TokenChunk
from stepladder.data.tokens import chunks as token_chunks
from stepladder.documents.document import Part
from stepladder.record.fingerprint import preparation_fingerprint
from stepladder.schema.data import (
    BPETokenizer,
    FlatTokens,
    MegatronTokens,
    NearDuplicates,
    PythonStdlib,
    SourceConfig,
    TokenizerConfig,
    needs_text,
)

Tell = Callable[[str], None]
"""Takes what to say of the progress."""


class Text(Part):
    """A chunk that was read: its text is in the cache."""

    domains: tuple[str, ...]
    """names that its documents' domains count in"""
    files: tuple[str, ...]
    """names that its documents' files count in"""
    entry: str
    """of the cache: what was read, and by which code"""
    only: Split | None = None
    """the split that it is for, where training and held-out text are of two sources"""
    bands: str | None = None
    """entry of the cache with its documents' band keys, where near-duplicates are looked for"""
    tokenized: bool = False
    """whether tokens are in the cache in place of text: the source's own"""


@contextmanager
def telling() -> Iterator[Tell]:
    """A line on stderr that says what is being done, and for how long."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("preparing data")
        yield lambda text: progress.update(task, description=text)


def read(
    request: Request, source: SourceConfig, only: Split | None, cache: Cache, tell: Tell
) -> Iterator[Text]:
    """Parse all chunks of a source that are not in the cache yet.

    Args:
        request: by whose tokenizer a source of tokens is read, and which near-duplicates are looked for.
        source: one of the request's.

    Raises:
        DataError: a file cannot be used; what was read before stays in the cache.
    """
    code, near = preparation_fingerprint(), request.near_duplicates
    if near and isinstance(source, FlatTokens | MegatronTokens):
        raise DataError(
            f"data.near_duplicates: a source of kind {source.kind} has no words to compare: leave it out"
        )
    for number, chunk in enumerate(_chunks(source, request.tokenizer), 1):
        entry = f"{code}-{chunk.digest}"
        tokenized = isinstance(chunk, TokenChunk)
        make = chunk.entry if isinstance(chunk, TokenChunk) else partial(read_chunk, chunk)
        path = cache.get(f"text-{entry}", make)
        tell(f"reading text: chunk {number}, {chunk.files[-1]}")
        bands = f"bands-{near.threshold:g}-{near.words}-{entry}" if near else None
        if bands and near:
            cache.arrays(bands, partial(_bands, path, near))
        yield Text(
            domains=chunk.domains,
            files=chunk.files,
            entry=entry,
            only=only,
            bands=bands,
            tokenized=tokenized,
        )


def _bands(path: Path, near: NearDuplicates) -> dict[str, NDArray[Any]]:
    return {"keys": band_keys(load(path), near)}


def _chunks(source: SourceConfig, settings: TokenizerConfig) -> Iterator[Chunk | TokenChunk]:
    if isinstance(source, PythonStdlib):
        yield from stdlib.chunks()
    elif not isinstance(source, FlatTokens | MegatronTokens):
        yield from files.chunks(source)
    elif isinstance(settings, BPETokenizer):
        raise DataError(needs_text(source, settings))
    else:
        yield from token_chunks(source, ready_made(settings))


def make_tokenizer(request: Request, texts: Iterable[Text], cache: Cache) -> Tokenizer:
    """The tokenizer that is asked for, trained on training documents if need be: where held-out text is of
    another source, on that one's, so that all corpora which are scored on it have the same tokenizer."""
    settings = request.tokenizer
    if not isinstance(settings, BPETokenizer):
        return ready_made(settings)
    paths = [cache.path(f"text-{text.entry}") for text in texts if text.only != "train"]
    drop = request.drop["validation"]
    return train_bpe(settings, sample(paths, request.validation_fraction, drop, settings.training_bytes))


def tokens(text: Text, tokenizer: Tokenizer, cache: Cache) -> Path:
    """The entry of a chunk's tokens, which is made if it is not there. Bytes are their own tokens.

    Raises:
        DataError: the tokenizer cannot be used for this text.
    """
    if text.tokenized or isinstance(tokenizer, Bytes):
        return cache.path(f"text-{text.entry}")
    return cache.get(f"checked-tokens-{text.entry}-{tokenizer.key}", partial(_tokens, text, tokenizer, cache))


def _tokens(text: Text, tokenizer: Tokenizer, cache: Cache) -> CachedText:
    path = cache.path(f"text-{text.entry}")
    if not path.exists():
        raise DataError(f"{path}: is missing: remove {path.parent} and parts/ beside it, and run again")
    return tokenize(load(path), tokenizer, id_dtype(tokenizer.vocab_size), text.files)


def pieces(texts: Iterable[Text], tokenizer: Tokenizer, cache: Cache, tell: Tell) -> list[Piece]:
    """Tokens of all chunks, in order."""
    found, first_file = [], 0
    for number, text in enumerate(texts, 1):
        bands = cache.path(text.bands) if text.bands else None
        found.append(Piece(tokens(text, tokenizer, cache), text.domains, first_file, text.only, bands))
        first_file += len(text.files)
        tell(f"tokenizing: chunk {number}, {text.files[-1]}")
    return found
