"""The event log: append-only, tolerant of kills, and of one meaning for whoever reads it."""

import json
import subprocess
import sys

import pytest

from stepladder.record.events import (
    EventLog,
    history,
    read_events,
    read_steps,
    read_tail,
    restarts,
    steps_done,
    steps_of,
    working_seconds,
)


def write(path, *events, tail=""):
    path.write_text("".join(json.dumps(event) + "\n" for event in events) + tail)
    return path


def step(number, loss):
    return {"event": "step", "step": number, "loss": loss}


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
    with pytest.raises(ValueError, match=r"events.jsonl, line 2: not a JSON record"):
        read_events(path)


def test_missing_numbers_are_not_written_as_nan(tmp_path):
    with pytest.raises(ValueError):
        EventLog(tmp_path / "events.jsonl").write("step", loss=float("nan"))


def test_working_seconds_leave_out_the_waiting():
    """Saved at 10, killed at 14; an attempt from 100 to 120 that saved nothing: 4 + 20 lost."""
    records = [
        {"event": "start", "time": 1, "began": 0},
        {"event": "step", "time": 9},
        {"event": "checkpoint", "time": 11},
        {"event": "step", "time": 14},
        {"event": "resume", "time": 103, "began": 100},
        {"event": "step", "time": 120},
    ]
    assert working_seconds(records, since=10) == 24
    assert working_seconds(records) == 14 + 20
    assert working_seconds(records[1:]) == 5 + 20  # of a tail, from its first record on
    assert working_seconds([], since=10) == working_seconds(records, since=120) == 0


KILLED_TWICE = (
    {"event": "start"},
    step(0, 5.0),
    step(10, 4.0),
    {"event": "start"},
    step(0, 5.0),
    step(10, 4.0),
    step(20, 3.0),
    {"event": "resume", "step": 10},
    step(10, 4.5),
)


def test_steps_after_the_checkpoint_of_a_resume_are_those_trained_again(tmp_path):
    path = write(tmp_path / "events.jsonl", *KILLED_TWICE, tail='{"event": "step", "st')
    assert [(r["step"], r["loss"]) for r in read_steps(path)] == [(0, 5.0), (10, 4.5)]


def test_a_tail_means_what_the_whole_means(tmp_path):
    """As far as it reaches: here to the second step after the newest start."""
    path = write(tmp_path / "events.jsonl", *KILLED_TWICE)
    whole, tail = read_events(path), read_tail(path, 190)
    assert len(tail) == 4 and tail == whole[-len(tail) :]
    assert history(tail) == tail and len(history(whole)) == 6
    assert (steps_done(tail), restarts(tail)) == (steps_done(whole), restarts(whole)) == (11, 1)
    assert steps_of(tail) == steps_of(whole)[-len(steps_of(tail)) :]
    assert read_tail(path) == whole
    assert read_tail(tmp_path / "missing") == []


def test_steps_done_are_those_of_the_newest_attempt():
    assert steps_done([{"event": "start"}]) == 0
    assert steps_done([{"event": "start"}, {"event": "phase", "step": 3}]) == 3
    late = [step(8, 1.0), {"event": "checkpoint", "step": 5}, {"event": "spike", "step": 7}]
    assert steps_done([{"event": "start"}, *late]) == 9  # said late: of steps before the last
    assert steps_done([{"event": "start"}, *late, {"event": "resume", "step": 5}]) == 5


def test_a_run_that_started_anew_forgets_its_first_attempt(tmp_path):
    events = [{"event": "start"}, step(0, 5.0), step(7, 4.0), {"event": "start"}, step(0, 5.5)]
    path = write(tmp_path / "events.jsonl", *events)
    assert [(r["step"], r["loss"]) for r in read_steps(path)] == [(0, 5.5)]


def test_a_log_without_its_start_is_read_from_its_begin(tmp_path):
    path = write(tmp_path / "events.jsonl", step(0, 5.0), step(1, None))
    assert [r["loss"] for r in read_steps(path)] == [5.0, None]


@pytest.mark.parametrize("line", ['{"ev', "17", "[]", '"event"', '{"step": 1}', ""])
def test_a_line_that_is_no_record_is_named_and_a_tail_passes_over_it(line, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text(f'{{"event": "start"}}\n{line}\n{{"event": "step", "step": 1}}\n')
    with pytest.raises(ValueError, match=r"events.jsonl, line 2: not a JSON record"):
        read_steps(path)
    assert [record["event"] for record in read_tail(path)] == ["start", "step"]


def test_of_one_kind_only_the_lines_that_may_be_it_are_parsed(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "warning", "message": "the \\"end\\""}\n{"ev\n{"event": "end"}\n{"event": "en')
    assert read_events(path, "end") == [{"event": "end"}]


def test_reading_needs_no_torch():
    code = "import sys, stepladder.record.events; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
