"""Where runs stand, from facts about them; and a whole ladder from its files."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from checkpoint_states import checkpoint_state
from golden import a_result, golden
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from snakemake_executor_plugin_submitit.states import State
from stepladder.record.events import EventLog
from stepladder.record.paths import RunFolder
from stepladder.record.plan import PlannedRun
from stepladder.status.files import read_log, read_result
from stepladder.status.judge import judge
from stepladder.status.model import STATES, Facts, Job, Log, RunStatus
from stepladder.status.show import render
from stepladder.status.summary import summarise

NOW = 10_000.0
PLANNED = PlannedRun.model_construct(accelerator_hours=2.0, accelerators=4)
LOG = Log(
    time=NOW - 5,
    last="step",
    steps_done=6,
    seconds=1800.0,
    resumes=1,
    tokens_per_second=1000.0,
    positions_per_second=64.0,
    mfu=0.4,
    gave_up=None,
)
JOB = Job(id="7_1", log="x.log", answered=True, starts=2, node="n1", started=NOW - 50)


def state_of(spec, **facts):
    run = judge(spec, PLANNED, Facts(**facts), NOW)
    return run.state, run.reason


@pytest.fixture
def spec(make_run):
    return make_run(steps=12)


def test_running(spec):
    run = judge(spec, PLANNED, Facts(log=LOG, job=replace(JOB, state=State("RUNNING", node="n1"))), NOW)
    assert (run.state, run.steps_done, run.node, run.job, run.restarts) == ("running", 6, "n1", "7_1", 1)
    assert run.used_hours == pytest.approx(1800 * 4 / 3600)
    assert run.eta_seconds == pytest.approx(6 * 4 * 16 / 64.0)  # 6 steps of 4 x 16 positions at 64 per second


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ("pending", "not submitted")),
        ({"job": replace(JOB, state=State("PENDING", "Priority"))}, ("pending", "Priority")),
        ({"log": LOG}, ("running", "")),
        (
            {"log": replace(LOG, time=NOW - 500)},
            ("stopped", "its log fell silent (killed, machine down, or in a long evaluation)"),
        ),
        ({"log": replace(LOG, last="stopped")}, ("stopped", "asked to stop, and saved")),
        (
            {"log": replace(LOG, last="stopped"), "job": replace(JOB, state=State("CANCELLED"))},
            ("stopped", "asked to stop, and saved; job 7_1 CANCELLED"),
        ),
        (
            {"log": replace(LOG, time=NOW - 500, gave_up="loss nan at step 3")},
            ("failed", "loss nan at step 3"),
        ),
        (
            {"job": replace(JOB, state=State("OUT_OF_MEMORY"), ended=NOW - 9, exit_status=137)},
            ("failed", "out of memory: raise the resource mem_mb"),
        ),
        (
            {"job": replace(JOB, state=State("FAILED"), ended=NOW - 9, exit_status=1, why="KeyError: 'x'")},
            ("failed", "KeyError: 'x'"),
        ),
        (
            {"job": replace(JOB, ended=NOW - 9, exit_status=76)},
            ("failed", "restarted too often without progress"),
        ),
        ({"result": a_result(spec_sha256="other")}, None),
    ],
)
def test_states(spec, facts, expected):
    state = state_of(spec, **facts)
    assert state == expected if expected else state[0] == "stale"


def test_done_needs_this_very_spec(spec):
    seconds, mfu = golden()["seconds"] | {"total": 3600.0}, golden()["mfu"] | {"median": 0.4}
    result = a_result(
        spec_sha256=spec.sha256, seconds=seconds, loss=2.5, tokens_per_second=1e3, mfu=mfu, restarts=0
    )
    run = judge(spec, PLANNED, Facts(result=result, log=LOG), NOW)
    assert (run.state, run.loss, run.used_hours) == ("done", 2.5, 4.0)
    assert (run.tokens_per_second, run.mfu, run.restarts) == (1000.0, 0.4, 0)
    unknown = judge(spec, PLANNED, Facts(result=result.model_copy(update={"mfu": None})), NOW)
    assert (unknown.state, unknown.mfu) == ("done", None)


def test_a_job_that_saved_is_not_failed(spec):
    job = replace(JOB, state=State("FAILED"), ended=NOW - 9, exit_status=75)
    assert state_of(spec, log=replace(LOG, last="stopped", time=NOW - 9), job=job)[0] == "stopped"


def test_repeated_text_shows(spec):
    known = PLANNED.model_copy(update={"passes": 2.5})
    once = judge(spec, PLANNED.model_copy(update={"passes": 1.0}), Facts(), NOW)
    again = judge(spec, known, Facts(log=LOG), NOW)
    told = [{}, {"passes": 3.0}]  # results of older versions do not say
    done = [judge(spec, known, Facts(result=a_result(spec_sha256=spec.sha256, **own)), NOW) for own in told]
    assert [run.passes for run in (once, again, *done)] == [1.0, 2.5, 2.5, 3.0]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(summarise("l", 1, [once, again], NOW, None), every_run=True))
    told = console.export_text()
    assert told.count("2.50 passes over its text") == 1
    assert "1 of 2 runs read their text more than once, up to 2.50 times" in told


def test_runs_that_stopped_say_how_since_when_and_what_to_do(spec):
    killed = [judge(spec, PLANNED, Facts(log=replace(LOG, time=NOW - age)), NOW) for age in (600, 900)]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(summarise("l", 1, killed, NOW, None)))
    told = console.export_text(clear=False)
    assert (
        "stopped 2 runs: its log fell silent (killed, machine down, or in a long evaluation); "
        "last sign of life 10.0 min ago; the next `snakemake` goes on from what was saved" in told
    )
    assert " Acc.-hours" in told and "Accelerator-hours used so far, and planned." in told
    console.print(render(summarise("l", 1, killed[:1], NOW, None), every_run=True))
    assert "last sign of life 10.0 min ago" in console.export_text()


def test_a_narrow_terminal_leaves_the_plan_out_rather_than_cut_figures(spec):
    """Four columns of states in 80 characters."""
    one = judge(spec, PLANNED, Facts(), NOW)
    states = ("done", "pending", "stopped", "failed")
    every = [replace(one, variant="dense-baseline", state=state, used_hours=0.0123) for state in states]
    for width, planned in ((80, 0), (100, 1)):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(render(summarise("l", 1, every, NOW, None)))
        told = console.export_text()
        assert told.count("Planned") == planned and "0.0492" in told and "Acc.-hours" in told


runs = st.builds(
    RunStatus,
    id=st.just("dense/d1"),
    rung=st.sampled_from(["d1", "d2"]),
    variant=st.sampled_from(["a", "b"]),
    state=st.sampled_from(STATES),
    reason=st.sampled_from(["", "Priority"]),
    planned_hours=st.floats(0.1, 10),
    used_hours=st.floats(0, 10),
    share_done=st.floats(0, 1),
    accelerators=st.integers(1, 8),
    steps=st.integers(1, 100),
    eta_seconds=st.none() | st.floats(0, 1000),
    mfu=st.none() | st.floats(0, 1),
)


@given(
    st.lists(runs, min_size=1), st.sampled_from([None, "Slurm does not answer"]), st.sampled_from([40, 200])
)
def test_counts_sum_to_the_runs_and_anything_can_be_shown(every, slurm, width):
    status = summarise("l", 1, every, NOW, slurm)
    assert sum(status.total.counts.values()) == len(every) == status.total.runs
    assert sum(sum(row.counts.values()) for row in status.rows) == len(every)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render(status, every_run=True))
    assert "l v1" in console.export_text()


def test_only_the_end_of_a_long_log_is_read(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.write("start", began=0.0)
    step = {"tokens_per_second": 5.0, "positions_per_second": 5.0, "mfu": None}
    log.write_many("step", [{"step": number, **step} for number in range(20_000)])
    log.close()
    read = read_log(RunFolder(tmp_path))
    assert (read.steps_done, read.last, read.tokens_per_second, read.mfu) == (20_000, "step", 5.0, None)


def test_rates_of_steps_that_a_kill_threw_away_do_not_count(tmp_path):
    """Steps 0 to 3, saved after 2, killed; the run went on from there at another speed."""
    log = EventLog(tmp_path / "events.jsonl")
    log.write("start", began=0.0)
    slow, fast = ({"tokens_per_second": rate, "positions_per_second": rate} for rate in (1.0, 9.0))
    log.write_many("step", [{"step": step, **slow} for step in range(4)])
    log.write("resume", step=2)
    log.write_many("step", [{"step": step, **fast} for step in (2, 3, 4)])
    read = read_log(RunFolder(tmp_path))
    assert (read.steps_done, read.resumes, read.tokens_per_second) == (5, 1, 9.0)


def test_broken_files_are_no_end_of_a_status(tmp_path):
    """A damaged line is passed over, and a damaged result is as none."""
    log = tmp_path / "events.jsonl"
    log.write_text(
        '{"event": "start", "time": 5.0}\nnonsense\n{"event": "step", "time": 7.0, "step": 3}\n{"ev'
    )
    assert read_log(RunFolder(tmp_path)).steps_done == 4
    (tmp_path / "result.json").write_text('{"id": "half')
    assert read_result(tmp_path / "result.json") is None
    assert read_result(tmp_path / "missing.json") is None
    a_result(loss=1.5).write(tmp_path / "result.json")
    assert read_result(tmp_path / "result.json").loss == 1.5


def test_time_worked_goes_on_from_the_newest_complete_checkpoint(tmp_path):
    """100 s of work were saved at 50; the log went on to 58, then an attempt worked from 90 to 95."""
    events = [
        {"event": "start", "time": 1.0, "began": 0.0},
        {"event": "step", "time": 58.0, "step": 7},
        {"event": "resume", "time": 91.0, "began": 90.0, "step": 5},
        {"event": "step", "time": 95.0, "step": 5},
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    for step, files in ((5, ("state.json", "manifest.json")), (8, ("state.json",))):
        folder = tmp_path / "checkpoints" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        for name in files:
            (folder / name).write_text(json.dumps(checkpoint_state(step, total=20.0 * step, time=50.0)))
    assert read_log(RunFolder(tmp_path)).seconds == 100 + 8 + 5


def test_a_climbed_ladder(climbed):
    command = [sys.executable, "-m", "stepladder.cli", "status", "smoke"]
    shown = subprocess.run(command, cwd=climbed.folder, capture_output=True, text=True)
    assert shown.returncode == 0 and "16/16" in shown.stdout, shown.stderr
    text = subprocess.run([*command, "--json"], cwd=climbed.folder, capture_output=True, text=True).stdout
    status = json.loads(text)
    assert {run["state"] for run in status["runs"]} == {"done"}
    assert status["total"]["used_hours"] > 0
