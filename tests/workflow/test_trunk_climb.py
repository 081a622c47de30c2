"""Trunks through the real workflow: trained once, and only what a change touches is trained again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LADDER = """
name: trunks
version: 1
question: "What does a longer budget cost?"
rungs: [{depth: 1}]
architectures: {dense: {}}
recipes: {baseline: {}, tst: {bag_size: 2, superposed_fraction: 0.25}}
budgets: [0.02, 0.04]
shape: {sequence_length: 32, d_model: {per_layer: 8, base: 8}, d_head: 8}
optimizer:
  learning_rate: {default: {rule: power, of: d_model, at: 32, value: 0.0075, exponent: -1.0}}
  batch: {rule: constant, sequences: 4}
  warmup_steps: 2
  trunk: true
data:
  source: {kind: python_stdlib}
  tokenizer: {kind: byte}
  max_validation_tokens: 2000
  domain_weights: {code: 1}
plan: {flops_per_second: 1.0e9, max_accelerator_hours: 0.1}
analysis: {baseline: dense-baseline}
"""


class Clone:
    """A folder with the trunk ladder, where `runs.parquet` is asked for (one rung fits no law)."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ladder = folder, folder / "configs" / "ladders" / "trunks.yaml"
        self.ladder.write_text(LADDER)

    def edit(self, old: str, new: str) -> None:
        text = self.ladder.read_text()
        assert old in text
        self.ladder.write_text(text.replace(old, new))

    def climb(self, *arguments: str) -> str:
        target = "results/trunks/runs.parquet"
        command = [sys.executable, "-m", "snakemake", target, *arguments, "--config", "ladder=trunks"]
        done = subprocess.run(
            command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def planned(self) -> list[str]:
        """Runs and segments that would be trained, as paths."""
        text = self.climb("--dry-run", "--quiet", "host", "progress")
        outputs = [line.split(": ", 1)[1] for line in text.splitlines() if "output: " in line]
        return sorted(
            o.removeprefix("results/trunks/").removesuffix("/result.json")
            for o in outputs
            if o.endswith("/result.json")
        )

    def results(self, pattern: str) -> dict[str, dict]:
        found = self.folder.glob(f"results/trunks/{pattern}/result.json")
        return {
            str(path.parent.relative_to(self.folder / "results/trunks")): json.loads(path.read_text())
            for path in found
        }


@pytest.fixture(scope="module")
def clone(climbed, tmp_path_factory):
    """Climbed once, beside the smoke ladder's machine file."""
    folder = tmp_path_factory.mktemp("trunks") / "clone"
    shutil.copytree(
        climbed.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("smoke", ".snakemake")
    )
    made = Clone(folder)
    made.climb()
    return made


def test_each_step_is_trained_once(clone):
    runs, segments = clone.results("runs/*/*/*/*"), clone.results("trunks/*/*/*/*")
    assert (len(runs), len(segments)) == (4, 4)
    assert all(result["lineage"]["parent"] for result in runs.values())
    totals = json.loads((clone.folder / "results/trunks/plan.json").read_text())["totals"]
    trained = sum(result["flops_trained"] for result in [*runs.values(), *segments.values()])
    assert trained == pytest.approx(totals["flops"])
    assert sum(result["flops"] for result in runs.values()) == pytest.approx(totals["flops_if_independent"])
    assert trained < 0.9 * totals["flops_if_independent"]
    assert clone.planned() == []


def test_a_longer_budget_costs_its_own_part_only(clone):
    clone.edit("budgets: [0.02, 0.04]", "budgets: [0.02, 0.04, 0.08]")
    planned = clone.planned()
    assert len(planned) == 4
    assert all("0.08x" in name for name in planned if name.startswith("runs/"))
    clone.edit("budgets: [0.02, 0.04, 0.08]", "budgets: [0.02, 0.04]")


def test_a_new_rate_takes_trunk_and_branches_with_it(clone):
    clone.edit("value: 0.0075", "value: 0.008")
    assert len(clone.planned()) == 8
    clone.edit("value: 0.008", "value: 0.0075")


def test_a_lost_trunk_of_a_lost_branch_is_trained_again_alone(clone):
    """And gives the same loss."""
    run = clone.folder / "results/trunks/runs/dense-tst/d1/0.04x/seed0"
    before = json.loads((run / "result.json").read_text())["loss"]
    shutil.rmtree(run)
    (clone.folder / "results/trunks/runs.parquet").unlink()
    assert clone.planned() == ["runs/dense-tst/d1/0.04x/seed0"]
    clone.climb()
    assert json.loads((run / "result.json").read_text())["loss"] == before
