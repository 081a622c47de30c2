"""From JSON Lines under Zstandard to token shards with a 32k byte-level BPE: how many MB of text a second?

    python benchmarks/prepare_speed.py [--megabytes 200] [--before COMMIT] [--datatrove PYTHON]
        [--out benchmarks/results/prepare_speed.json]

Ways, one after another on the same text, each in a process of its own on one core:
    ours: `stepladder data` as it is; on two cores, two such processes at once, each with half of the text.
    tokenizers: the same without fastokens, as where that does not know a tokenizer.
    before: the code of another commit (--before).
    datatrove: its reader and DocumentTokenizer, with the Python of an environment that has it (--datatrove).
    tiktoken: the encoder that nanochat uses, as it uses it, in the same environment.
    Neither of the two judges, de-duplicates, splits or checks that its tokens stand for the text.
Slow ways get less text (--slow-megabytes). Then the stages of ours, and of before, over the first chunk: CPU
time, the best of some rounds. Seconds are wall time, which on a machine with other work says
little: then look at MB per CPU second. MB are 10^6 bytes of UTF-8 text.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

VOCAB_SIZE = 32_000
END = "<|end_of_text|>"
LIBRARIES = ("fastokens", "tokenizers", "orjson", "zstandard", "pyarrow", "numpy")
ROUNDS = 5


def main() -> None:
    """Run every way, print and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, default=200, help="of text for each core")
    parser.add_argument("--slow-megabytes", type=float, default=20, help="of text for slow ways")
    parser.add_argument("--rounds", type=int, default=3, help="of ours, of which the fastest counts")
    parser.add_argument("--before", help="commit to compare with")
    parser.add_argument("--datatrove", help="a Python that has datatrove, tiktoken and zstandard")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--way", nargs=4, help=argparse.SUPPRESS)  # name, corpus, tokenizer, output
    options = parser.parse_args()
    if options.way:
        print(json.dumps(WAYS[options.way[0]](*options.way[1:])))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report = compare(Path(folder), options)
    print(json.dumps(report, indent=1))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def compare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Make the text, run all ways over it."""
    from synthetic_text import train_bpe, write_jsonl

    halves = [folder / "0.jsonl.zst", folder / "1.jsonl.zst"]
    slow, tokenizer = folder / "slow.jsonl.zst", folder / "tokenizer.json"
    for seed, path in enumerate(halves):
        write_jsonl(path, int(options.megabytes * 1e6), seed)
    write_jsonl(slow, int(options.slow_megabytes * 1e6), 2)
    train_bpe(tokenizer, VOCAB_SIZE)

    def run(way: str, corpus: Path, core: int = 0, **more: str) -> dict[str, Any]:
        return finish(start(way, corpus, tokenizer, folder, core, **more))

    alone, both = [], []
    for _ in range(options.rounds):  # in turn, so that other work on the machine meets both
        alone.append(run("ours", halves[0]))
        pair = [start("ours", half, tokenizer, folder, core) for core, half in enumerate(halves)]
        both.append(together([finish(one) for one in pair]))
    ways = {"ours": fastest(alone), "ours, two processes": fastest(both)}
    ways |= {"ours, slow text": run("ours", slow), "tokenizers": run("tokenizers", slow)}
    stages = {"ours": run("stages", slow)}
    if options.before:
        source = checked_out(options.before, folder)
        ways["before"] = run("ours", slow, source=source)
        stages["before"] = run("stages", slow, source=source)
    if options.datatrove:
        ways["datatrove"] = run("datatrove", slow, python=options.datatrove)
        ways["tiktoken"] = run("tiktoken", halves[0], python=options.datatrove)
    return {
        "command": "python benchmarks/prepare_speed.py " + " ".join(sys.argv[1:]),
        "hardware": {"cpu": cpu_name(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        "ways": ways,
        "two_cores_over_one": ways["ours, two processes"]["mb_per_second"] / ways["ours"]["mb_per_second"],
        "stages_ms_per_mb": stages,
    }


def start(
    way: str,
    corpus: Path,
    tokenizer: Path,
    folder: Path,
    core: int,
    source: str | None = None,
    python: str = sys.executable,
) -> subprocess.Popen[str]:
    """Begin a way in a process on one core.

    Args:
        source: folder of the package `stepladder`, if it is another commit's.
    """
    out = tempfile.mkdtemp(dir=folder)
    threads = {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    path = {"PYTHONPATH": source} if source else {}
    script = __file__ if way in WAYS else str(OTHERS)
    command = [python, script, "--way", way, str(corpus), str(tokenizer), out]
    return subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        env=os.environ | threads | path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a way found."""
    out, error = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args}: {error}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    print(found, file=sys.stderr)
    return found


def together(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of processes at the same time: all their text in the time of the slowest."""
    text, seconds = sum(one["text_mb"] for one in found), max(one["seconds"] for one in found)
    return {
        "text_mb": text,
        "seconds": seconds,
        "mb_per_second": text / seconds,
        "mb_per_cpu_second": text / sum(one["cpu_seconds"] for one in found),
        "peak_mib": max(one["peak_mib"] for one in found),
    }


def fastest(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The run with the least other work beside it."""
    return max(found, key=lambda one: one["mb_per_second"])


def checked_out(commit: str, folder: Path) -> str:
    """Folder of the sources of another commit."""
    archive = subprocess.run(["git", "archive", commit, "src"], check=True, stdout=subprocess.PIPE).stdout
    there = folder / "before"
    there.mkdir()
    subprocess.run(["tar", "-x", "-C", str(there)], input=archive, check=True)
    return str(there / "src")


def cpu_name() -> str:
    """The processor, as the system calls it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.split(": ")[1] for line in lines if line.startswith("model name"))


def measured(work: Callable[[], tuple[int, int]]) -> dict[str, Any]:
    """Time of work that returns bytes of text and tokens, end tokens included."""
    wall, cpu = time.perf_counter(), time.process_time()
    n_bytes, tokens = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "text_mb": n_bytes / 1e6,
        "tokens": tokens,
        "seconds": wall,
        "cpu_seconds": cpu,
        "mb_per_second": n_bytes / 1e6 / wall,
        "mb_per_cpu_second": n_bytes / 1e6 / cpu,
        "peak_mib": peak_mib(),
    }


def peak_mib() -> float:
    """Peak memory since this program began: `ru_maxrss` would begin with that of the process that forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def ours(corpus: str, tokenizer: str, out: str) -> dict[str, Any]:
    """All of `stepladder data`, into a folder that is empty before."""
    from stepladder.data.manifest import parse
    from stepladder.data.prepare import prepare

    source = {"kind": "jsonl", "domains": {"web": [corpus]}}

    def work() -> tuple[int, int]:
        manifest = parse(prepare(source, pretrained(tokenizer), 0.01, Path(out)))
        shards = manifest.domains["web"].values()
        return sum(shard.bytes for shard in shards), sum(shard.tokens for shard in shards)

    found = measured(work)
    found["sha256"] = parse(Path(out, "manifest.json")).sha256
    shutil.rmtree(out)
    return found


def without_fastokens(corpus: str, tokenizer: str, out: str) -> dict[str, Any]:
    """`ours`, where fastokens cannot be imported."""
    sys.modules["fastokens"] = None  # type: ignore[assignment]
    return ours(corpus, tokenizer, out)


def pretrained(path: str) -> dict[str, Any]:
    """The tokenizer as a ladder file names it."""
    return {"kind": "pretrained", "path": path, "vocab_size": VOCAB_SIZE, "end_of_document": END}


def stages(corpus: str, tokenizer: str, out: str) -> dict[str, Any]:
    """CPU milliseconds per MB of each stage over the first chunk, the best of some rounds."""
    from stepladder.data import cache, files, quality, shards
    from stepladder.data.tokenization import load_pretrained
    from stepladder.schema.data import JsonLines, PretrainedTokenizer

    source = JsonLines(kind="jsonl", domains={"web": (corpus,)})
    loaded = load_pretrained(PretrainedTokenizer(**pretrained(tokenizer)))
    chunk = next(iter(files.chunks(source)))
    texts = [document.text for document in chunk.read()]
    ids = loaded.encode(texts)
    entries = cache.Cache(Path(out, "cache"))
    read = cache.read_chunk(chunk)
    entry = entries.get("chunk", lambda: cache.tokenize(read, loaded, "uint16", chunk.files))
    piece = shards.Piece(entry, chunk.domains, 0)
    names = {"train": ("web",), "validation": ("web",)}
    kept = {"train": False, "validation": False}
    work: dict[str, Callable[[], object]] = {
        "decompress, cut, digest": lambda: next(iter(files.chunks(source))),
        "parse JSON": lambda: list(chunk.read()),
        "judge": lambda: list(map(quality.judge, texts)),
        "parse, judge, digest": lambda: cache.read_chunk(chunk),
        "encode": lambda: loaded.encode(texts),
        "check that ids stand for the text": lambda: loaded.first_changed(texts, ids),
        "write shards": lambda: shards.write_shards([piece], names, loaded, 0.01, Path(out), kept),
    }
    n_bytes = sum(map(len, texts))
    return {name: min(cpu_seconds(one) for _ in range(ROUNDS)) * 1e9 / n_bytes for name, one in work.items()}


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process for some work."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


WAYS = {"ours": ours, "tokenizers": without_fastokens, "stages": stages}
OTHERS = Path(__file__).with_name("prepare_by_others.py")
"""Ways of other libraries, which are run by a Python that has them."""

if __name__ == "__main__":
    main()
