"""Token windows for training and held-out text: reading is a pure function of (seed, tokens read).

The order. All training tokens, domain after domain, form a ring. `readers` stand at equal distances
on it. In a round each reads its next window, one after the other in random order; then comes
the next round, until every reader has reached the start of the one ahead: an epoch. The next epoch
starts from another random place. What was read up to a position is therefore nearly the same
text for every window length (the same depth from every reader's start), so that a recipe that
reads long windows and its baseline see the same text in the same order; each batch holds windows from
all over the corpus, domains in natural proportion; and any position is found in constant time,
without shuffling or copying, on a corpus of any size.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.errors import DataError
from stepladder.data.manifest import Manifest, Split, read

MAX_READERS = 512
"""Enough that windows of one long document come far apart (64 steps at 8 sequences per step)."""
MIN_TOKENS_PER_READER = 4096
"""Small corpora get fewer readers, so that each still has some windows to read."""


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


class Order(NamedTuple):
    """Where in a ring of `ring` tokens each window of an epoch starts."""

    ring: int

    @property
    def readers(self) -> int:
        """Places from which the ring is read at once."""
        return max(1, min(MAX_READERS, self.ring // MIN_TOKENS_PER_READER))

    @property
    def epoch(self) -> int:
        """Tokens per epoch: the ring, but for less than one token per reader."""
        return self.ring // self.readers * self.readers

    def starts(self, seed: int, position: int, sequences: int, tokens: int) -> NDArray[np.int64]:
        """Ring positions (sequences,) of the windows of `tokens` tokens from `position` on.

        Every token of an epoch is read once if `tokens` divides `epoch / readers`; else the last
        round's windows run over the next reader's first tokens.
        """
        epoch_S, within_S = np.divmod(position + tokens * np.arange(sequences), self.epoch)
        round_S, rest_S = np.divmod(within_S, self.readers * tokens)
        turn_S = rest_S // tokens
        if round_S[0] == round_S[-1] and epoch_S[0] == epoch_S[-1]:
            start_S = _reader_starts(self, seed, int(epoch_S[0]), int(round_S[0]))[turn_S]
        else:
            turns = zip(epoch_S.tolist(), round_S.tolist(), turn_S.tolist(), strict=True)
            start_S = np.array([_reader_starts(self, seed, e, r)[turn] for e, r, turn in turns])
        ring_S: NDArray[np.int64] = (start_S + round_S * tokens) % self.ring
        return ring_S

    def next_round(self, position: int, tokens: int) -> int:
        """First position from `position` on where all readers are equally deep after windows of `tokens`.

        A phase that goes on with shorter windows starts there: else it would read again what some
        readers have read, and skip what others have not.
        """
        within = position % self.epoch
        per_round = self.readers * tokens
        ahead = -(-within // per_round) * per_round
        return position - within + min(ahead, self.epoch)


@lru_cache(maxsize=8)
def _reader_starts(order: Order, seed: int, epoch: int, round_: int) -> NDArray[np.int64]:
    """Ring positions of the readers' starts in the order in which they take turns in this round.

    Raw PCG64 output and a stable sort: numpy guarantees neither `shuffle` nor `permutation` to stay
    the same between its versions, but the bit stream of a generator it does.
    """
    offset = int(np.random.PCG64([seed, epoch]).random_raw()) % order.ring
    turns = np.argsort(np.random.PCG64([seed, epoch, round_ + 1]).random_raw(order.readers), kind="stable")
    starts: NDArray[np.int64] = offset + turns * (order.ring // order.readers)
    return starts


class Corpus:
    """Prepared shards, memory-mapped."""

    def __init__(self, folder: Path, manifest: Manifest, max_validation_tokens: int) -> None:
        self.manifest = manifest
        self._folder = folder
        self._max_validation_tokens = max_validation_tokens
        self._train = [self._tokens(domain, "train") for domain in manifest.domains]
        self._first = np.cumsum([0, *map(len, self._train)])
        self.order = Order(int(self._first[-1]))

    @classmethod
    def open(cls, manifest: str | Path, max_validation_tokens: int) -> Corpus:
        """Open the shards beside `manifest`, checking their sizes (`manifest.verify` checks all bytes).

        Args:
            manifest: path of manifest.json.
            max_validation_tokens: held-out tokens per domain.

        Raises:
            DataError: the manifest or a shard is missing or not what it was.
        """
        path = Path(manifest)
        return cls(path.parent, read(path), max_validation_tokens)

    def window(
        self, seed: int, position: int, sequences: int, tokens: int, lookahead: int
    ) -> NDArray[np.int64]:
        """Token ids (sequences, tokens + lookahead) of one batch.

        The position then advances by sequences * tokens. Each row is text as it stands in the corpus,
        its last `lookahead` tokens being the true continuation (targets; they are read again as
        inputs of another window).

        Args:
            seed: chooses the order.
            position: tokens read before this batch, without lookahead.

        Raises:
            DataError: a window is longer than the whole training text.
        """
        length = tokens + lookahead
        if length > self.order.ring:
            raise DataError(
                f"a window of {length:,} tokens is longer than the training text of {self.order.ring:,}: "
                "bring more text or shorten sequence_length (or the bags)"
            )
        window_ST = np.empty((sequences, length), dtype=np.int64)
        for row_T, start in zip(window_ST, self._starts(seed, position, sequences, tokens), strict=True):
            self._read(row_T, start)
        return window_ST

    def documents_of(self, seed: int, position: int, sequences: int, tokens: int) -> list[list[Origin]]:
        """The documents, for each sequence of the batch at `position`, that its tokens come from."""
        origins = []
        for start in self._starts(seed, position, sequences, tokens):
            touched, end = [], start + tokens
            while start < end:
                shard, local = self._locate(start % self.order.ring)
                count = min(end - start, len(self._train[shard]) - local)
                touched += self._origins(shard, local, local + count)
                start += count
            origins.append(touched)
        return origins

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

    def _starts(self, seed: int, position: int, sequences: int, tokens: int) -> list[int]:
        starts: list[int] = self.order.starts(seed, position, sequences, tokens).tolist()
        return starts

    def _read(self, row: NDArray[np.int64], start: int) -> None:
        """Fill `row` from ring position `start` on, over the ends of shards."""
        shard, local = self._locate(start)
        part = self._train[shard][local : local + len(row)]
        row[: len(part)] = part
        if len(part) < len(row):
            self._read(row[len(part) :], (start + len(part)) % self.order.ring)

    def _locate(self, position: int) -> tuple[int, int]:
        """Shard number and token within it, of a ring position."""
        shard = int(self._first.searchsorted(position, side="right")) - 1
        return shard, position - int(self._first[shard])

    def _origins(self, shard: int, start: int, end: int) -> list[Origin]:
        domain = list(self.manifest.domains)[shard]
        documents = self._documents(domain, "train")
        first = int(np.searchsorted(documents["start"], start, side="right")) - 1
        last = int(np.searchsorted(documents["start"], end, side="left"))
        return [Origin(domain, i, self._place(*documents[["file", "row"]][i])) for i in range(first, last)]

    def _place(self, file: int, row: int) -> str:
        return f"{self._files[file]}:{row}" if row else self._files[file]

    @cached_property
    def _files(self) -> list[str]:
        return (self._folder / "files.txt").read_text(encoding="utf-8").splitlines()

    def _tokens(self, domain: str, split: Split) -> NDArray[np.unsignedinteger]:
        name = self.manifest.domains[domain][split].token_file.name
        # A plain array over the map: slicing np.memmap itself costs several times as much.
        return np.asarray(np.memmap(self._folder / name, dtype=self.manifest.dtype, mode="r"))

    def _documents(self, domain: str, split: Split) -> NDArray[np.void]:
        name = self.manifest.domains[domain][split].document_file.name
        documents: NDArray[np.void] = np.load(self._folder / name, mmap_mode="r")
        return documents
