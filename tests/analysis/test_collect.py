"""Event logs of runs that were killed and resumed."""

import json

import pytest

from stepladder.analysis.collect import flatten, read_steps


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
