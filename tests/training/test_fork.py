"""A branch computes what the whole run would have, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepladder.ladder.trunk import prefix
from stepladder.record.cost import flops_until
from stepladder.record.events import read_steps
from stepladder.record.spec import RunSpec
from stepladder.training.run import train


def run(spec: RunSpec, manifest: Path, folder: Path, fork: Path | None = None) -> dict:
    return json.loads(train(spec, manifest, folder, device="cpu", fork=fork).read_text())


def losses(folder: Path) -> list[float]:
    return [record["loss"] for record in read_steps(folder / "events.jsonl")]


@pytest.mark.parametrize(
    ("variant", "forks"),
    [(("dense", "baseline"), (10, 25)), (("moe", "tst"), (5, 10)), (("sliding", "multi_token"), (30,))],
)
def test_branch_equals_the_whole_run(make_run, small_corpus, tmp_path, variant, forks):
    """Through one or two segments; for TST both within the superposed phase and at its end."""
    spec = make_run(*variant, steps=40)
    whole = run(spec, small_corpus, tmp_path / "whole")
    fork = None
    for steps in forks:
        segment = prefix(spec, steps)
        result = run(segment, small_corpus, tmp_path / str(steps), fork)
        assert (result["loss"], result["steps"]) == (None, steps)
        fork = tmp_path / str(steps) / "result.json"
    branch = run(spec, small_corpus, tmp_path / "branch", fork)
    assert branch["losses"] == whole["losses"]
    assert losses(tmp_path / "branch") == losses(tmp_path / "whole")
    assert (branch["flops"], branch["restarts"]) == (whole["flops"], 0)
    assert branch["flops_trained"] == pytest.approx(whole["flops"] - flops_until(spec, forks[-1]))
    assert whole["flops_trained"] == whole["flops"]
    assert branch["lineage"]["parent"]["step"] == forks[-1]
    assert set(branch["median_step_seconds"]) == {phase.name for phase in spec.recipe.phases}


def test_only_the_beginning_of_the_same_run_is_gone_on_from(make_run, small_corpus, tmp_path):
    other = make_run(steps=40, learning_rate=0.02)
    run(prefix(other, 10), small_corpus, tmp_path / "other")
    with pytest.raises(ValueError, match=r"its first 10 steps have spec \w+.*run snakemake again"):
        run(make_run(steps=40), small_corpus, tmp_path / "run", tmp_path / "other" / "result.json")
    assert not (tmp_path / "run" / "result.json").exists()
