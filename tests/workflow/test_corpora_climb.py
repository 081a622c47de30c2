"""Corpora as an axis in the real workflow: prepared in parts, once, scored on the same text, reported."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from climbing import REPOSITORY, Climbed

from stepladder.data.manifest import verify

LADDER = """
name: corpora
version: 1
question: "Which text?"
rungs: [{depth: 1, seeds: [0, 1]}, {depth: 2}, {depth: 3}]
architectures: {dense: {}}
recipes: {baseline: {}}
corpora:
  natural: {}
  mixed: {mixture: [{until: decay, web: 1, code: 3}, {code: 1}]}
  bytes: {tokenizer: {kind: byte}}
  other: {source: {kind: jsonl, domains: {law: ["text/law/*.jsonl"]}}}
budgets: [0.05]
shape: {sequence_length: 32, d_model: {per_layer: 8}, d_head: 8}
optimizer:
  learning_rate: {default: {rule: constant, value: 0.02}}
  batch: {rule: constant, sequences: 8}
data:
  source: {kind: jsonl, domains: {web: ["text/web/*.jsonl"], code: ["text/code/*.jsonl"]}}
  tokenizer: {kind: bpe, vocab_size: 300}
  part_bytes: 1000
  validation_fraction: 0.1
  max_validation_tokens: 500000
  domain_weights: {web: 0.5, code: 0.5}
execution: {parallel_runs: 2}
plan: {flops_per_second: 1.0e10, max_accelerator_hours: 0.2}
analysis:
  metric: bits_per_byte
  baseline: dense-baseline-natural
  bootstrap_draws: 200
  leave_one_out: false
  holdout_rungs: 0
"""


def write(path: Path, seed: int) -> None:
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 8))) for _ in range(300)]
    texts = [" ".join(draw.choices(words, k=60)) for _ in range(80)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def snakemake(folder: Path, *arguments: str, fails: bool = False, options: Sequence[str] = ()) -> str:
    command = [sys.executable, *options, "-m", "snakemake", *arguments, "--config", "ladder=corpora"]
    done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (done.returncode != 0) == fails, done.stdout[-5000:]
    return done.stdout


def test_corpora_climb(tmp_path: Path) -> None:
    for name in ("Snakefile", "workflow", "configs", "profiles"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / "configs/ladders/corpora.yaml").write_text(LADDER)
    for number, domain in enumerate(("web", "web", "code", "law")):
        write(tmp_path / f"text/{domain}/{number}.jsonl", seed=number)
    results = tmp_path / "results/corpora"
    bad = tmp_path / "text/web/9.jsonl"
    bad.write_text("{oops\n")

    said = snakemake(tmp_path, "--keep-going", fails=True)
    assert "text/web/9.jsonl:1: not valid JSON" in said
    assert len(list(results.glob("*/parts/both-code-*.json"))) == 1, "the others go on"
    assert len(list(results.glob("corpora/other/parts/train-law-*.json"))) == 1
    assert not list(results.glob("**/manifest.json"))
    bad.unlink()
    snakemake(tmp_path)

    other = verify(results / "corpora/other/manifest.json")
    base = verify(results / "data/manifest.json")
    assert not (results / "corpora/mixed").exists(), "the same shards in another mixture"
    spelled = verify(results / "corpora/bytes/manifest.json")
    assert (base.vocab_size, spelled.vocab_size) == (300, 256)
    for domain in ("web", "code"):
        held_out = [m.domains[domain]["validation"] for m in (base, other, spelled)]
        assert held_out[0].documents == held_out[1].documents == held_out[2].documents > 0
        assert held_out[2].tokens > held_out[0].tokens == held_out[1].tokens
    runs = pd.read_parquet(results / "runs.parquet")
    assert set(runs["corpus"]) == {"natural", "mixed", "bytes", "other"}
    assert runs["validation_web_bytes"].nunique() == 1 < runs["validation_web_tokens"].nunique()
    assert runs.groupby("corpus")["lineage_data_sha256"].nunique().eq(1).all()
    comparison = json.loads((results / "comparison.json").read_text())
    assert comparison["metric"] == "bits_per_byte"
    pairs = {(pair["candidate"], pair["reference"]) for pair in comparison["comparisons"]}
    reference = "dense-baseline-natural"
    assert pairs == {(f"dense-baseline-{name}", reference) for name in ("mixed", "bytes", "other")}
    climbed = Climbed(tmp_path)
    assert "web" in climbed.stepladder("plan", "corpora") and (results / "report.pdf").exists()
    climbed.stepladder("lineage", "results/corpora/report.pdf")
    states = json.loads(climbed.stepladder("status", "corpora", "--json"))["runs"]
    assert {run["state"] for run in states} == {"done"}
    assert "Nothing to be done" in snakemake(tmp_path)

    job = ["--target-jobs", f"train:run={reference}/d1/0.05x/seed0", "--allowed-rules", "train"]
    loaded = snakemake(tmp_path, "--dry-run", "--mode", "remote", *job, options=("-X", "importtime"))
    assert "snakemake.dag" in loaded
    assert "stepladder.data.parts" not in loaded, "a job that trains lists no files of text"
