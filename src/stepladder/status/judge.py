"""From facts about a run to where it stands. Pure."""

from __future__ import annotations

from dataclasses import replace

from snakemake_executor_plugin_submitit.payload import EXIT_SAVED, EXIT_STALLED
from snakemake_executor_plugin_submitit.states import EXPLAINED, INTERRUPTED
from stepladder.record.plan import PlannedRun
from stepladder.record.result import Result
from stepladder.record.spec import RecipeSpec, RunSpec
from stepladder.status.model import Facts, Job, Log, RunState, RunStatus

SILENT_SECONDS = 120.0
"""A run whose log is silent for this long does not run, as far as files can tell. It logs every 5 s, but not
during evaluation."""
OVER_SECONDS = 20.0
"""The same where Slurm says that the job is over: then only something else can be writing."""


def judge(spec: RunSpec, planned: PlannedRun, facts: Facts, now: float) -> RunStatus:
    """Where a run stands.

    Args:
        planned: the run's row in the plan.
        now: Unix seconds.
    """
    state, reason = _state(spec, facts, now)
    run = RunStatus(
        id=spec.id,
        rung=spec.rung,
        variant=spec.variant,
        state=state,
        reason=reason,
        planned_hours=planned.accelerator_hours,
        accelerators=planned.accelerators,
        steps=spec.recipe.steps,
        passes=planned.passes,
        passes_by_domain=planned.passes_by_domain,
    )
    if facts.result is not None and state == "done":
        return _with_result(run, facts.result)
    return _with_job(_with_log(run, spec, facts.log), facts)


def _state(spec: RunSpec, facts: Facts, now: float) -> tuple[RunState, str]:
    """The state and why. A result of this spec settles it, then a job in the queue, then the log."""
    log, job = facts.log, facts.job
    if facts.result is not None and facts.result.spec_sha256 == spec.sha256:
        return "done", ""
    if job is not None and job.state is not None and job.state.alive:
        return _alive(job)
    if _writes(log, job, now) or _starts(log, job, now):
        return "running", ""
    if job is not None and _failed(job) and not _newer(log, job):
        return "failed", _why(job)
    if log is not None and log.gave_up:
        return "failed", log.gave_up
    if facts.result is not None:
        return "stale", "its result is of another spec: the ladder file or the training code has changed"
    if log is not None and log.last != "end":
        return "stopped", _interruption(log, job)
    return "pending", _why_not_begun(facts)


def _alive(job: Job) -> tuple[RunState, str]:
    assert job.state is not None
    if job.state.pending:
        return "pending", job.state.reason or job.state.name
    return "running", "" if job.state.name == "RUNNING" else job.state.name


def _writes(log: Log | None, job: Job | None, now: float) -> bool:
    """Whether the log is still being written."""
    if log is None or log.last in ("stopped", "end") or log.gave_up:
        return False
    if job is not None and job.ended is not None and job.ended >= log.time:
        return False
    over = job is not None and job.state is not None
    return now - log.time < (OVER_SECONDS if over else SILENT_SECONDS)


def _starts(log: Log | None, job: Job | None, now: float) -> bool:
    """Whether a job that Slurm says nothing about began just now and has not logged yet."""
    if job is None or job.state is not None or job.started is None or job.ended is not None:
        return False
    return (log is None or log.time < job.started) and now - job.started < SILENT_SECONDS


def _failed(job: Job) -> bool:
    """Whether the job ended by a fault of its own: not interrupted, and not stopped after saving."""
    status = _exit_status(job)
    if job.state is None:
        return status not in (None, 0, EXIT_SAVED)
    if job.state.name in INTERRUPTED | {"COMPLETED", "CANCELLED"} or status == EXIT_SAVED:
        return False
    return not (job.state.name == "TIMEOUT" and job.ended is None and job.saved)


def _newer(log: Log | None, job: Job) -> bool:
    """Whether the run went on, somewhere else, after the job had ended."""
    return log is not None and job.ended is not None and log.time > job.ended


def _exit_status(job: Job) -> int | None:
    if job.ended is not None:
        return job.exit_status
    return job.state.exit_status if job.state is not None else None


def _why(job: Job) -> str:
    """One line on why a job failed."""
    if _exit_status(job) == EXIT_STALLED:
        return "restarted too often without progress"
    explained = EXPLAINED.get(job.state.name, "") if job.state is not None else ""
    return explained or job.why or "its log says nothing"


def _interruption(log: Log, job: Job | None) -> str:
    """What is known of a run that no longer goes on and did not fail: how its log ends, and Slurm's word."""
    how = (
        "asked to stop, and saved"
        if log.last == "stopped"
        else "its log fell silent (killed, machine down, or in a long evaluation)"
    )
    return f"{how}; {_word(job)}" if job is not None and job.id is not None else how


def _word(job: Job) -> str:
    """What Slurm says of a job that is over."""
    if job.state is not None:
        return f"job {job.id} {job.state.name}"
    return f"Slurm no longer knows job {job.id}" if job.answered else f"job {job.id}, Slurm's word is missing"


def _why_not_begun(facts: Facts) -> str:
    job, notes = facts.job, []
    if facts.log is not None:
        notes.append("its result was removed")
    if facts.outdated:
        notes.append("files of another spec will be moved aside")
    if job is None or job.state is not None or job.answered or job.ended is not None:
        notes.insert(0, "not submitted")
        notes += [_word(job)] if job is not None and job.state is not None else []
    elif job.id is None:
        notes.insert(0, "written down for submission, no job id yet")
    else:
        notes.insert(0, "submitted, Slurm's word is missing")
    return "; ".join(notes)


def _with_result(run: RunStatus, result: Result) -> RunStatus:
    """What the run cost and reached."""
    return replace(
        run,
        used_hours=result.seconds.total * run.accelerators / 3600,
        share_done=1.0,
        steps_done=run.steps,
        tokens_per_second=result.tokens_per_second,
        mfu=result.mfu.median if result.mfu else None,
        loss=result.loss,
        passes=result.passes if result.passes is not None else run.passes,
        passes_by_domain=result.passes_by_domain or run.passes_by_domain,
        restarts=result.restarts,
    )


def _with_log(run: RunStatus, spec: RunSpec, log: Log | None) -> RunStatus:
    """Progress, rates and time used of a run that is not done; nothing of one that will start over."""
    if log is None or run.state == "stale" or log.last == "end":
        return run
    positions = positions_of(spec.recipe, log.steps_done)
    running = run.state == "running"
    rate = log.positions_per_second if running else None
    return replace(
        run,
        used_hours=log.seconds * run.accelerators / 3600,
        share_done=positions / spec.recipe.positions,
        steps_done=log.steps_done,
        tokens_per_second=log.tokens_per_second if running else None,
        mfu=log.mfu if running else None,
        eta_seconds=(spec.recipe.positions - positions) / rate if rate else None,
        restarts=log.resumes,
        last_event=log.time,
    )


def _with_job(run: RunStatus, facts: Facts) -> RunStatus:
    """Where it runs or ran, and how that ended."""
    job = facts.job
    if job is None:
        return run
    resumes = facts.log.resumes if facts.log is not None else 0
    return replace(
        run,
        node=(job.state.node if job.state is not None else "") or job.node,
        job=job.id,
        slurm_state=job.state.name if job.state is not None else None,
        restarts=max(job.starts - 1, resumes, 0),
        exit_status=_exit_status(job) if run.state == "failed" else None,
        log=job.log or None,
    )


def positions_of(recipe: RecipeSpec, steps: int) -> int:
    """Positions that the first `steps` steps of a recipe process."""
    positions = 0
    for phase in recipe.phases:
        taken = min(phase.steps, steps)
        positions += taken * phase.sequences * phase.positions
        steps -= taken
    return positions
