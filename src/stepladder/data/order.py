"""The order of training windows: reading is a pure function of (seed, tokens read).

All tokens of a corpus, or of one domain of it, form a ring. `readers` stand at equal distances on it. In a
round each reads its next window, one after the other in random order; then comes the next round, until every
reader has reached the start of the one ahead: an epoch. The next epoch starts from another random place. What
was read up to a position is therefore nearly the same text for every window length (the same depth from every
reader's start), so a recipe that reads long windows and its baseline see the same text in the same order;
each batch holds windows from all over the ring; and any position is found in constant time, without shuffling
or copying, on a corpus of any size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_READERS = 512
"""Enough that windows of one long document come far apart (64 steps at 8 sequences per step)."""
MIN_TOKENS_PER_READER = 4096
"""Small corpora get fewer readers, so that each still has some windows to read."""


class Order(NamedTuple):
    """Where in a ring of `ring` tokens each window of an epoch starts."""

    ring: int
    key: tuple[int, ...] = ()
    """Sets the order of one ring apart from that of others which are read with the same seed."""

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
    offset = int(np.random.PCG64([seed, *order.key, epoch]).random_raw()) % order.ring
    draws = np.random.PCG64([seed, *order.key, epoch, round_ + 1]).random_raw(order.readers)
    turns = np.argsort(draws, kind="stable")
    starts: NDArray[np.int64] = offset + turns * (order.ring // order.readers)
    return starts
