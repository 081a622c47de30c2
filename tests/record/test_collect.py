"""Results and event logs of runs to the two tables."""

import json

import pandas as pd
import pytest
from golden import a_result, golden

from stepladder.documents.document import DocumentError
from stepladder.record.events import DamagedLog
from stepladder.record.tables import collect, read_runs


def write(path, *events, tail=""):
    path.write_text("".join(json.dumps(event) + "\n" for event in events) + tail)


def step(number, loss):
    return {"event": "step", "time": 0.0, "step": number, "loss": loss}


def test_runs_and_steps_keep_what_is_missing_missing(tmp_path):
    """Through Parquet and back: a null is not a zero, and no plan is no planned cost."""
    paths = []
    for name, mfu in (("a", golden()["mfu"]), ("b", None)):
        result = a_result(id=f"{name}/d2/1x/seed0", variant=name, losses={"code": 2.0}, mfu=mfu)
        result.write(path := tmp_path / name / "result.json")
        write(path.parent / "events.jsonl", step(0, 5.0), step(1, None))
        paths.append(path)
    runs, steps = collect(paths)
    runs.to_parquet(tmp_path / "runs.parquet")
    first, second = (row for _, row in pd.read_parquet(tmp_path / "runs.parquet").iterrows())
    assert first["loss_code"] == 2.0 and first["mfu_median"] == golden()["mfu"]["median"]
    assert pd.isna(second["mfu_median"]) and pd.isna(second["planned_flops"])
    assert list(steps["variant"]) == ["a", "a", "b", "b"] and pd.isna(steps["loss"].iloc[1])
    assert read_runs(paths).equals(runs)


def test_planned_cost_goes_to_its_run(tmp_path):
    path = tmp_path / "result.json"
    a_result(id="mine").write(path)
    write(tmp_path / "events.jsonl", step(0, 5.0))
    runs, _ = collect([path], {"mine": 3e9, "other": 1.0})
    assert list(runs["planned_flops"]) == [3e9]


def test_a_broken_result_is_named(tmp_path):
    (tmp_path / "result.json").write_text('{"id": ')
    with pytest.raises(DocumentError, match=r"result.json: .*Invalid JSON.*run snakemake again"):
        collect([tmp_path / "result.json"])


def test_a_damaged_line_of_a_log_costs_that_line_and_a_warning(tmp_path):
    a_result().write(tmp_path / "result.json")
    write(tmp_path / "events.jsonl", step(0, 5.0), tail='{"ev\n')
    with pytest.warns(DamagedLog, match=r"events.jsonl: not a record, left out: line 2"):
        _, steps = collect([tmp_path / "result.json"])
    assert list(steps["loss"]) == [5.0]
