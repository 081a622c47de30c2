"""The chain from a report down to the shards, and where it breaks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from stepladder.decision.rule_record import RuleRecord
from stepladder.record.evaluation import RungEvaluations
from stepladder.record.tables import write_table
from stepladder.status.lineage import ladder_of, report_digest, walk


@pytest.fixture
def smoke(climbed, tmp_path) -> Path:
    """A copy of the climbed ladder's results, checkpoints left out."""
    target = tmp_path / "smoke"
    shutil.copytree(climbed.folder / "results/smoke", target, ignore=shutil.ignore_patterns("checkpoints"))
    return target


def broken(path: Path) -> dict[str, str]:
    """File name of each broken link to what is said."""
    return {link.file.name: link.problem for link in walk(path) if link.problem}


def test_every_link_of_a_climbed_ladder_holds(smoke):
    links = walk(smoke / "report.pdf")
    assert [link.problem for link in links] == [""] * len(links)
    assert [link.file.name for link in links][:3] == ["report.pdf", "comparison.json", "flops.json"]
    assert links[-1].file.name == "manifest.json" and len(links) == 5 + 1 + 2 + 1 + 3 + 16 + 1
    assert len(walk(smoke / "fits/tokens.json")) == 1 + 1 + 16 + 1
    run = next((smoke / "runs").rglob("result.json"))
    assert [link.file.name for link in walk(run)] == ["result.json", "manifest.json"]


@pytest.mark.parametrize(
    "file", ["comparison.json", "rule.json", "runs.parquet", "steps.parquet", "fits/flops.json"]
)
@pytest.mark.parametrize("other", ["steps.parquet", "plan.json", "runs.parquet", "report.pdf"])
def test_another_file_in_its_place_breaks_a_link(smoke, file, other):
    """Swapped, it may be a good file of its kind, with columns or fields of its own."""
    shutil.copy(smoke / other, smoke / f"{file}.new")
    (smoke / f"{file}.new").replace(smoke / file)
    assert broken(smoke / "report.pdf") or file == other


def test_steps_and_the_rule_are_links(smoke):
    steps = pd.read_parquet(smoke / "steps.parquet")
    steps.assign(loss=1.0).to_parquet(smoke / "steps.parquet")
    record = RuleRecord.read(smoke / "rule.json")
    record.model_copy(update={"results_then": 3}).write(smoke / "rule.json")
    found = broken(smoke / "report.pdf")
    assert "changed since it was written" in found["steps.parquet"]
    assert "the rule on record is another now" in found["comparison.json"]
    write_table(steps.assign(id="a/b/c"), smoke / "steps.parquet")
    assert "a/b/c is no run" in broken(smoke / "steps.parquet")["steps.parquet"]


def test_scores_are_links(smoke):
    path = smoke / "evaluations" / "d2.json"
    rung = RungEvaluations.read(path)
    one = rung.evaluations[0]
    other = one.model_copy(update={"scores": one.scores.model_copy(update={"bits_per_byte": 1.0})})
    rung.model_copy(update={"evaluations": (other, *rung.evaluations[1:])}).write(path)
    found = broken(smoke / "report.pdf")
    assert f"{one.run}: task_{one.task}_bits_per_byte = " in found["runs.parquet"]


@pytest.mark.parametrize("name", ["signal.json", "task_laws.json"])
def test_signal_and_laws_of_tasks_are_links(smoke, name):
    runs = pd.read_parquet(smoke / "runs.parquet")
    write_table(runs.assign(task_calls_accuracy=0.5), smoke / "runs.parquet")
    assert "the rows of runs.parquet are others now" in broken(smoke / "report.pdf")[name]


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit(path: Path, **changes) -> None:
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | changes))


@pytest.mark.parametrize(
    ("file", "link"),
    [
        ("comparison.json", "report.pdf"),
        ("comparison.json", "comparison.json"),
        ("fits/flops.json", "comparison.json"),
        ("fits/seconds.json", "seconds.json"),
        ("runs/moe-tst/d1/0.25x/seed0/result.json", "result.json"),
        ("runs/moe-tst/d1/0.25x/seed0/result.json", "runs.parquet"),
        ("data/manifest.json", "manifest.json"),
    ],
)
def test_an_edited_file_breaks_its_links(smoke, file, link):
    edit(smoke / file, **({"confidence": 0.5} if "runs/" not in file else {"loss": 1.0}))
    assert link in broken(smoke / "report.pdf")


def test_a_changed_byte_of_a_shard_is_found(smoke):
    flip(next((smoke / "data").glob("*.train.tokens")))
    assert list(broken(smoke / "report.pdf")) == ["manifest.json"]


def test_a_missing_file_is_named(smoke):
    (smoke / "runs.parquet").unlink()
    found = broken(smoke / "report.pdf")
    assert found["runs.parquet"].endswith("runs.parquet is missing") and "flops.json" in found


def test_what_lies_in_no_ladder_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert ladder_of(tmp_path / "a.json") is None
    with pytest.raises(ValueError, match=r"not in a ladder's folder"):
        walk(tmp_path / "a.json")
    with pytest.raises(ValueError, match="not a PDF"):
        report_digest(tmp_path / "a.json")
