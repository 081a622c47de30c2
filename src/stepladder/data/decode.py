"""Prepared shards read back: their tokenizer, and their documents as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stepladder.data.errors import DataError
from stepladder.data.manifest import Manifest, Split
from stepladder.data.tokenization import Bytes, Subwords, Tokenizer

TOKENIZER = "tokenizer.json"


def tokenizer_of(manifest: Manifest, path: Path) -> Tokenizer:
    """The tokenizer that the shards were made with.

    Args:
        path: of the manifest; tokenizer.json lies beside it, unless tokens are bytes.

    Raises:
        DataError: it is missing, or no tokenizer.
    """
    if manifest.tokenizer["kind"] == "byte":
        return Bytes()
    from tokenizers import Tokenizer as Inner

    file = path.parent / TOKENIZER
    try:
        inner = Inner.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"{file}: not a tokenizer.json: {error}: delete {path} and prepare again") from None
    return Subwords(inner, manifest.vocab_size, manifest.end_of_document, str(file))


def documents(manifest: Manifest, path: Path, domain: str, split: Split) -> Iterator[bytes]:
    """Text of each document of a shard, in its order.

    Args:
        path: of the manifest.
    """
    tokenizer = tokenizer_of(manifest, path)
    shard = manifest.domains[domain][split]
    if not shard.documents:
        return
    tokens = np.memmap(path.parent / shard.token_file.name, dtype=manifest.dtype, mode="r")
    starts = np.load(path.parent / shard.document_file.name)["start"]
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        yield tokenizer.decode(np.asarray(tokens[int(start) : int(end) - 1]))  # the last ends the document
