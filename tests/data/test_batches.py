"""Batches of a corpus, and held-out text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stepladder.data.batches import Corpus
from stepladder.data.errors import DataError
from stepladder.data.mixing import Stretch, Windows


@pytest.fixture(scope="module")
def corpus(manifest: Path) -> Corpus:
    return Corpus.open(manifest, max_validation_tokens=500)


@pytest.fixture(scope="module")
def mixed(manifest: Path) -> Corpus:
    return Corpus.open(manifest, max_validation_tokens=500, mixed=("web", "code"))


@pytest.fixture(scope="module")
def shards(manifest: Path) -> dict[str, np.ndarray]:
    """Domain to training tokens."""
    return {
        domain: np.fromfile(manifest.parent / f"{domain}.train.tokens", dtype=np.uint8)
        for domain in ("web", "code")
    }


def at(position: int, sequences: int, tokens: int) -> Windows:
    """Windows of a single ring from a position on."""
    return Windows(Stretch(tokens, (1.0,), (position,)), 0, sequences)


def test_window_is_the_text_as_it_stands_with_its_continuation(
    corpus: Corpus, shards: dict[str, np.ndarray]
) -> None:
    ring = np.concatenate(list(shards.values()))
    (order,) = corpus.orders
    for position in (0, 5 * 64, order.epoch - 64 * 3):
        window = corpus.window(1, at(position, 8, 64), 4)
        assert window.dtype == np.int64
        expected = np.take(ring, order.starts(1, position, 8, 64)[:, None] + np.arange(68), mode="wrap")
        assert np.array_equal(window, expected)


def test_batches_are_the_same_in_another_process(mixed: Corpus, manifest: Path) -> None:
    code = (
        "import sys, json; from stepladder.data.batches import Corpus;"
        "from stepladder.data.mixing import Stretch, Windows;"
        "windows = Windows(Stretch(32, (0.3, 0.7), (0, 640)), 77, 9);"
        "corpus = Corpus.open(sys.argv[1], 9, ('web', 'code'));"
        "print(json.dumps(corpus.window(5, windows, 1).tolist()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(manifest)], capture_output=True, text=True, check=True
    )
    windows = Windows(Stretch(32, (0.3, 0.7), (0, 640)), 77, 9)
    assert json.loads(result.stdout) == mixed.window(5, windows, 1).tolist()


def test_a_window_longer_than_the_corpus_is_refused(corpus: Corpus, mixed: Corpus) -> None:
    with pytest.raises(DataError, match="longer than the training text"):
        corpus.window(0, at(0, 1, corpus.orders[0].ring), 1)
    tokens = min(order.ring for order in mixed.orders)
    with pytest.raises(DataError, match=r"longer than the training text of [\d,]+ \(code\)"):
        mixed.window(0, Windows(Stretch(tokens, (0.5, 0.5), (0, 0)), 0, 1), 1)
    mixed.window(0, Windows(Stretch(tokens, (1.0, 0.0), (0, 0)), 0, 1), 1)


def test_a_mixed_batch_is_text_of_the_domains_whose_turn_it_is(
    mixed: Corpus, shards: dict[str, np.ndarray]
) -> None:
    """Half of each domain is read through, each part once, whatever the other one's share."""
    texts = [bytes(shard) + bytes(shard) for shard in shards.values()]
    for shares in ((0.5, 0.5), (0.9, 0.1)):
        windows = Windows(Stretch(64, shares, (0, 0)), 0, 40)
        found = mixed.window(2, windows, 3).astype(np.uint8)
        rings = [ring for ring, _ in windows.starts(mixed.orders, 2)]
        assert [rings.count(ring) for ring in (0, 1)] == [round(40 * share) for share in shares]
        assert all(row.tobytes() in texts[ring] for row, ring in zip(found, rings, strict=True))


def test_documents_of_a_batch_hold_its_text(
    corpus: Corpus, mixed: Corpus, texts: dict[str, list[str]], source: dict
) -> None:
    tokens, end = 97, corpus.manifest.end_of_document
    todo = [
        (corpus, at(position, 8, tokens)) for position in range(0, corpus.orders[0].epoch, tokens * 8)
    ] + [(mixed, Windows(Stretch(tokens, (0.4, 0.6), (0, 0)), first, 8)) for first in range(0, 80, 8)]
    for opened, windows in todo:
        window = opened.window(2, windows, 0)
        for row, origins in zip(window, opened.documents_of(2, windows), strict=True):
            assert len(origins) == len(row.astype(np.uint8).tobytes().rstrip(b"\xff").split(b"\xff"))
            whole = b""
            for origin in origins:
                path, _, line = origin.place.rpartition(":")
                assert path in source["domains"][origin.domain]
                whole += texts[origin.domain][int(line) - 1].encode() + bytes([end])
            assert row.astype(np.uint8).tobytes() in whole


def test_validation_is_a_fixed_prefix_with_its_exact_bytes(corpus: Corpus, manifest: Path) -> None:
    flat = (manifest.parent / "web.validation.tokens").read_bytes()
    held_out = corpus.validation("web")
    assert held_out.tokens.astype(np.uint8).tobytes() == flat[:500]
    assert held_out.bytes == 500 - flat[:500].count(b"\xff")
    assert held_out.documents == len(flat[:500].rstrip(b"\xff").split(b"\xff"))
    everything = Corpus.open(manifest, 10**9).validation("web")
    assert (len(everything.tokens), everything.documents) == (len(flat), flat.count(b"\xff"))
