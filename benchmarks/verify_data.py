"""What it costs to check every byte of a corpus before a run: the first time on a machine, and after that.

    python benchmarks/verify_data.py [--gigabytes 2] [--shards 4]

Writes shards of random bytes into a temporary folder, with the manifest that data preparation would have
written, and checks them as a run does. `cold` is the first check, with an empty page cache (which takes root;
else it says so); `warm` reads again what the page cache holds, the memory of the check lost; `remembered` is
what every further run pays. Wall seconds, median of three.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from stepladder.data import verification
from stepladder.data.manifest import DOCUMENT, File, Manifest, Shard, describe_file, fingerprint, sealed
from stepladder.data.verification import CACHE, memory_of, verify_once

REPEATS = 3


def main() -> None:
    """Time the three kinds of check on `--gigabytes` of shards."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--shards", type=int, default=4, help="domains; each has a large and a small shard")
    arguments = parser.parse_args()
    verification.SETTLED_SECONDS = -1.0  # the files are as young as this benchmark
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE] = f"{folder}/cache"
        manifest = write_corpus(Path(folder), arguments.shards, int(arguments.gigabytes * 1e9))
        size = sum(file.size for file in Manifest.model_validate_json(manifest.read_bytes()).files)
        print(f"{size / 1e9:.2f} GB in {2 * arguments.shards} shards, {os.cpu_count()} cores")
        if not drop_page_cache():
            print("the page cache cannot be emptied here: cold is warm")
        show("cold", [check(manifest, forget=True, cold=True) for _ in range(REPEATS)], size)
        show("warm", [check(manifest, forget=True, cold=False) for _ in range(REPEATS)], size)
        show("remembered", [check(manifest, forget=False, cold=False) for _ in range(REPEATS)], None)


def write_corpus(folder: Path, domains: int, size: int) -> Path:
    """Shards of `size` random bytes in all, a twentieth held out; returns the manifest's path."""
    draw = np.random.default_rng(0)
    shards = {}
    for number in range(domains):
        name = f"domain{number}"
        shards[name] = {
            "train": write_shard(folder, f"{name}.train", size * 95 // 100 // domains, draw),
            "validation": write_shard(folder, f"{name}.validation", size * 5 // 100 // domains, draw),
        }
    np.save(folder / "token_bytes.npy", np.ones(256, dtype=np.uint16))
    token_bytes = describe_file(folder / "token_bytes.npy")
    manifest = Manifest(
        sha256=fingerprint(shards, token_bytes),
        description="random bytes",
        source={},
        tokenizer={},
        validation_fraction=0.05,
        vocab_size=256,
        end_of_document=255,
        dtype="uint8",
        duplicates=0,
        mix=dict.fromkeys(shards, 1 / domains),
        domains=shards,
        other_files=(token_bytes,),
    )
    path = folder / "manifest.json"
    path.write_text(sealed(manifest).model_dump_json())
    return path


def write_shard(folder: Path, name: str, size: int, draw: np.random.Generator) -> Shard:
    """One shard of a single document."""
    tokens, documents = folder / f"{name}.tokens", folder / f"{name}.documents.npy"
    with tokens.open("wb") as file:
        for start in range(0, size, 2**24):
            file.write(draw.bytes(min(2**24, size - start)))
    np.save(documents, np.zeros(1, dtype=DOCUMENT))
    about: File = describe_file(tokens)
    return Shard(
        tokens=size, bytes=size, documents=1, token_file=about, document_file=describe_file(documents)
    )


def check(manifest: Path, forget: bool, cold: bool) -> float:
    """Wall seconds of one check.

    Args:
        forget: remove what was remembered before.
        cold: drop the page cache before, if that is allowed.
    """
    record = memory_of(manifest)
    assert record is not None
    if forget:
        record.unlink(missing_ok=True)
    if cold:
        drop_page_cache()
    began = time.perf_counter()
    verify_once(manifest)
    return time.perf_counter() - began


def drop_page_cache() -> bool:
    """Have the kernel forget what it holds of files; whether that is allowed."""
    ctypes.CDLL(None).sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def show(name: str, seconds: list[float], size: int | None) -> None:
    """Print the median, and the rate where bytes are read."""
    median = statistics.median(seconds)
    rate = "" if size is None else f"  {size / median / 1e9:5.2f} GB/s"
    print(f"{name:11} {median:8.4f} s{rate}")


if __name__ == "__main__":
    main()
