"""Text of any amount, and a tokenizer for it, from the standard library of the Python that runs this.

A document is a few lines from here, a few from there, words in other scripts between them: as long, as
compressible and as rich in tokens as text from the web is, and none like another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from stepladder.data import stdlib

MEDIAN_BYTES, SPREAD = 2400, 1.0
"""Of the lengths of documents, log-normal: their mean is 4 kB."""

SCRIPTS = "αω", "ая", "一龥", "ぁゖ", "가힣", "😀🙏", "àÿ"
"""First and last letter of some alphabets."""

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
END = "<|end_of_text|>"


@cache
def library_texts() -> tuple[str, ...]:
    """The documents of the embedded corpus."""
    return tuple(document.text.decode() for chunk in stdlib.chunks() for document in chunk.read())


def documents(n_bytes: int, seed: int) -> Iterator[str]:
    """About `n_bytes` of text in all."""
    lines = [line for text in library_texts() for line in text.split("\n")]
    draw = np.random.default_rng(seed)
    while n_bytes > 0:
        wanted, parts = draw.lognormal(np.log(MEDIAN_BYTES), SPREAD), []
        while wanted > 0:
            first = int(draw.integers(len(lines)))
            parts.append("\n".join(lines[first : first + int(draw.integers(1, 9))]))
            if draw.random() < 0.05:
                parts.append(_word(draw))
            wanted -= len(parts[-1])
        text = "\n".join(parts)
        n_bytes -= len(text.encode())
        yield text


def _word(draw: np.random.Generator) -> str:
    first, last = map(ord, SCRIPTS[draw.integers(len(SCRIPTS))])
    return "".join(map(chr, draw.integers(first, last + 1, draw.integers(2, 9))))


def write_jsonl(path: Path, n_bytes: int, seed: int) -> None:
    """Documents as JSON Lines under Zstandard, every other one with its letters escaped."""
    with pa.output_stream(str(path), compression="zstd") as stream:
        for number, text in enumerate(documents(n_bytes, seed)):
            record = {"id": number, "url": f"https://example.org/{seed}/{number}", "text": text}
            stream.write((json.dumps(record, ensure_ascii=number % 2 == 0) + "\n").encode())


def train_bpe(path: Path, vocab_size: int) -> None:
    """Write the tokenizer.json of a byte-level BPE with Llama 3's splits, trained on the embedded corpus."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(Regex(LLAMA_3), "isolated")
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, letters])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<|begin_of_text|>", END],
        show_progress=False,
    )
    tokenizer.train_from_iterator(library_texts(), trainer)
    tokenizer.save(str(path))
