"""The executor: takes ready jobs from Snakemake's scheduler, submits them, and says how they ended.

Two threads call it: the scheduler's (`run_jobs`, `cancel_jobs`) and the one that waits for jobs
(`check_active_jobs`). Both hold `_busy` while they talk to the cluster.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_submitit import commands, submissions
from snakemake_executor_plugin_submitit.clusters import (
    CLUSTERS,
    Cluster,
    ClusterBusy,
    QueueFull,
    SubmissionRefused,
)
from snakemake_executor_plugin_submitit.failures import describe
from snakemake_executor_plugin_submitit.payload import Payload
from snakemake_executor_plugin_submitit.resources import BadResources, Shape
from snakemake_executor_plugin_submitit.states import INTERRUPTED, QueueUnreachable, State
from snakemake_executor_plugin_submitit.submissions import Entry, Submission, as_json
from snakemake_executor_plugin_submitit.takeover import take_over
from snakemake_executor_plugin_submitit.tracking import Ready, Tracked, Verdict, judge

Answer = TypeVar("Answer")
_NEEDS_HELP = re.compile(r"held|NeverSatisfied|BadConstraints", re.IGNORECASE)
"""Slurm's reasons for which a job waits until a person does something."""
QUERY_PAUSE = 10
"""The time between two queries is at least this many times what a query took: 10 % of the head at most."""
LONGEST_PAUSE = 120.0
"""Seconds; however slow the controller is, it is asked that often."""
LOST_POLLS = 4
"""After this many of the longest poll times without a trace in queue, accounting or record, a job is lost and
submitted again. Should it turn up after all, its record's lock and end keep it from running twice."""


class Executor(RemoteExecutor):  # type: ignore[misc]  # the interface has no types
    """Snakemake's jobs as submitit jobs."""

    def __post_init__(self) -> None:
        self.settings = self.workflow.executor_settings
        self._cluster: Cluster | None = None
        self._busy = threading.RLock()
        self._tracked: dict[str, Tracked] = {}  # Snakemake's own list is empty while a check goes on
        self._cancelled = False
        self._waiting: list[tuple[Submission, list[Ready]]] = []
        self._retry_at = 0.0
        self._unreachable = False
        self._folder_lock: IO[bytes] | None = None
        self.next_seconds_between_status_checks = self.settings.poll_seconds

    @property
    def cluster(self) -> Cluster:
        assert self._cluster is not None, "set before the first submission"
        return self._cluster

    # The scheduler's thread

    def run_job(self, job: JobExecutorInterface) -> None:
        self.run_jobs([job])

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Take over jobs that an earlier head submitted, and submit the others, equal shapes as arrays."""
        if self._cluster is None:
            self._begin()
        with self._busy:
            fresh = self._take_over(list(filter(None, map(self._make_ready, jobs))))
            for one in fresh:
                self.run_job_pre(one.job)
            self._submit_by_shape(fresh)
        self.next_seconds_between_status_checks = self.settings.poll_seconds

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """scancel everything, in a few calls."""
        if self._cluster is None:
            return
        with self._busy:
            self._cancelled = True
            self._waiting.clear()
            self.cluster.cancel(list(self._tracked))

    def _begin(self) -> None:
        """Before the first submission: what could go wrong in hours is refused now."""
        name = self.settings.cluster
        if name not in CLUSTERS:
            raise WorkflowError(f"--submitit-cluster {name}: must be one of {', '.join(CLUSTERS)}")
        cluster = CLUSTERS[name](self.settings)
        self._hold_folder()
        for job in self.workflow.dag.needrun_jobs():
            if not job.is_local and not job.is_group() and _resources_are_known(job):
                self._shape(job, cluster)
        submissions.clean_up(self.settings.log_days or 0)
        self._cluster = cluster

    def _hold_folder(self) -> None:
        """One head per folder. The lock ends with the process, so a killed head leaves none behind."""
        submissions.ROOT.mkdir(parents=True, exist_ok=True)
        file = (submissions.ROOT / "head.lock").open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().decode(errors="replace").strip()
            raise WorkflowError(
                f"another Snakemake drives the jobs of this folder ({holder}): let it work, or stop it first"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {os.uname().nodename}\n".encode())
        file.flush()
        self._folder_lock = file

    def _shape(self, job: JobExecutorInterface, cluster: Cluster) -> Shape:
        resources = dict(job.resources.items())
        try:
            shape = Shape.of(resources, job.threads, signal_seconds=self.settings.signal_seconds)
            cluster.check(shape)
        except BadResources as error:
            raise WorkflowError(f"{_describe_job(job)}: {error}") from None
        return shape

    def _make_ready(self, job: JobExecutorInterface) -> Ready | None:
        """What to submit; None for a job whose resources turn out impossible: only that job fails."""
        try:
            shape = self._shape(job, self.cluster)
        except WorkflowError as error:
            self.report_job_error(SubmittedJobInfo(job), msg=f"{error}\n")
            return None
        direct = None if self.settings.inner_snakemake else commands.direct_command(job)
        command = direct or ["bash", "-c", self.format_job_exec(job)]
        identity = as_json(direct) if direct else commands.identity(job)
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return Ready(job, _describe_job(job), shape, command, direct is not None, digest)

    def _take_over(self, ready: list[Ready]) -> list[Ready]:
        """Follow jobs that an earlier head submitted and that are alive or done; returns the others."""
        found = take_over(
            ready,
            self.cluster,
            self.workflow.persistence,
            query=lambda job_ids: self._insist(lambda: self.cluster.query(job_ids)),
            find=lambda submission: self._insist(lambda: self.cluster.find(submission)),
        )
        for tracked in (*found.alive, *found.ended):
            self._track(tracked)
        if found.alive or found.ended:
            self.logger.info(
                f"Reattached to {len(found.alive)} jobs that are still queued or running, "
                f"collecting {len(found.ended)} that ended meanwhile."
            )
        if found.outdated:
            self.cluster.cancel(found.outdated)
            self.logger.info(
                f"Cancelled {len(found.outdated)} earlier jobs whose command or resources have changed."
            )
        return found.others

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        """An answer, however long the controller takes: submitting unasked might run jobs twice."""
        while True:
            try:
                return ask()
            except QueueUnreachable as error:
                self.logger.warning(f"Waiting for Slurm before going on with earlier jobs: {error}")
                time.sleep(self.settings.max_poll_seconds)

    # Both threads

    def _submit_by_shape(self, ready: list[Ready]) -> None:
        """Equal shapes together, in arrays no larger than allowed."""
        by_shape: dict[Shape, list[Ready]] = defaultdict(list)
        for one in ready:
            by_shape[one.shape].append(one)
        for group in by_shape.values():
            size = self.cluster.array_size
            for start in range(0, len(group), size):
                self._submit(group[start : start + size])

    def _submit(self, chunk: list[Ready]) -> None:
        """Write the submission down, mark its jobs, send it."""
        names = sorted({one.job.name for one in chunk})
        entries = [
            Entry(one.name, [str(file) for file in one.job.output], one.digest, one.record) for one in chunk
        ]
        name = names[0] if len(names) == 1 else "jobs"
        submission = Submission.create(name, repr(chunk[0].shape), entries, self.cluster.name)
        for index, one in enumerate(chunk):
            one.job.register(external_jobid=submission.marker(index))
        self._send(submission, chunk)

    def _send(self, submission: Submission, chunk: list[Ready], again: bool = False) -> None:
        payloads = [self._payload(one, submission, index) for index, one in enumerate(chunk)]
        name = submission.folder.name.split("-", 2)[2].rsplit("-", 1)[0]
        try:
            submission.job_id = self.cluster.submit(submission, chunk[0].shape, payloads, name)
        except ClusterBusy as error:
            self._wait_with(submission, chunk, error)
            return
        except QueueFull as error:
            if len(chunk) > 1 and (again or not self._tracked):  # perhaps a smaller array fits
                for half in (chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]):
                    self._submit(half)
            elif self._tracked:
                self._wait_with(submission, chunk, error)
            else:  # nothing of ours is in the queue, so waiting would not help
                self._refuse(chunk, error)
            return
        except SubmissionRefused as error:
            self._refuse(chunk, error)
            return
        submission.save()
        self.logger.info(
            f"Submitted {len(chunk)} jobs as {self.cluster.name} job {submission.job_id}; "
            f"logs in {submission.folder}"
        )
        for index, one in enumerate(chunk):
            self._track(Tracked(one, submission, index))

    def _wait_with(self, submission: Submission, chunk: list[Ready], error: Exception) -> None:
        self._waiting.append((submission, chunk))
        self._retry_at = time.monotonic() + self.settings.max_poll_seconds
        self.logger.warning(f"{len(chunk)} jobs wait to be submitted: {error}")

    def _refuse(self, chunk: list[Ready], error: Exception) -> None:
        for one in chunk:
            message = f"{one.name} was refused by sbatch: {error}\n"
            self.report_job_error(SubmittedJobInfo(one.job), msg=message)

    def _track(self, tracked: Tracked) -> None:
        self._tracked[tracked.task_id] = tracked
        info = SubmittedJobInfo(tracked.ready.job, tracked.task_id, aux={"tracked": tracked})
        self.report_job_submission(info, register_job=False)

    def _payload(self, one: Ready, submission: Submission, index: int) -> Payload:
        job, shape = one.job, one.shape
        environment = commands.environment(job)
        record = Path(submission.entries[index].record).absolute()
        if shape.tasks > 1:
            launcher = [sys.executable, "-m", "snakemake_executor_plugin_submitit.ranks", "launch"]
            environment |= {
                "SUBMITIT_LAUNCH": shlex.join(launcher),
                "SUBMITIT_NODES": str(shape.nodes),
                "SUBMITIT_TASKS_PER_NODE": str(shape.tasks_per_node),
                "SUBMITIT_CPUS_PER_TASK": str(shape.cpus_per_task),
                "SUBMITIT_GPUS_PER_NODE": str(shape.gpus_per_node),
                "SUBMITIT_RANK_LOGS": str(record.with_suffix("")),
                "SUBMITIT_LAUNCH_ARGS": self.settings.launch_args or "",
            }
        prepare: dict[str, Any] = {}
        if one.direct:
            prepare = {
                "outputs": [(str(file), "directory" in file.flags) for file in job.output],
                "logs": [str(file) for file in job.log],
                "inputs": [str(file) for file in job.input],
                "latency_wait": float(self.workflow.execution_settings.latency_wait),
            }
        return Payload(
            command=one.command,
            folder=os.getcwd(),
            record=str(record),
            after=one.after,
            runtime=shape.runtime,
            signal_seconds=self.settings.signal_seconds,
            stalled_restarts=self.settings.stalled_restarts,
            environment=environment,
            **prepare,
        )

    # The waiting thread

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """One query for all jobs; yields those that go on."""
        with self._busy:
            if not self._cancelled:
                active_jobs = self._check(active_jobs)
        for info in active_jobs:
            yield info

    def _check(self, active_jobs: list[SubmittedJobInfo]) -> list[SubmittedJobInfo]:
        self._send_waiting()
        began = time.monotonic()
        states = self._query(active_jobs)
        seconds = time.monotonic() - began
        if states is None:
            self._pace(False, seconds)
            return active_jobs
        changed = False
        alive, again = [], []
        for info in active_jobs:
            tracked: Tracked = info.aux["tracked"]
            before = tracked.was
            verdict = self._digest(info, tracked, states.get(tracked.task_id))
            if verdict is Verdict.WAIT:
                alive.append(info)
            elif verdict is Verdict.RESUBMIT:
                again.append(tracked.ready)
            changed = changed or tracked.was != before or verdict is not Verdict.WAIT
        self._submit_by_shape(again)
        self._pace(changed, seconds)
        return alive

    def _query(self, active_jobs: list[SubmittedJobInfo]) -> dict[str, State] | None:
        """States by id; None while the controller is away, and then nothing is concluded."""
        try:
            states = (
                self.cluster.query(info.aux["tracked"].task_id for info in active_jobs) if active_jobs else {}
            )
        except QueueUnreachable as error:
            if not self._unreachable:
                self.logger.warning(f"Slurm does not answer; jobs go on, and so does the waiting: {error}")
            self._unreachable = True
            return None
        if self._unreachable:
            self.logger.info("Slurm answers again.")
        self._unreachable = False
        return states

    def _pace(self, changed: bool, seconds: float) -> None:
        """Back off while nothing changes, and never spend more than a tenth of the time asking."""
        slower = self.settings.poll_seconds if changed else self.next_seconds_between_status_checks * 1.5
        slower = min(slower, self.settings.max_poll_seconds)
        self.next_seconds_between_status_checks = max(slower, min(QUERY_PAUSE * seconds, LONGEST_PAUSE))

    def _digest(self, info: SubmittedJobInfo, tracked: Tracked, state: State | None) -> Verdict:
        """Tell Snakemake what became of a job. One that cannot be looked at now is looked at later."""
        try:
            patience = LOST_POLLS * self.settings.max_poll_seconds
            verdict, state = judge(tracked, state, time.monotonic(), patience)
            if state is None:  # no trace of it, for now
                return verdict
            self._tell_changes(tracked, state)
            tracked.was = state
            if verdict is Verdict.RESUBMIT and not self._may_go_on(tracked, state):
                verdict = Verdict.FAILED
        except OSError as error:  # a stale handle, a full disk
            self.logger.warning(f"{tracked.ready.name} ({tracked.task_id}): {error}; looking again later")
            return Verdict.WAIT
        if verdict is not Verdict.WAIT:
            del self._tracked[tracked.task_id]
        if verdict is Verdict.SUCCEEDED:
            submissions.forget_pickles(tracked.submission, tracked.index)
            self.report_job_success(info)
        elif verdict is Verdict.FAILED:
            self._fail(info, tracked, tracked.was or state)
        return verdict

    def _may_go_on(self, tracked: Tracked, state: State) -> bool:
        """Prepare another submission with the same record; False after too many without progress."""
        record = tracked.record
        record.write("resubmit", job=tracked.task_id, state=state.name)
        stalled = record.stalled_restarts()
        if stalled > self.settings.stalled_restarts:
            reason = f"restarted {stalled} times in a row without progress"
            tracked.was = State(state.name, reason, state.node, state.exit_status)
            return False
        why = state.name if state.name in INTERRUPTED else "stopped after saving"
        name, node = tracked.ready.name, state.node or "its node"
        self.logger.info(f"{name} ({tracked.task_id}): {why} on {node}, submitted again")
        self.cluster.cancel([tracked.task_id])  # should the queue bring it back
        tracked.ready.record = str(record.path)
        return True

    def _send_waiting(self) -> None:
        """Try again what the cluster did not take."""
        if not self._waiting or time.monotonic() < self._retry_at:
            return
        waiting, self._waiting = self._waiting, []
        for submission, chunk in waiting:
            try:
                job_id = self.cluster.find(submission)  # sbatch may have failed after it succeeded
            except QueueUnreachable:
                self._waiting.append((submission, chunk))
                continue
            if job_id is not None:
                self.cluster.cancel([job_id])
            self._send(submission, chunk, again=True)

    def _tell_changes(self, tracked: Tracked, state: State) -> None:
        """A line for people when a running job went back to the queue, or waits for them."""
        if state.pending and _NEEDS_HELP.search(state.reason) and state != tracked.was:
            name, job = tracked.ready.name, tracked.task_id
            self.logger.warning(
                f"{name} ({job}) will not start by itself: {state.reason}; see scontrol release {job}"
            )
        if tracked.was is not None and tracked.was.name == "RUNNING" and state.pending:
            event = tracked.record.last("requeue")
            why = event["reason"] if event else (state.reason or "requeued")
            name, progress = tracked.ready.name, tracked.record.progress()
            saved = f", saved at {progress}" if progress else ""
            self.logger.info(f"{name} ({tracked.task_id}): {why} on {tracked.was.node}, queued again{saved}")

    def _fail(self, info: SubmittedJobInfo, tracked: Tracked, state: State) -> None:
        log = submissions.log_file(tracked.submission, tracked.index)
        message = describe(
            tracked.ready.name, tracked.task_id, state, tracked.record, log, list(info.job.log)
        )
        self.report_job_error(info, msg=message, aux_logs=[str(log)])


def _resources_are_known(job: Any) -> bool:
    """Whether none depends on files that do not exist yet. tmpdir is decided on the node."""
    unknown = {name for name, value in job.resources.items() if type(value).__name__ == "TBDString"}
    return unknown <= {"tmpdir"}


def _describe_job(job: Any) -> str:
    """Rule and wildcards, as in `train run=dense/d4/seed0`."""
    if job.is_group():
        return str(job)
    wildcards = " ".join(f"{name}={value}" for name, value in job.wildcards_dict.items())
    return f"{job.rule.name} {wildcards}".strip()
