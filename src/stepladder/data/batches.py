"""Token windows for training, and held-out text, from prepared shards.

Without a mixture all domains are read as one ring, in natural proportion: as large as they are. With one each
domain is a ring of its own, and gives windows in the proportion that is asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.errors import DataError
from stepladder.data.manifest import Manifest, Split, read
from stepladder.data.mixing import Windows
from stepladder.data.order import Order


class Validation(NamedTuple):
    """Held-out text of one domain: the same tokens for every run."""

    tokens: NDArray[np.int64]
    """Token ids (n,): documents in the order of their hash, each ending with end of document."""
    bytes: int
    """UTF-8 bytes of text that exactly these tokens stand for."""
    documents: int
    """Documents that these tokens touch; the last one may be cut."""


class Origin(NamedTuple):
    """A training document and where it came from."""

    domain: str
    number: int
    """Counts from 0 within the domain's training shard."""
    place: str
    """Source file, with `:line` or `:row` where it holds several documents."""


class Part(NamedTuple):
    """Adjacent tokens of a shard."""

    domain: str
    start: int
    end: int


class Ring:
    """Training tokens of some domains, one after the other; after the last comes the first again."""

    def __init__(self, shards: dict[str, NDArray[np.unsignedinteger]], key: tuple[int, ...] = ()) -> None:
        self._domains, self._shards = list(shards), list(shards.values())
        self._first = np.cumsum([0, *map(len, self._shards)])
        self.order = Order(int(self._first[-1]), key)

    @property
    def names(self) -> str:
        """Its domains, in words."""
        return ", ".join(self._domains)

    def read(self, row: NDArray[np.int64], start: int) -> None:
        """Fill `row` with the tokens from ring position `start` on."""
        shard, local = self._locate(start)
        part = self._shards[shard][local : local + len(row)]
        row[: len(part)] = part
        if len(part) < len(row):
            self.read(row[len(part) :], (start + len(part)) % self.order.ring)

    def parts(self, start: int, tokens: int) -> list[Part]:
        """What of which shards the tokens from ring position `start` on are."""
        shard, local = self._locate(start)
        count = min(tokens, len(self._shards[shard]) - local)
        rest = self.parts((start + count) % self.order.ring, tokens - count) if count < tokens else []
        return [Part(self._domains[shard], local, local + count), *rest]

    def _locate(self, position: int) -> tuple[int, int]:
        """Shard number and token within it, of a ring position."""
        shard = int(self._first.searchsorted(position, side="right")) - 1
        return shard, position - int(self._first[shard])


class Corpus:
    """Prepared shards, memory-mapped."""

    def __init__(
        self, folder: Path, manifest: Manifest, max_validation_tokens: int, mixed: Sequence[str] = ()
    ) -> None:
        self.manifest = manifest
        self._folder = folder
        self._max_validation_tokens = max_validation_tokens
        shards = {domain: self._tokens(domain, "train") for domain in manifest.domains}
        if mixed:
            # A key of its name: the order of a domain is the same whichever others are mixed with it.
            self._rings = [Ring({name: shards[name]}, (zlib.crc32(name.encode()),)) for name in mixed]
        else:
            self._rings = [Ring(shards)]
        self.orders = [ring.order for ring in self._rings]

    @classmethod
    def open(cls, manifest: str | Path, max_validation_tokens: int, mixed: Sequence[str] = ()) -> Corpus:
        """Open the shards beside `manifest`, checking their sizes (`manifest.verify` checks all bytes).

        Args:
            manifest: path of manifest.json.
            max_validation_tokens: held-out tokens per domain.
            mixed: domains that are mixed, each a ring of its own; none: all of them are one ring.

        Raises:
            DataError: the manifest or a shard is missing or not what it was.
        """
        path = Path(manifest)
        return cls(path.parent, read(path), max_validation_tokens, mixed)

    def window(self, seed: int, windows: Windows, lookahead: int) -> NDArray[np.int64]:
        """Token ids (windows, tokens + lookahead) of one batch.

        Each row is text as it stands in the corpus, its last `lookahead` tokens being the true continuation
        (targets; they are read again as inputs of another window).

        Args:
            seed: chooses the order.

        Raises:
            DataError: a window is longer than the whole text of its ring.
        """
        length = windows.stretch.tokens + lookahead
        for ring, share in zip(self._rings, windows.stretch.shares, strict=True):
            if share and length > ring.order.ring:
                raise DataError(
                    f"a window of {length:,} tokens is longer than the training text of {ring.order.ring:,} "
                    f"({ring.names}): bring more text or shorten sequence_length (or the bags)"
                )
        starts = windows.starts(self.orders, seed)
        window_ST = np.empty((windows.sequences, length), dtype=np.int64)
        for row_T, (number, start) in zip(window_ST, starts, strict=True):
            self._rings[number].read(row_T, start)
        return window_ST

    def documents_of(self, seed: int, windows: Windows) -> list[list[Origin]]:
        """The documents, for each window, that its tokens come from."""
        return [
            [
                origin
                for part in self._rings[ring].parts(start, windows.stretch.tokens)
                for origin in self._origins(part)
            ]
            for ring, start in windows.starts(self.orders, seed)
        ]

    def validation(self, domain: str) -> Validation:
        """The first `max_validation_tokens` held-out tokens of `domain`."""
        shard = self._tokens(domain, "validation")
        tokens = shard[: self._max_validation_tokens].astype(np.int64)
        starts = self._documents(domain, "validation")["start"]
        return Validation(
            tokens=tokens,
            bytes=int(np.load(self._folder / "token_bytes.npy")[tokens].sum(dtype=np.int64)),
            documents=int(np.searchsorted(starts, len(tokens))),
        )

    def _origins(self, part: Part) -> list[Origin]:
        documents = self._documents(part.domain, "train")
        first = int(np.searchsorted(documents["start"], part.start, side="right")) - 1
        last = int(np.searchsorted(documents["start"], part.end, side="left"))
        return [
            Origin(part.domain, i, self._place(*documents[["file", "row"]][i])) for i in range(first, last)
        ]

    def _place(self, file: int, row: int) -> str:
        return f"{self._files[file]}:{row}" if row else self._files[file]

    @cached_property
    def _files(self) -> list[str]:
        return (self._folder / "files.txt").read_text(encoding="utf-8").splitlines()

    def _tokens(self, domain: str, split: Split) -> NDArray[np.unsignedinteger]:
        file = self.manifest.domains[domain][split].token_file
        if not file.size:  # a domain that is only trained on, or only scored
            return np.empty(0, self.manifest.dtype)
        # A plain array over the map: slicing np.memmap itself costs several times as much.
        return np.asarray(np.memmap(self._folder / file.name, dtype=self.manifest.dtype, mode="r"))

    def _documents(self, domain: str, split: Split) -> NDArray[np.void]:
        name = self.manifest.domains[domain][split].document_file.name
        documents: NDArray[np.void] = np.load(self._folder / name, mmap_mode="r")
        return documents
