"""Which ring each window is read from, where domains are mixed in other proportions than their sizes'.

Windows are dealt to the rings as evenly as their shares allow, by stride scheduling (Waldspurger and Weihl
1995): window j of a ring of share w is due at (2j + 1) / 2w, and windows are read in the order in which they
are due. So any stretch of windows has the asked-for proportions to within a window or two, each batch among
them; which ring the n-th window is from, and how many that ring gave before, is found in constant time; and
which windows a ring gives, and in which order, depends on nothing but how many it has given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.order import Order


class Turns(NamedTuple):
    """Where successive windows come from."""

    ring: NDArray[np.int64]
    """Number of the ring, per window."""
    number: NDArray[np.int64]
    """How many windows that ring gave before, per window."""
    given: tuple[int, ...]
    """How many each ring gave before the first of these windows."""


def deal(shares: Sequence[float], first: int, count: int) -> Turns:
    """The windows from number `first` on.

    Args:
        shares: of the rings, not negative, of sum 1.
        first: windows that were dealt before.
    """
    if len(shares) == 1:
        return Turns(np.zeros(count, np.int64), np.arange(first, first + count), (first,))
    # By time t a ring was due w t windows to within one half, so all of them t to within one half per ring.
    slack = len(shares) / 2 + 1
    begin, end = max(0.0, first - slack), first + count + slack
    given = [_due_before(share, begin) for share in shares]
    numbers = [np.arange(n, _due_before(w, end)) for n, w in zip(given, shares, strict=True)]
    due = np.concatenate([_due(w, n) for w, n in zip(shares, numbers, strict=True)])
    ring = np.repeat(np.arange(len(shares)), [len(n) for n in numbers])
    order = np.argsort(due, kind="stable")  # at the same time the first ring comes first
    skipped, chosen = np.split(order[: first - sum(given) + count], [first - sum(given)])
    before = np.bincount(ring[skipped], minlength=len(shares)) + given
    return Turns(ring[chosen], np.concatenate(numbers)[chosen], tuple(before.tolist()))


def _due_before(share: float, time: float) -> int:
    """Windows of a ring that are due before `time`: exactly those, whatever the rounding of `_due`."""
    count = max(0, round(share * time))
    while count and _due(share, count - 1) >= time:
        count -= 1
    while _due(share, count) < time:
        count += 1
    return count


def _due(share: float, number: Any) -> Any:
    """When windows of a ring are due; those of a ring of no share, never."""
    return (2 * number + 1) / (2 * share) if share else np.full_like(number, np.inf, dtype=float)


class Stretch(NamedTuple):
    """Windows of one length that are mixed in one proportion."""

    tokens: int
    """Length of a window, without the targets behind it."""
    shares: tuple[float, ...]
    """Of each ring in the windows."""
    depths: tuple[int, ...]
    """Where each ring is read on: tokens read from it before."""


class Windows(NamedTuple):
    """Successive windows of a stretch."""

    stretch: Stretch
    first: int
    """Windows of the stretch that were read before."""
    sequences: int

    def then(self, tokens: int, shares: tuple[float, ...], orders: Sequence[Order]) -> Stretch:
        """The stretch that begins after these windows.

        Where the length of windows changes, each ring is read on from the next round of its readers.
        """
        now = self.stretch
        given = deal(now.shares, self.first + self.sequences, 0).given
        depths = [depth + n * now.tokens for depth, n in zip(now.depths, given, strict=True)]
        if tokens != now.tokens:
            depths = [o.next_round(d, now.tokens) if d else 0 for o, d in zip(orders, depths, strict=True)]
        return Stretch(tokens, shares, tuple(depths))

    def part(self, rows: range) -> Windows:
        """Some of them."""
        return self._replace(first=self.first + rows.start, sequences=len(rows))

    def starts(self, orders: Sequence[Order], seed: int) -> list[tuple[int, int]]:
        """Ring, and position in it, at which each window starts."""
        turns = deal(self.stretch.shares, self.first, self.sequences)
        start = np.empty(self.sequences, np.int64)
        for number, order in enumerate(orders):
            mine = turns.ring == number
            position = self.stretch.depths[number] + turns.given[number] * self.stretch.tokens
            if mine.any():
                start[mine] = order.starts(seed, position, int(mine.sum()), self.stretch.tokens)
        return list(zip(turns.ring.tolist(), start.tolist(), strict=True))
