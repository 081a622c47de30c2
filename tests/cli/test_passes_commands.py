"""The plan says how often runs read their text as soon as that is known; train refuses what is too often."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.data.prepare import prepare
from stepladder.record.fingerprint import run_fingerprint

REPOSITORY = Path(__file__).parents[2]

LADDER = """\
name: tiny
question: "?"
rungs: [{depth: 1}, {depth: 2}]
architectures: {dense: {}}
recipes: {baseline: {}, tst: {bag_size: 4, superposed_fraction: 0.5}}
budgets: [{steps: 10}]
seeds: [0]
shape: {sequence_length: 16, d_model: {per_layer: 16}, d_head: 16, d_ff: {multiple_of: 16}}
optimizer:
  learning_rate: {default: {rule: constant, value: 1e-2}}
  batch: {rule: constant, sequences: 4}
data:
  source: {kind: text, domains: {web: ["*.txt"]}}
  tokenizer: {kind: byte}
  validation_fraction: 0.2
  domain_weights: {web: 1}
plan: {flops_per_second: 1e10, max_accelerator_hours: 1}
analysis: {baseline: dense-baseline}
"""


def say(*words: object) -> str:
    outcome = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    return outcome.output


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a ladder and its text, 16 documents of 40 bytes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(LADDER)
    for number in range(16):
        (tmp_path / f"{number:02}.txt").write_text(f"{number:02} " + "x" * 36)
    return tmp_path


def price(path: Path) -> None:
    hardware = REPOSITORY / "configs/hardware.yaml"
    table = path.with_suffix(".tsv")
    assert say("price", "tiny.yaml", "--hardware", hardware, "--out", path, "--table", table) == ""


def test_passes_are_unknown_before_the_data_are_prepared_and_then_in_every_plan(here: Path) -> None:
    plan = here / "results/tiny/plan.json"
    price(plan)
    assert {run["passes"] for run in json.loads(plan.read_text())["runs"]} == {None}
    assert "known when the data are prepared" in say("plan", plan)
    source = {"kind": "text", "domains": {"web": ["*.txt"]}}
    manifest = prepare(source, {"kind": "byte"}, 0.2, plan.parent / "data")
    corpus = json.loads(manifest.read_text())["domains"]["web"]["train"]["tokens"]
    told = say("plan", plan)
    assert "Passes" in told and "read their training text more than once" in told
    assert "It will be refused" not in told
    price(plan)
    runs = json.loads(plan.read_text())["runs"]
    assert {run["id"]: run["passes"] for run in runs} == {run["id"]: run["tokens"] / corpus for run in runs}
    assert "passes" in plan.with_suffix(".tsv").read_text().splitlines()[0].split("\t")


def test_a_ladders_plan_is_that_of_its_file_now_and_leaves_nothing_behind(here: Path) -> None:
    """So that it can be asked for while Snakemake has the folder locked."""
    (here / "configs").symlink_to(REPOSITORY / "configs")
    before = sorted(here.rglob("*"))
    shown = say("plan", "tiny.yaml", "--no-power")
    assert sorted(here.rglob("*")) == before
    plan = here / "results/tiny/plan.json"
    price(plan)
    assert shown == say("plan", plan) and "4 runs" in shown
    (here / "tiny.yaml").write_text(LADDER.replace("seeds: [0]", "seeds: [0, 1]"))
    assert "8 runs" in say("plan", "tiny.yaml", "--no-power") and "4 runs" in say("plan", plan)


def test_train_refuses_what_the_ladder_does_not_allow(here: Path, make_run) -> None:
    source = {"kind": "text", "domains": {"web": ["*.txt"]}}
    manifest = prepare(source, {"kind": "byte"}, 0.2, here / "data")
    spec = make_run(steps=60)
    weights = spec.data.model_copy(update={"domain_weights": {"web": 1.0}})
    spec = spec.model_copy(update={"data": weights, "code": run_fingerprint("dense", "baseline")})
    (here / "spec.json").write_text(spec.to_json())
    train = ("train", "spec.json", "--manifest", manifest, "--out", "run/result.json")
    told = " ".join(say(*train).split())
    assert "stepladder: dense-baseline/d2/1x/seed0: it would read its training text" in told
    assert "data.max_epochs is 4: bring more text" in told
    assert "data.max_epochs is 0.5" in " ".join(say(*train, "--max-epochs", 0.5).split())
    assert "is neither a number nor JSON" in say(*train, "--max-epochs", "nan")
    assert not (here / "run").exists()
