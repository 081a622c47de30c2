"""A tiny ladder with a sweep, climbed for real: rates reach the larger rung, and edits what they must."""

import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from stepladder.ladder.climb import Climb

LADDER = """\
name: tiny
question: "Do rates of a sweep reach the larger rung?"
rungs: [{depth: 1}, {depth: 2}]
architectures: {dense: {}}
recipes: {baseline: {}}
budgets: [{steps: 30}]
seeds: [0]
sweep:
  rungs: [d1]
  learning_rate_factors: [0.01, 1, 100]
  seeds: [0, 1]
  max_uncertainty: 100
shape:
  sequence_length: 16
  d_model: {per_layer: 4, base: 4, multiple_of: 4}
  d_head: 4
optimizer:
  learning_rate: {default: {rule: constant, value: 0.02}}
  batch: {rule: constant, sequences: 8}
data:
  source: {kind: text, domains: {words: ["text/*.txt"]}}
  tokenizer: {kind: byte}
  validation_fraction: 0.2
  max_validation_tokens: 2000
  domain_weights: {words: 1}
plan: {flops_per_second: 1.0e9, overhead_seconds_per_run: 1, max_accelerator_hours: 1}
analysis: {baseline: dense-baseline, bootstrap_draws: 100, holdout_rungs: 0}
"""
BIG = "runs/dense-baseline/d2/30steps/seed0"
BIG_RESULT = f"results/tiny/{BIG}/result.json"
"""Target of climbs that need no tables and no report: what follows from a run is the same for every edit."""


@dataclass
class Clone:
    """A folder like a clone with the tiny ladder in it."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results" / "tiny"

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        command = [sys.executable, "-m", "snakemake", *arguments, "--config", "ladder=tiny"]
        done = subprocess.run(
            command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert not check or done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    def climb(self, *targets: str) -> list[str]:
        """Climb the ladder, or only what `targets` need; returns the runs that were trained, in order."""
        before = {path: path.stat().st_mtime_ns for path in self.results.glob("runs/*/*/**/result.json")}
        self.snakemake(*targets)
        after = {path: path.stat().st_mtime_ns for path in self.results.glob("runs/*/*/**/result.json")}
        new = [path for path in after if before.get(path) != after[path]]
        return [str(p.parent.relative_to(self.results)) for p in sorted(new, key=after.__getitem__)]

    def edit(self, old: str, new: str) -> None:
        path = self.folder / "configs" / "ladders" / "tiny.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def rate(self) -> float:
        """What the sweep says about d2."""
        rows = json.loads((self.results / "learning_rates.json").read_text())["rates"]
        return {row["rung"]: row for row in rows}["d2"]["learning_rate"]

    def big(self) -> dict:
        return json.loads((self.results / BIG / "result.json").read_text())


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("swept")
    repository = Path(__file__).parents[2]
    shutil.copy(repository / "Snakefile", folder)
    for name in ("workflow", "profiles"):
        shutil.copytree(repository / name, folder / name)
    (folder / "configs" / "ladders").mkdir(parents=True)
    shutil.copy(repository / "configs" / "hardware.yaml", folder / "configs")
    (folder / "configs" / "ladders" / "tiny.yaml").write_text(LADDER)
    (folder / "text").mkdir()
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefgh", k=4)) for _ in range(20)]
    for number in range(60):
        (folder / "text" / f"{number}.txt").write_text(" ".join(draw.choices(words, k=150)))
    return Clone(folder)


def test_a_ladder_that_finds_its_own_rates(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "rule train" in clone.snakemake("--dry-run", "--quiet", "host"), "its spec is not known yet"

    trained = clone.climb()
    assert len(trained) == 7 and trained[-1] == BIG, "the larger rung waits for the sweep"
    assert clone.big()["learning_rate"] == clone.rate() != 0.02
    assert (clone.results / "report.pdf").exists()
    monkeypatch.chdir(clone.folder)
    climb = Climb.open("tiny")
    assert clone.big()["spec_sha256"] == climb.spec(BIG.removeprefix("runs/")).sha256, "identity has the rate"

    runs, sweep = (pd.read_parquet(clone.results / f"{name}.parquet") for name in ("runs", "sweep"))
    assert sorted(runs["rung"]) == ["d1", "d2"] and len(sweep) == 6
    fit = json.loads((clone.results / "fits" / "flops.json").read_text())
    assert fit["n_runs"] == 2, "no run of the sweep is in the laws"

    assert "Nothing to be done" in clone.snakemake()
    plan = clone.snakemake("plan")
    assert "7 runs" in plan and "30steps sweep" in plan, "the sweep is priced, and marked"
    status = subprocess.run(
        [sys.executable, "-m", "stepladder.cli", "status", "tiny", "--json"], capture_output=True, text=True
    )
    assert {run["state"] for run in json.loads(status.stdout)["runs"]} == {"done"}


def test_the_same_rates_train_nothing_again(clone: Clone) -> None:
    before = clone.rate()
    clone.edit("max_uncertainty: 100", "max_uncertainty: 90")
    assert "checkpoint tune" in clone.snakemake("--dry-run", "--quiet", "host")
    assert clone.climb() == [] and clone.rate() == before
    assert "Nothing to be done" in clone.snakemake()


def test_edited_factors_tune_again_and_train_the_larger_rung(clone: Clone) -> None:
    before = clone.rate()
    clone.edit("[0.01, 1, 100]", "[0.01, 0.2, 1, 100]")
    trained = clone.climb(BIG_RESULT)
    assert sorted(trained[:-1]) == [f"runs/dense-baseline/d1/30steps/lr0.2/seed{seed}" for seed in (0, 1)]
    assert trained[-1] == BIG and clone.big()["learning_rate"] == clone.rate() != before
    assert "Nothing to be done" in clone.snakemake(BIG_RESULT)


def test_an_edited_spec_trains_the_larger_rung_at_the_same_rate(clone: Clone) -> None:
    before = clone.rate()
    clone.edit("{depth: 2}", "{depth: 2, set: {d_ff: 32}}")
    assert clone.climb(BIG_RESULT) == [BIG] and clone.big()["learning_rate"] == before


def test_an_optimum_at_the_edge_stops_before_the_larger_rung(clone: Clone) -> None:
    clone.edit("[0.01, 0.2, 1, 100]", "[0.001, 0.003, 0.01]")
    shutil.rmtree(clone.results / BIG)
    text = clone.snakemake(check=False)
    assert "at the highest factor, 0.01: add 0." in text and "sweep: {apply: none}" in text
    assert not (clone.results / BIG / "result.json").exists()
    clone.edit("max_uncertainty: 90", "apply: none")
    assert BIG in clone.climb(BIG_RESULT) and clone.big()["learning_rate"] == 0.02
