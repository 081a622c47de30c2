"""A swarm of mixtures in the real workflow: small runs find one, the arm trains on it, the report tells."""

from __future__ import annotations

import json

import pandas as pd
from climbing import Climbed

from stepladder.record.swarm import SwarmOutcome

LADDER = """
name: mixed
version: 1
question: "Which mixture?"
rungs: [{depth: 1}, {depth: 2}, {depth: 3}]
architectures: {dense: {}}
recipes: {baseline: {}}
corpora: {natural: {mixture: {code: 0.8, prose: 0.2}}}
design: {kind: mixture_swarm, runs: 5}
budgets: [0.05]
shape: {sequence_length: 32, d_model: {per_layer: 8}, d_head: 8}
optimizer:
  learning_rate: {default: {rule: constant, value: 0.02}}
  batch: {rule: constant, sequences: 8}
data:
  source: {kind: python_stdlib}
  tokenizer: {kind: byte}
  max_validation_tokens: 10000
  domain_weights: {code: 0.5, prose: 0.5}
execution: {parallel_runs: 2}
plan: {flops_per_second: 1.0e10, max_accelerator_hours: 0.2}
analysis: {baseline: dense-baseline-natural, bootstrap_draws: 200, leave_one_out: false, holdout_rungs: 0}
"""


def snakemake(climbed: Climbed, *arguments: str) -> str:
    return climbed.snakemake(*arguments, ladder="mixed")


def test_small_runs_find_the_mixture_of_an_arm(climbed: Climbed) -> None:
    (climbed.folder / "configs" / "ladders" / "mixed.yaml").write_text(LADDER)
    results = climbed.folder / "results" / "mixed"
    waiting = json.loads(climbed.stepladder("status", "mixed", "--json"))["runs"]
    drawn = [run["variant"] for run in waiting if run["rung"] == "d1 swarm"]
    assert drawn == ["drawn mixtures"] * 5, "one line of the table"
    reasons = {run["reason"] for run in waiting if "-predicted/" in run["id"]}
    assert reasons == {"its mixture waits for the swarm"}

    said = snakemake(climbed)
    found = SwarmOutcome.read(results / "swarm.json")
    assert "Corpus predicted reads code" in said and len(found.runs) == 6
    specs = {path.parent: json.loads(path.read_text()) for path in results.glob("runs/**/spec.json")}
    read = [spec["mixture"][0]["shares"] for spec in specs.values() if spec["data"]["corpus"] == "predicted"]
    assert len(read) == 3 and all(shares == found.mixture for shares in read)
    runs = pd.read_parquet(results / "runs.parquet")
    assert len(runs) == 6 and not any("swarm" in variant for variant in runs["variant"])
    arm = runs[runs["variant"] == "dense-baseline-predicted"]
    first = pd.to_datetime(arm["lineage_started"], utc=True).min()
    assert first >= pd.to_datetime(found.made_at, utc=True)
    assert (results / "data").exists() and not (results / "corpora").exists(), "one set of shards"
    assert (results / "report.pdf").exists() and (results / "figures" / "swarm.svg").exists()
    for file in ("report.pdf", "swarm.json"):
        climbed.stepladder("lineage", f"results/mixed/{file}")
    states = json.loads(climbed.stepladder("status", "mixed", "--json"))["runs"]
    assert {run["state"] for run in states} == {"done"}

    assert "Nothing to be done" in snakemake(climbed), "found once"
    snakemake(climbed, "--forcerun", "swarm", "--until", "swarm")
    assert SwarmOutcome.read(results / "swarm.json") == found, "what was written down stays"
    assert "result.json" not in snakemake(climbed, "--dry-run", "--quiet", "host")
