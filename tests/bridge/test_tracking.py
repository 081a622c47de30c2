"""What is done about a job, from its state and its record."""

import pytest

from snakemake_executor_plugin_submitit.records import Record
from snakemake_executor_plugin_submitit.resources import Shape
from snakemake_executor_plugin_submitit.states import State
from snakemake_executor_plugin_submitit.submissions import Entry, Submission
from snakemake_executor_plugin_submitit.tracking import Ready, Tracked, Verdict, judge


@pytest.fixture
def job(tmp_path):
    """A submitted job whose record a test can write."""
    entry = Entry("train", ["out"], "digest", str(tmp_path / "0.jsonl"))
    submission = Submission(tmp_path, "shape", [entry], job_id="7")
    return Tracked(Ready(None, "train", Shape(60), ["true"], True, "digest"), submission, 0)


def decide(job, name, times=1, now=0.0, **fields):
    """The verdict after this state was seen `times` times."""
    state = None if name is None else State(name, **fields)
    return [judge(job, state, now, patience=100.0)[0] for _ in range(times)][-1]


def write_progress(job, text):
    job.record.progress_path.write_text(text)


@pytest.mark.parametrize("name", ["PENDING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED", "CONFIGURING"])
def test_alive(job, name):
    assert decide(job, name) is Verdict.WAIT


def test_done(job):
    assert decide(job, "COMPLETED") is Verdict.SUCCEEDED


@pytest.mark.parametrize("name", ["CANCELLED", "NODE_FAIL", "FAILED", "TIMEOUT"])
def test_what_hits_a_job_after_its_command_is_done_does_not_matter(job, name):
    job.record.write("start")
    job.record.write("end", exit=0)
    assert decide(job, name) is Verdict.SUCCEEDED


@pytest.mark.parametrize("name", ["FAILED", "OUT_OF_MEMORY", "CANCELLED", "DEADLINE", "TIMEOUT"])
def test_failed(job, name):
    job.record.write("start")
    assert decide(job, name) is Verdict.FAILED


@pytest.mark.parametrize("name", ["PREEMPTED", "NODE_FAIL", "BOOT_FAIL"])
def test_an_interruption_is_believed_when_it_is_seen_twice(job, name):
    assert decide(job, name) is Verdict.WAIT
    assert decide(job, name) is Verdict.RESUBMIT


def test_an_interruption_that_slurm_mends_is_none(job):
    assert decide(job, "NODE_FAIL") is Verdict.WAIT
    assert decide(job, "PENDING") is Verdict.WAIT
    assert decide(job, "NODE_FAIL") is Verdict.WAIT


@pytest.mark.parametrize(("status", "stopping"), [(75, ""), (143, "terminated"), (1, "terminated")])
def test_saved_or_terminated_goes_on(job, status, stopping):
    job.record.write("start")
    job.record.write("end", exit=status, stopping=stopping)
    assert decide(job, "FAILED", times=2) is Verdict.RESUBMIT


@pytest.mark.parametrize(("name", "stopping"), [("FAILED", ""), ("TIMEOUT", "terminated")])
def test_a_failing_rank_or_a_time_limit_is_a_failure_though_sigterm_ended_it(job, name, stopping):
    job.record.write("start")
    job.record.write("end", exit=143, stopping=stopping)
    assert decide(job, name, times=2) is Verdict.FAILED


def test_an_attempt_that_found_another_running_is_not_a_failure(job):
    job.record.write("start")
    job.record.write("blocked")
    assert decide(job, "FAILED", times=2) is Verdict.RESUBMIT


def test_a_time_limit_after_progress_goes_on(job):
    job.record.write("start")
    write_progress(job, "step 5")
    assert decide(job, "TIMEOUT", times=2) is Verdict.RESUBMIT


def test_a_cancelled_job_is_not_restarted_though_it_saved(job):
    job.record.write("start")
    job.record.write("end", exit=75)
    assert decide(job, "CANCELLED", times=2) is Verdict.FAILED


def test_the_record_speaks_for_forgotten_jobs(job):
    job.record.write("start")
    job.record.write("end", exit=0)
    assert decide(job, None) is Verdict.SUCCEEDED


def test_a_running_job_that_slurm_forgot_is_waited_for(job):
    job.record.write("start")
    with job.record.lock():
        assert decide(job, None, now=0.0) is Verdict.WAIT
        assert decide(job, None, now=1e6) is Verdict.WAIT


def test_without_any_trace_a_job_is_lost_after_a_while(job):
    assert decide(job, None, now=0.0) is Verdict.WAIT
    assert decide(job, None, now=99.0) is Verdict.WAIT
    assert decide(job, None, now=101.0, times=2) is Verdict.RESUBMIT


def test_restarts_are_counted_from_the_last_progress(tmp_path):
    record = Record(tmp_path / "0.jsonl")
    assert record.stalled_restarts() == 0
    for count in range(4):
        record.write("start")
        assert record.stalled_restarts() == count
    record.progress_path.write_text("step 1")
    assert record.stalled_restarts() == 0
    record.write("resubmit")
    assert record.stalled_restarts() == 1
