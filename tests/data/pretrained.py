"""A small tokenizer as published with a model, and documents in its tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from documents import make_texts
from tokenizers import Tokenizer

from stepladder.data.tokenization import train_bpe
from stepladder.schema.data import BPETokenizer

END = "<|end_of_text|>"
BEGIN = "<|begin_of_text|>"


def save_tokenizer(path: Path, seed: int = 0, vocab_size: int = 400) -> dict:
    """Write a tokenizer.json with END and BEGIN as its last two ids; returns its settings."""
    texts = [text.encode() for text in make_texts(seed, 60)]
    train_bpe(BPETokenizer(kind="bpe", vocab_size=vocab_size - 1), texts).save(path)
    inner = Tokenizer.from_file(str(path))
    inner.add_special_tokens([END, BEGIN])
    inner.save(str(path))
    return {"kind": "pretrained", "path": str(path), "vocab_size": 2 * vocab_size}


def encode(settings: dict, texts: list[str], begin: bool = False) -> list[np.ndarray]:
    """Ids of each text and END, as int64; with BEGIN before each."""
    inner = Tokenizer.from_file(settings["path"])
    ends, begins = [inner.token_to_id(END)], [inner.token_to_id(BEGIN)] if begin else []
    return [np.array([*begins, *inner.encode(text, add_special_tokens=False).ids, *ends]) for text in texts]
