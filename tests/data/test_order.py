"""The order of training windows on one ring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.order import Order

ORDER = Order(4096 * 6)
"""Six readers, 4096 tokens each."""


def covered(order: Order, seed: int, start: int, end: int, tokens: int) -> np.ndarray:
    """How often each ring position is read between two positions."""
    starts = order.starts(seed, start, (end - start) // tokens, tokens)
    return np.bincount(((starts[:, None] + np.arange(tokens)) % order.ring).ravel(), minlength=order.ring)


@pytest.mark.parametrize("tokens", [128, 512])
@pytest.mark.parametrize("epoch", [0, 1])
def test_an_epoch_reads_every_token_once(tokens: int, epoch: int) -> None:
    start = epoch * ORDER.epoch
    assert ORDER.epoch == ORDER.ring
    assert (covered(ORDER, 3, start, start + ORDER.epoch, tokens) == 1).all()


def test_epochs_and_seeds_differ() -> None:
    first = ORDER.starts(3, 0, 100, 64)
    assert not np.array_equal(first, ORDER.starts(3, ORDER.epoch, 100, 64))
    assert not np.array_equal(first, ORDER.starts(4, 0, 100, 64))


def test_the_order_of_a_seed_is_fixed_for_good() -> None:
    """Golden: a change here changes every result."""
    assert ORDER.starts(0, 0, 8, 128).tolist() == [8799, 12895, 4703, 21087, 16991, 607, 13023, 21215]


@given(st.integers(0, 2**40), st.integers(1, 40), st.sampled_from([1, 64, 100, 384]), st.integers(1, 2**36))
def test_batches_are_slices_of_one_long_order(first: int, sequences: int, tokens: int, ring: int) -> None:
    order = Order(ring)
    position = first * tokens
    whole = order.starts(7, position, sequences, tokens)
    single = [order.starts(7, position + i * tokens, 1, tokens)[0] for i in range(sequences)]
    assert whole.tolist() == single
    assert (whole >= 0).all() and (whole < ring).all()


def test_windows_of_two_lengths_read_the_same_text_up_to_a_round() -> None:
    end = ORDER.readers * 512 * 3
    assert np.array_equal(covered(ORDER, 0, 0, end, 512), covered(ORDER, 0, 0, end, 128))


@given(steps=st.integers(1, 60), bag=st.sampled_from([2, 3, 4, 8]))
def test_a_phase_that_starts_at_the_next_round_reads_nothing_twice(steps: int, bag: int) -> None:
    switch = steps * 2 * 64 * bag
    start = ORDER.next_round(switch, 64 * bag)
    assert switch <= start < switch + ORDER.readers * 64 * bag
    end = start - start % ORDER.epoch + ORDER.epoch
    if switch < ORDER.epoch and start < ORDER.epoch:
        read = covered(ORDER, 0, 0, switch, 64 * bag) + covered(ORDER, 0, start, end, 64)
        assert read.max() <= 1


def test_a_batch_comes_from_all_over_the_corpus() -> None:
    order = Order(10_000_000)
    starts = np.sort(order.starts(0, 0, order.readers, 128))
    assert order.readers == 512
    assert np.diff(starts).min() > 19_000


def test_rings_with_keys_of_their_own_are_read_in_orders_of_their_own() -> None:
    keyed = Order(ORDER.ring, key=(7,))
    assert not np.array_equal(ORDER.starts(3, 0, 100, 64), keyed.starts(3, 0, 100, 64))
