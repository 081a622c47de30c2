"""A large source is prepared by a job per part: bad files, files that are added, files that have gone."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from stepladder.data.manifest import Manifest, verify
from stepladder.data.tokenization import train_bpe
from stepladder.schema.data import BPETokenizer

REPOSITORY = Path(__file__).parents[2]
MANIFEST = "results/tiny/data/manifest.json"
LADDER = """\
name: tiny
question: "Are parts jobs?"
rungs: [{depth: 1}]
architectures: {dense: {}}
recipes: {baseline: {}, tst: {bag_size: 2, superposed_fraction: 0.5}}
budgets: [{steps: 2}]
shape: {sequence_length: 16, d_model: {per_layer: 8}, d_head: 8}
optimizer:
  learning_rate: {default: {rule: constant, value: 1e-2}}
  batch: {rule: constant, sequences: 2}
data:
  source: {kind: jsonl, domains: {web: ["web/*.jsonl"], code: ["code/*.jsonl"]}}
  tokenizer: {kind: byte}
  validation_fraction: 0.3
  near_duplicates: {threshold: 0.7}
  part_bytes: 1
  domain_weights: {web: 0.5, code: 0.5}
execution: {compile: never}
plan: {flops_per_second: 1e10, max_accelerator_hours: 1}
analysis: {baseline: dense-baseline}
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    for name in ("Snakefile", "workflow", "configs", "profiles"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "tiny.yaml").write_text(LADDER)
    for number in range(2):
        for domain in ("web", "code"):
            write(folder / f"{domain}/{number}.jsonl", seed=f"{domain}{number}")
    return folder


def write(path: Path, seed: str) -> None:
    """Documents of 30 words, each once more with one word less."""
    draw = random.Random(seed)
    texts = [" ".join(f"{seed}{draw.randrange(10**6)}" for _ in range(30)) for _ in range(12)]
    texts += [text.rsplit(" ", 1)[0] for text in texts]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def save_tokenizer(path: Path, seed: int = 0) -> dict[str, object]:
    """Write a tokenizer.json, another one for each seed; returns its settings."""
    draw = random.Random(seed)
    texts = ["".join(draw.choices("0123456789abcdef ", k=2000)).encode()]
    train_bpe(BPETokenizer(kind="bpe", vocab_size=300), texts).save(path)
    inner = Tokenizer.from_file(str(path))
    inner.add_special_tokens(["<|end_of_text|>"])
    inner.save(str(path))
    return {"kind": "pretrained", "path": path.name, "vocab_size": 400}


def snakemake(folder: Path, *arguments: str, ladder: str = "tiny") -> subprocess.CompletedProcess[str]:
    manifest = MANIFEST.replace("tiny", ladder)
    words = [sys.executable, "-m", "snakemake", manifest, *arguments, "--config", f"ladder={ladder}.yaml"]
    return subprocess.run(
        words, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )


def stamps(folder: Path) -> dict[str, int]:
    """Records of parts, by name, and when they were written."""
    return {
        path.name: path.stat().st_mtime_ns for path in (folder / "results/tiny/data/parts").glob("*.json")
    }


def planned(folder: Path, ladder: str) -> list[str]:
    """Rules of the jobs that would run, sorted."""
    shown = snakemake(folder, "--dry-run", "--quiet", "progress", ladder=ladder)
    assert shown.returncode == 0, shown.stdout[-3000:]
    return sorted(re.findall(r"^(?:local)?rule (\w+):", shown.stdout, re.MULTILINE))


def touch(path: Path) -> None:
    """Another time, the same content."""
    os.utime(path, ns=(time.time_ns(), time.time_ns()))


def alone(folder: Path) -> Manifest:
    """The same by one process."""
    text = (
        "import sys; from pathlib import Path; from stepladder.ladder.climb import Climb;"
        "from stepladder.data.request import Request; from stepladder.data.prepare import prepare_shards;"
        "prepare_shards(Request.of_json(Climb.open('tiny.yaml').corpora[None]), Path('alone'), print)"
    )
    subprocess.run([sys.executable, "-c", text], cwd=folder, check=True, capture_output=True)
    return verify(folder / "alone/manifest.json")


def test_a_job_per_part(clone: Path) -> None:
    whole = (clone / "web/1.jsonl").read_text()
    (clone / "web/1.jsonl").write_text(whole + "{oops\n")
    failed = snakemake(clone, "--jobs", "2")
    assert failed.returncode and "web/1.jsonl:25: not valid JSON" in failed.stdout
    there = stamps(clone)
    assert len(there) == 3, "the others went on"

    (clone / "web/1.jsonl").write_text(whole)
    done = snakemake(clone, "--jobs", "2")
    assert done.returncode == 0, done.stdout[-3000:]
    after = stamps(clone)
    assert {name: after[name] for name in there} == there, "none of them was read again"
    made = verify(clone / MANIFEST)
    assert made == alone(clone)
    assert made.near_duplicates and min(made.near_duplicates.values()) > 10

    assert "Nothing to be done" in snakemake(clone, "--dry-run").stdout
    write(clone / "code/15.jsonl", seed="15")
    planned = snakemake(clone, "--dry-run", "--quiet", "progress").stdout
    assert planned.count("rule read:") == 1, "the file that was added"
    (clone / "code/15.jsonl").unlink()


@pytest.mark.parametrize("ladder", ["small", "cut"])
def test_files_that_change_are_noticed(clone: Path, ladder: str) -> None:
    """Of a source that is too small for parts, and of one in parts; the tokenizer of both."""
    settings = save_tokenizer(clone / "tokenizer.json")
    text = LADDER.replace("name: tiny", f"name: {ladder}").replace("{kind: byte}", json.dumps(settings))
    small = text.replace("part_bytes: 1", "part_bytes: 1000000")
    (clone / f"{ladder}.yaml").write_text(small if ladder == "small" else text)
    done = snakemake(clone, "--jobs", "2", ladder=ladder)
    assert done.returncode == 0, done.stdout[-3000:]
    read = [] if ladder == "small" else ["read"]

    write(clone / "web/9.jsonl", seed="9")
    touch(clone / "code/0.jsonl")
    assert planned(clone, ladder) == ["data", *read * 2], "a file that was added, and one that was written to"
    (clone / "web/9.jsonl").unlink()

    save_tokenizer(clone / "tokenizer.json", seed=1)
    assert planned(clone, ladder) == ["data", *read * 4], "another tokenizer at the same path"
    before = verify(clone / MANIFEST.replace("tiny", ladder))
    done = snakemake(clone, "--jobs", "2", ladder=ladder)
    assert done.returncode == 0, done.stdout[-3000:]
    assert verify(clone / MANIFEST.replace("tiny", ladder)).sha256 != before.sha256
    (clone / "tokenizer.json").unlink()
    assert planned(clone, ladder) == [], "what has gone has not changed"


def test_shards_stay_what_they_are_where_their_source_has_gone(clone: Path) -> None:
    shutil.rmtree(clone / "web")
    assert [planned(clone, ladder) for ladder in ("tiny", "small", "cut")] == [[], [], []]
