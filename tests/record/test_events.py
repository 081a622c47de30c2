"""The event log: append-only, tolerant of kills."""

import json
import subprocess
import sys

import pytest

from stepladder.record.events import EventLog, lost_seconds, read_events, read_steps


def test_cut_off_line_is_healed(tmp_path):
    path = tmp_path / "events.jsonl"
    EventLog(path).write("start")
    with path.open("a") as file:
        file.write('{"event": "step", "ste')
    assert [record["event"] for record in read_events(path)] == ["start"]
    EventLog(path).write("resume", step=3)
    assert [record["event"] for record in read_events(path)] == ["start", "resume"]


def test_repeated_steps_count_once(tmp_path):
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.write("start")
    log.write_many("step", [{"step": step, "loss": 9.0} for step in range(4)])
    log.write("start")  # trained again from the beginning: what was before does not count
    log.write_many("step", [{"step": step, "loss": 1.0} for step in range(3)])
    log.write("resume", step=1)
    log.write_many("step", [{"step": step, "loss": 2.0} for step in (1, 2)])
    assert [(r["step"], r["loss"]) for r in read_steps(path)] == [(0, 1.0), (1, 2.0), (2, 2.0)]


def test_damaged_line_is_named(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "start"}\nnonsense\n')
    with pytest.raises(ValueError, match=r"events.jsonl:2: not a JSON record"):
        read_events(path)


def test_missing_numbers_are_not_written_as_nan(tmp_path):
    with pytest.raises(ValueError):
        EventLog(tmp_path / "events.jsonl").write("step", loss=float("nan"))


def test_lost_seconds_leave_out_the_waiting(tmp_path):
    """Saved at 10, killed at 14; an attempt from 100 to 120 that saved nothing: 4 + 20 lost."""
    path = tmp_path / "events.jsonl"
    records = [
        {"event": "start", "time": 1, "began": 0},
        {"event": "step", "time": 9},
        {"event": "checkpoint", "time": 11},
        {"event": "step", "time": 14},
        {"event": "resume", "time": 103, "began": 100},
        {"event": "step", "time": 120},
    ]
    lines = [json.dumps(record) for record in records]
    path.write_text("\n".join(lines) + "\n")
    assert lost_seconds(path, saved=10) == 24


def test_reading_needs_no_torch():
    code = "import sys, stepladder.record.events; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
