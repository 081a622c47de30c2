"""The order of training windows, and held-out text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.data.batches import Corpus, Order
from stepladder.data.errors import DataError

ORDER = Order(4096 * 6)
"""Six readers, 4096 tokens each."""


@pytest.fixture(scope="module")
def corpus(manifest: Path) -> Corpus:
    return Corpus.open(manifest, max_validation_tokens=500)


@pytest.fixture(scope="module")
def ring(manifest: Path) -> np.ndarray:
    """All training tokens, domain after domain."""
    shards = [manifest.parent / f"{domain}.train.tokens" for domain in ("web", "code")]
    return np.concatenate([np.fromfile(shard, dtype=np.uint8) for shard in shards])


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


def test_window_is_the_text_as_it_stands_with_its_continuation(corpus: Corpus, ring: np.ndarray) -> None:
    for position in (0, 5 * 64, corpus.order.epoch - 64 * 3):
        window = corpus.window(1, position, 8, 64, 4)
        assert window.dtype == np.int64
        starts = corpus.order.starts(1, position, 8, 64)
        expected = np.take(ring, starts[:, None] + np.arange(68), mode="wrap")
        assert np.array_equal(window, expected)


def test_batches_are_the_same_in_another_process(corpus: Corpus, manifest: Path) -> None:
    code = (
        "import sys, json; from stepladder.data.batches import Corpus;"
        "print(json.dumps(Corpus.open(sys.argv[1], 9).window(5, 12345, 4, 32, 1).tolist()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(manifest)], capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == corpus.window(5, 12345, 4, 32, 1).tolist()


def test_a_window_longer_than_the_corpus_is_refused(corpus: Corpus) -> None:
    with pytest.raises(DataError, match="longer than the training text"):
        corpus.window(0, 0, 1, corpus.order.ring, 1)


def test_documents_of_a_batch_hold_its_text(
    corpus: Corpus, texts: dict[str, list[str]], source: dict
) -> None:
    end = corpus.manifest.end_of_document
    for position in range(0, corpus.order.epoch, 97 * 8):
        window = corpus.window(2, position, 8, 97, 0)
        for tokens, origins in zip(window, corpus.documents_of(2, position, 8, 97), strict=True):
            assert len(origins) == len(tokens.astype(np.uint8).tobytes().rstrip(b"\xff").split(b"\xff"))
            whole = b""
            for origin in origins:
                path, _, line = origin.place.rpartition(":")
                assert path in source["domains"][origin.domain]
                whole += texts[origin.domain][int(line) - 1].encode() + bytes([end])
            assert tokens.astype(np.uint8).tobytes() in whole


def test_validation_is_a_fixed_prefix_with_its_exact_bytes(corpus: Corpus, manifest: Path) -> None:
    flat = (manifest.parent / "web.validation.tokens").read_bytes()
    held_out = corpus.validation("web")
    assert held_out.tokens.astype(np.uint8).tobytes() == flat[:500]
    assert held_out.bytes == 500 - flat[:500].count(b"\xff")
    assert held_out.documents == len(flat[:500].rstrip(b"\xff").split(b"\xff"))
    everything = Corpus.open(manifest, 10**9).validation("web")
    assert (len(everything.tokens), everything.documents) == (len(flat), flat.count(b"\xff"))
