"""Preparation that is killed at any moment, again and again, ends with the same bytes, and leaves nothing."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest

from stepladder.data import files
from stepladder.data.manifest import verify
from stepladder.data.prepare import prepare

BYTE, BPE = {"kind": "byte"}, {"kind": "bpe", "vocab_size": 300}


@pytest.mark.parametrize("tokenizer", [BYTE, BPE], ids=["byte", "bpe"])
def test_kills_at_random_moments(
    tmp_path: Path, source: dict, tokenizer: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 2000)
    whole = verify(prepare(source, tokenizer, 0.2, tmp_path / "whole"))
    began = time.monotonic()
    prepare(source, tokenizer, 0.2, tmp_path / "again")
    seconds = time.monotonic() - began
    draw, killed = random.Random(0), 0
    for _ in range(8):
        child = multiprocessing.get_context("fork").Process(
            target=prepare, args=(source, tokenizer, 0.2, tmp_path / "data")
        )
        child.start()
        child.join(draw.uniform(0, seconds))
        killed += child.exitcode is None
        child.kill()
        child.join()
    assert killed > 0
    assert verify(prepare(source, tokenizer, 0.2, tmp_path / "data")) == whole
    there = {path.name for path in (tmp_path / "data").iterdir()}
    assert there == {file.name for file in whole.files} | {"manifest.json"}
