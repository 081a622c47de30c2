"""A small corpus in two domains, prepared once."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from stepladder.data.prepare import prepare

WORDS = ("ladder", "rung", "depth", "width", "token", "naïve", "漢字", "loss", "🙂", "budget", "seed")


def write_jsonl(path: Path, texts: list[str]) -> Path:
    """One object per line under the key `text`."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def make_texts(seed: int, n: int, words: int = 60) -> list[str]:
    """`n` distinct texts of random words."""
    draw = random.Random(seed)
    return [f"{seed}-{i} " + " ".join(draw.choices(WORDS, k=draw.randint(1, words))) for i in range(n)]


@pytest.fixture(scope="session")
def texts() -> dict[str, list[str]]:
    """Domain to documents."""
    return {"web": make_texts(1, 150), "code": make_texts(2, 60)}


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, list[str]]) -> dict:
    """The texts as JSON Lines."""
    folder = tmp_path_factory.mktemp("source")
    paths = {domain: write_jsonl(folder / f"{domain}.jsonl", found) for domain, found in texts.items()}
    return {"kind": "jsonl", "domains": {domain: [str(path)] for domain, path in paths.items()}}


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory, source: dict) -> Path:
    """The manifest of the texts as bytes, a fifth held out."""
    return prepare(source, {"kind": "byte"}, 0.2, tmp_path_factory.mktemp("data"))
