"""The event log: append-only, tolerant of kills, and of one meaning for whoever reads it."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.record.events import (
    DamagedLog,
    EventLog,
    history,
    read_events,
    read_log,
    read_steps,
    read_tail,
    restarts,
    steps_done,
    steps_of,
    working_seconds,
)


def write(path, *events, tail=""):
    timed = [{"time": 0} | event for event in events]
    path.write_text("".join(json.dumps(event) + "\n" for event in timed) + tail)
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


def test_a_damaged_line_is_left_out_with_a_warning_that_names_it(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "start", "time": 1}\nnonsense\n')
    with pytest.warns(DamagedLog, match=r"events.jsonl: not a record, left out: line 2 \(not JSON\)"):
        assert [record["event"] for record in read_events(path)] == ["start"]


def test_many_damaged_lines_are_counted(tmp_path):
    path = write(tmp_path / "events.jsonl", {"event": "start"})
    path.write_text(5 * "x\n" + path.read_text())
    records, damage = read_log(path)
    assert len(records) == 1
    assert damage.endswith("line 3 (not JSON); and 2 more")


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
    whole, tail = read_events(path), read_tail(path, 235)
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


NO_RECORDS = {
    '{"ev': "not JSON",
    "[" * 10_000: "not JSON",
    "": "not JSON",
    "17": "it: ",
    "[]": "it: ",
    "null": "it: ",
    '"event"': "it: ",
    '{"step": 1, "time": 1}': "event: ",
    '{"event": "step", "step": 1}': "time: ",
    '{"event": 5, "time": 1}': "event: ",
    '{"event": "step", "time": 1}': "step: ",
    '{"event": "resume", "time": 1}': "no step",
    '{"event": "warning", "time": 1}': "no message",
    '{"event": "step", "time": 1, "step": -1}': "step is not between",
    '{"event": "step", "time": 1, "step": 1' + 40 * "0" + "}": "step is not between",
    '{"event": "step", "time": 1, "step": 1.5}': "step: ",
    '{"event": "step", "time": 1, "step": "1"}': "step: ",
    '{"event": "step", "time": 1, "step": true}': "step: ",
    '{"event": "step", "time": 1, "step": 1, "loss": "low"}': "loss: ",
    '{"event": "step", "time": 1, "step": 1, "loss": NaN}': "loss: ",
    '{"event": "start", "time": 1e999}': "time: ",
    '{"event": "start", "time": 1, "spec_sha256": 3}': "spec_sha256: ",
    "\udcff\x00": "not JSON",
}
"""Line to the reason why it is no record."""


@pytest.mark.parametrize("line", NO_RECORDS)
def test_a_line_that_is_no_record_is_left_out_by_all_readers(line, tmp_path):
    path = tmp_path / "events.jsonl"
    whole = '{"event": "start", "time": 1}\n', '{"event": "step", "time": 2, "step": 1}\n'
    content = f"{whole[0]}{line}\n{whole[1]}".encode(errors="surrogateescape")
    path.write_bytes(content)
    records, damage = read_log(path)
    assert [record["event"] for record in records] == ["start", "step"]
    assert f"line 2 ({NO_RECORDS[line]}" in damage
    assert read_tail(path) == records


@given(st.binary(max_size=200))
def test_no_bytes_in_a_log_keep_its_records_from_being_read(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    path.write_bytes(b'{"event": "start", "time": 1}\n' + content + b'\n{"event": "end", "time": 2}\n')
    records, _ = read_log(path)
    assert (records[0]["event"], records[-1]["event"]) == ("start", "end")
    steps_of(records), steps_done(records), restarts(records), working_seconds(records)


def test_of_one_kind_only_the_lines_that_may_be_it_are_parsed(tmp_path):
    path = tmp_path / "events.jsonl"
    warning, end = {"event": "warning", "message": 'the "end"'}, {"event": "end"}
    write(path, warning, tail=f'{{"ev\n{json.dumps(end | {"time": 3})}\n{{"event": "en')
    assert read_events(path, "end") == [{"event": "end", "time": 3}]


def test_reading_needs_no_torch():
    code = "import sys, stepladder.record.events; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
