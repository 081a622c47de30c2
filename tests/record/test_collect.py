"""Event logs of runs that were killed and resumed."""

import json

import pandas as pd
import pytest

from stepladder.record.events import read_steps
from stepladder.record.tables import collect, flatten


def write(path, *events, tail=""):
    path.write_text("".join(json.dumps(event) + "\n" for event in events) + tail)
    return path


def step(number, loss):
    return {"event": "step", "step": number, "loss": loss}


def test_steps_after_the_checkpoint_of_a_resume_are_those_trained_again(tmp_path):
    path = write(
        tmp_path / "events.jsonl",
        {"event": "start"},
        step(0, 5.0),
        step(10, 4.0),
        step(20, 3.0),
        {"event": "resume", "step": 10},
        step(10, 4.5),
        tail='{"event": "step", "st',
    )
    assert [(r["step"], r["loss"]) for r in read_steps(path)] == [(0, 5.0), (10, 4.5)]


def test_a_broken_line_inside_is_named(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "start"}\n{"ev\n{"event": "step", "step": 1}\n')
    with pytest.raises(ValueError, match=r"events.jsonl, line 2"):
        read_steps(path)


def test_nested_names():
    row = flatten({"losses": {"code": 1.5}, "mfu": None, "lineage": {"packages": {"torch": "2"}}, "seed": 0})
    assert row == {"loss_code": 1.5, "mfu": None, "lineage_packages_torch": "2", "seed": 0}


def test_a_run_that_started_anew_forgets_its_first_attempt(tmp_path):
    events = [{"event": "start"}, step(0, 5.0), step(7, 4.0), {"event": "start"}, step(0, 5.5)]
    path = write(tmp_path / "events.jsonl", *events)
    assert [(r["step"], r["loss"]) for r in read_steps(path)] == [(0, 5.5)]


def test_a_line_that_is_no_record_is_named(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "start"}\n17\n{"event": "step", "step": 1}\n')
    with pytest.raises(ValueError, match=r"events.jsonl, line 2"):
        read_steps(path)


def test_runs_and_steps_keep_what_is_missing_missing(tmp_path):
    """Through Parquet and back: a null is not a zero, and no plan is no planned cost."""
    result = {"id": "a/d2/1x/seed0", "variant": "a", "rung": "d2", "budget": "1x", "seed": 0}
    result |= {"loss": 2.0, "losses": {"code": 2.0}, "mfu": {"median": None}, "warnings": []}
    (tmp_path / "result.json").write_text(json.dumps(result))
    write(tmp_path / "events.jsonl", step(0, 5.0), step(1, None))
    runs, steps = collect([tmp_path / "result.json"])
    runs.to_parquet(tmp_path / "runs.parquet")
    row = pd.read_parquet(tmp_path / "runs.parquet").iloc[0]
    assert row["loss_code"] == 2.0 and pd.isna(row["mfu_median"]) and pd.isna(row["planned_flops"])
    assert list(steps["variant"]) == ["a", "a"] and pd.isna(steps["loss"].iloc[1])


def test_a_broken_result_is_named(tmp_path):
    (tmp_path / "result.json").write_text('{"id": ')
    with pytest.raises(ValueError, match=r"result.json: not JSON"):
        collect([tmp_path / "result.json"])
