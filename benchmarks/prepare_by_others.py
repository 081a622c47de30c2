"""How others get from JSON Lines to tokens in a file. `prepare_speed.py` runs this with a Python that has
datatrove, tiktoken, orjson and zstandard.

    python benchmarks/prepare_by_others.py --way datatrove|tiktoken CORPUS TOKENIZER.JSON OUT
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import zstandard

END = "<|end_of_text|>"
BATCH = 128
"""Documents that nanochat gives to its tokenizer at once."""


def datatrove(corpus: str, tokenizer: str, out: str) -> Path:
    """Its reader and tokenizer, one task; shuffling and metadata off. Returns the file of tokens."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    reader = JsonlReader(str(Path(corpus).parent), glob_pattern=Path(corpus).name, compression="zstd")
    writer = DocumentTokenizer(
        f"{out}/tokens", tokenizer, eos_token=END, shuffle_documents=False, save_final_metadata=False
    )
    LocalPipelineExecutor([reader, writer], tasks=1, workers=1, logging_dir=f"{out}/logs").run()
    return next(Path(out, "tokens").glob("*.ds"))


def tiktoken(corpus: str, tokenizer: str, out: str) -> Path:
    """nanochat's encoder on one thread, batches of documents. Returns the file of tokens."""
    import tiktoken

    told = json.loads(Path(tokenizer).read_text(encoding="utf-8"))
    letters = bytes_of_letters()
    ranks = {
        bytes(letters[letter] for letter in token): number
        for token, number in told["model"]["vocab"].items()
        if not token.startswith("<|")
    }
    pattern = told["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    encoding = tiktoken.Encoding("bpe", pat_str=pattern, mergeable_ranks=ranks, special_tokens={END: 1})
    tokens, found = Path(out, "tokens.bin"), texts(corpus)
    with tokens.open("wb") as file:
        while batch := list(islice(found, BATCH)):
            for ids in encoding.encode_ordinary_batch(batch, num_threads=1):
                ids.append(1)
                file.write(np.array(ids, np.uint16).tobytes())
    return tokens


def bytes_of_letters() -> dict[str, int]:
    """GPT-2's alphabet of bytes."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


def texts(corpus: str) -> Iterator[str]:
    """All documents."""
    with open(corpus, "rb") as file:
        for line in io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file), 2**20):
            yield orjson.loads(line)["text"]


def peak_mib() -> float:
    """Peak memory since this program began."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    """Time a way, and print what was found as JSON."""
    way, corpus, tokenizer, out = sys.argv[2:]
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = {"datatrove": datatrove, "tiktoken": tiktoken}[way](corpus, tokenizer, out)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    n_bytes = sum(len(text.encode()) for text in texts(corpus))
    found: dict[str, Any] = {
        "text_mb": n_bytes / 1e6,
        "tokens": tokens.stat().st_size // 2,
        "seconds": wall,
        "cpu_seconds": cpu,
        "mb_per_second": n_bytes / 1e6 / wall,
        "mb_per_cpu_second": n_bytes / 1e6 / cpu,
        "peak_mib": peak_mib(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
