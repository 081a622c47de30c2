"""Runs of the smoke ladder scored, sampled from, and what is said where that cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from stepladder.evaluation.rung import evaluate_run
from stepladder.evaluation.sample import sample
from stepladder.evaluation.task_set import TaskItems, make_task, read_task
from stepladder.evaluation.weights import find_manifest, open_tokenizer, read_weights
from stepladder.record.evaluation import Evaluation
from stepladder.record.result import Result

CPU = torch.device("cpu")
ONE = "dense-tst/d2/0.25x/seed0"


@pytest.fixture
def run(climbed, tmp_path) -> Path:
    """A run in a ladder's folder of its own."""
    folder = tmp_path / "results" / "smoke"
    shutil.copytree(climbed.results / "runs" / ONE, folder / "runs" / ONE)
    shutil.copytree(climbed.results / "data", folder / "data")
    shutil.copytree(climbed.results / "tasks", folder / "tasks")
    return folder / "runs" / ONE


def task_paths(run: Path) -> list[Path]:
    return sorted((run.parents[4] / "tasks").glob("*.json"))


def tasks_of(run: Path) -> list[TaskItems]:
    return [read_task(path) for path in task_paths(run)]


def test_bits_per_byte_of_all_held_out_text_are_those_of_the_end_of_training(climbed, run) -> None:
    """A task made of the very text that training scores: whole documents, but cut into windows at their own
    beginnings, so that the two agree roughly and not exactly."""
    manifest, tokenizer = open_tokenizer(find_manifest(run))
    from stepladder.data.decode import documents

    text = b"".join(documents(manifest, find_manifest(run), "prose", "validation"))[:50_000].decode(
        errors="ignore"
    )
    rows = [{"text": text[first : first + 5000]} for first in range(0, len(text), 5000)]
    path = run.parents[4] / "text.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = run.parents[4] / "tasks" / "prose.json"
    make_task("prose", {"kind": "text", "path": str(path)}, [find_manifest(run)], out)
    (found,) = evaluate_run(run, [read_task(out)], CPU)
    result = Result.read(run / "result.json")
    assert found.scores.bits_per_byte == pytest.approx(result.bits_per_byte_by_domain["prose"], rel=0.02)
    assert found.scores.accuracy is None
    assert found.tokens == len(text.encode())
    assert tokenizer.vocab_size == 256


def test_scores_that_hold_are_kept_and_others_made_again(run, monkeypatch) -> None:
    first = evaluate_run(run, tasks_of(run), CPU)
    kept = [(path, path.stat().st_mtime_ns) for path in (run / "evaluations").glob("*.json")]
    assert evaluate_run(run, tasks_of(run), CPU) == first
    assert [(path, path.stat().st_mtime_ns) for path, _ in kept] == kept
    out = run / "evaluations" / "calls.json"
    out.write_text(out.read_text().replace("accuracy", "acuracy"))
    assert [one.scores for one in evaluate_run(run, tasks_of(run), CPU)] == [one.scores for one in first]
    assert Evaluation.read(out).task == "calls"


def test_an_earlier_checkpoint_is_scored_in_retrospect(run) -> None:
    steps = sorted(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").iterdir())
    (early, *_), (end, *_) = (evaluate_run(run, tasks_of(run), CPU, step=step) for step in (steps[0], None))
    assert (early.step, end.step) == (steps[0], steps[-1])
    assert Evaluation.read(run / "evaluations" / f"calls-step-{steps[0]:06d}.json") == early
    assert Evaluation.read(run / "evaluations" / "calls.json") == end


def test_what_is_asked_anew_is_scored_anew(run) -> None:
    """Whether items were looked for in the training text changes the scores of the clean ones."""
    calls = run.parents[4] / "tasks" / "calls.json"
    found = {}
    for search in (False, True):
        make_task("calls", {"items": 50}, [find_manifest(run)], calls, search=search)
        (found[search],) = evaluate_run(run, [read_task(calls)], CPU)
    assert found[False].clean is None and found[True].clean is not None
    assert found[False].scores == found[True].scores


def test_scores_by_item_make_the_scores(run) -> None:
    (calls,) = [one for one in evaluate_run(run, tasks_of(run), CPU) if one.task == "calls"]
    table = pd.read_parquet(run / "evaluations" / "calls.parquet")
    gold = [bits[number] for bits, number in zip(table["bits_per_byte"], table["gold"], strict=True)]
    assert sum(gold) / len(gold) == pytest.approx(calls.scores.bits_per_byte)
    right = [nats.argmax() == number for nats, number in zip(table["nats"], table["gold"], strict=True)]
    assert sum(right) / len(right) == pytest.approx(calls.scores.accuracy)


def test_items_are_from_held_out_files_only(run) -> None:
    manifest, _ = open_tokenizer(find_manifest(run))
    folder = find_manifest(run).parent
    files = (folder / "files.txt").read_text().splitlines()
    import numpy as np

    trained = {
        files[number]
        for splits in manifest.domains.values()
        for number in np.load(folder / splits["train"].document_file.name)["file"]
    }
    for path in task_paths(run):
        _, items, _ = read_task(path)
        assert not {item.id.split(":")[0] for item in items} & trained


def test_a_task_is_the_same_whenever_it_is_made(run, tmp_path) -> None:
    again = make_task("calls", {"items": 50}, [find_manifest(run)], tmp_path / "calls.json")
    assert again.items_sha256 == read_task(run.parents[4] / "tasks" / "calls.json")[0].items_sha256
    other = make_task("calls", {"items": 50, "seed": 1}, [find_manifest(run)], tmp_path / "calls.json")
    assert other.items_sha256 != again.items_sha256


def test_an_unfinished_run_is_said_to_be_one(run) -> None:
    for path in (run / "checkpoints").iterdir():
        path.rename(path.with_name(f"step-00000{path.name[-1]}"))
    with pytest.raises(
        FileNotFoundError, match=r"no complete checkpoint of step .*: there are those of steps [0-9], [0-9];"
    ):
        read_weights(run)


def test_a_checkpoint_of_another_run_is_refused(run) -> None:
    spec = run / "spec.json"
    spec.write_text(spec.read_text().replace('"seed":0', '"seed":5'))
    with pytest.raises(ValueError, match="was made from another spec"):
        read_weights(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"spec\.json: .* a spec is there in the folder of every run"):
        read_weights(tmp_path)


def test_samples_go_on_from_the_prompt_and_outgrow_the_context(run) -> None:
    weights = read_weights(run)
    _, tokenizer = open_tokenizer(find_manifest(run))

    def text(**options) -> bytes:
        return b"".join(sample(weights, tokenizer, "import os\n", tokens=150, **options))

    assert text(seed=1) == text(seed=1) != text(seed=2)
    assert len(text(seed=1)) > weights.context
    greedy = text(temperature=0)
    assert greedy == text(temperature=0, seed=3) == text(top_p=0.0)
