"""A top rung that the laws size, in the real workflow: chosen once, trained at that size, and reported."""

from __future__ import annotations

import json

import pandas as pd
from climbing import Climbed

from stepladder.record.coordinates import CoordinateCheck
from stepladder.record.top import TopRung

LADDER = """
name: sized
version: 1
question: "How large should the top rung be?"
rungs: [{depth: 1}, {depth: 2}, {depth: 3}]
architectures: {dense: {}}
recipes: {baseline: {}}
budgets: [{flops: 0.5e9}, {flops: 2.0e9}, {flops: 8.0e9}]
design: {kind: compute_optimal_top, flops: 1.6e10}
shape: {sequence_length: 32, d_model: {per_layer: 8}, d_head: 8}
optimizer:
  learning_rate: {default: {rule: constant, value: 0.02}}
  parametrization: {kind: completep, base_width: 8, base_depth: 1}
  batch: {rule: constant, sequences: 8}
data:
  source: {kind: python_stdlib}
  tokenizer: {kind: byte}
  max_validation_tokens: 10000
  domain_weights: {code: 1}
execution: {parallel_runs: 2}
plan: {flops_per_second: 1.0e10, max_accelerator_hours: 0.2}
analysis: {baseline: dense-baseline, floor: 0.5, bootstrap_draws: 200, leave_one_out: false}
"""


def snakemake(climbed: Climbed, *arguments: str) -> str:
    return climbed.snakemake(*arguments, ladder="sized")


def test_the_top_rung_is_sized_by_the_others(climbed: Climbed) -> None:
    file = climbed.folder / "configs" / "ladders" / "sized.yaml"
    file.write_text(LADDER)
    results = climbed.folder / "results" / "sized"
    waiting = json.loads(climbed.stepladder("status", "sized", "--json"))
    (top,) = (run for run in waiting["runs"] if run["rung"] == "top")
    assert top["state"] == "pending" and "waits for the law of all others" in top["reason"]

    said = snakemake(climbed)
    chosen = TopRung.read(results / "top.json")
    assert f"Rung top has {chosen.depth} layers" in said and chosen.n_runs == 9
    runs = pd.read_parquet(results / "runs.parquet")
    (row,) = runs[runs["rung"] == "top"].to_dict("records")
    assert row["depth"] == chosen.depth and abs(row["flops"] / 1.6e10 - 1) < 0.01
    assert pd.to_datetime(row["lineage_started"], utc=True) >= pd.to_datetime(chosen.made_at, utc=True)
    assert (results / "report.pdf").exists() and (results / "laws.json").exists()
    assert "activations" in said and CoordinateCheck.read(results / "coordinates.json").kind == "completep"
    specs = [json.loads(path.read_text()) for path in results.glob("runs/**/spec.json")]
    wide = {spec["model"]["d_model"]: spec["parametrization"]["width"] for spec in specs}
    assert wide and all(width == d_model / 8 for d_model, width in wide.items())
    climbed.stepladder("lineage", "results/sized/report.pdf")
    states = json.loads(climbed.stepladder("status", "sized", "--json"))["runs"]
    assert {run["state"] for run in states} == {"done"}

    assert "Nothing to be done" in snakemake(climbed), "chosen once"
    snakemake(climbed, "--forcerun", "top", "--until", "top")
    assert TopRung.read(results / "top.json") == chosen, "what was written down before the run stays"
    assert "result.json" not in snakemake(climbed, "--dry-run", "--quiet", "host")
