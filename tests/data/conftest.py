"""A small corpus in two domains, prepared once."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import make_texts, write_jsonl

from stepladder.data.prepare import prepare


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
