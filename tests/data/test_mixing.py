"""Which domain each window is read from."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.mixing import Stretch, Windows, deal
from stepladder.data.order import Order

weights = st.lists(st.integers(0, 1000), min_size=1, max_size=12).filter(any)


def shares_of(parts: list[int]) -> tuple[float, ...]:
    return tuple(part / sum(parts) for part in parts)


def by_hand(parts: list[int], count: int) -> list[int]:
    """The ring of each of the first windows: in exact arithmetic, the one whose next window is due first."""
    given_, found = [0] * len(parts), []
    for _ in range(count):
        due = {
            ring: Fraction((2 * given_[ring] + 1) * sum(parts), 2 * part)
            for ring, part in enumerate(parts)
            if part
        }
        found.append(min(due, key=due.__getitem__))
        given_[found[-1]] += 1
    return found


def test_windows_are_dealt_as_evenly_as_the_shares_allow() -> None:
    assert deal((0.5, 0.25, 0.25), 0, 8).ring.tolist() == [0, 1, 2, 0, 0, 1, 2, 0]
    assert deal((0.75, 0.25), 0, 8).ring.tolist() == [0, 0, 1, 0, 0, 0, 1, 0]
    # Powers of two, so that no share is rounded.
    assert deal((0.5, 0.125, 0.375), 0, 64).ring.tolist() == by_hand([4, 1, 3], 64)


@given(weights, st.integers(0, 10**12), st.integers(0, 200))
def test_any_place_is_found_at_once(parts: list[int], first: int, count: int) -> None:
    """Batches are slices of one sequence, in which each ring's windows are counted through."""
    shares = shares_of(parts)
    whole = deal(shares, first, count + 1)
    assert sum(whole.given) == first
    later = deal(shares, first + count, 1)
    assert (later.ring[0], later.number[0]) == (whole.ring[-1], whole.number[-1])
    for ring, before in enumerate(whole.given):
        numbers = whole.number[whole.ring == ring]
        assert numbers.tolist() == list(range(before, before + len(numbers)))


@given(weights, st.integers(0, 10**9))
def test_proportions_hold_from_the_first_window_on(parts: list[int], count: int) -> None:
    shares = shares_of(parts)
    for share, given_ in zip(shares, deal(shares, count, 0).given, strict=True):
        assert abs(given_ - share * count) <= 1 + share * len(parts) / 2
        assert share or not given_


def test_after_ten_thousand_sequences_proportions_are_within_a_thousandth() -> None:
    rng = np.random.default_rng(0)
    for domains in (2, 3, 7, 25):
        shares = rng.dirichlet(np.ones(domains))
        given_ = np.array(deal(tuple(shares), 10_000, 0).given)
        assert np.abs(given_ / 10_000 - shares).max() < 0.0002


def read(stretch: Stretch, orders: list[Order], sequences: int, ring: int) -> list[int]:
    """Where the windows of one ring start, in order."""
    starts = Windows(stretch, 0, sequences).starts(orders, seed=3)
    return [start for number, start in starts if number == ring]


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_the_order_of_a_domain_does_not_depend_on_its_share(one: float, other: float) -> None:
    orders = [Order(90_000, key=(1,)), Order(50_000, key=(2,))]
    few, many = (read(Stretch(64, (w, 1 - w), (0, 0)), orders, 300, 0) for w in sorted((one, other)))
    assert few == many[: len(few)]


@pytest.mark.parametrize("bag", [2, 3, 6])
def test_long_windows_read_the_same_text_as_short_ones(bag: int) -> None:
    """Up to a round of the readers, in every domain."""
    orders, shares = [Order(4096 * 4, key=(1,)), Order(4096 * 2, key=(2,))], (0.7, 0.3)
    for ring, order in enumerate(orders):
        covered = []
        for tokens, windows in ((64, 120 * bag), (64 * bag, 120)):
            starts = read(Stretch(tokens, shares, (0, 0)), orders, windows, ring)
            at = (np.array(starts)[:, None] + np.arange(tokens)) % order.ring
            covered.append(np.bincount(at.ravel(), minlength=order.ring) > 0)
        differing = np.count_nonzero(covered[0] != covered[1])
        assert differing <= 2 * order.readers * 64 * bag


@given(steps=st.integers(1, 30), bag=st.sampled_from([1, 2, 4]), share=st.floats(0.1, 0.9))
def test_a_stretch_goes_on_where_the_one_before_ended(steps: int, bag: int, share: float) -> None:
    """What follows reads nothing again that was read, in any domain, as long as no epoch ends."""
    orders = [Order(4096 * 60, key=(1,)), Order(4096 * 60, key=(2,))]
    first = Windows(Stretch(64 * bag, (share, 1 - share), (0, 0)), 0, 4 * steps)
    after = Windows(first.then(64, (1 - share, share), orders), 0, 60)
    spans: dict[int, list[tuple[int, int]]] = {0: [], 1: []}
    for windows in (first, after):
        for ring, start in windows.starts(orders, seed=0):
            spans[ring].append((start, start + windows.stretch.tokens))
    for found in spans.values():
        ends = sorted(found)
        assert all(a[1] <= b[0] for a, b in pairwise(ends))
