"""Where submissions go: Slurm, or processes of this machine. Both by submitit."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from typing import Any, Protocol

import psutil
import submitit
from snakemake_interface_common.exceptions import WorkflowError
from submitit.core.utils import FailedJobError, FailedSubmissionError

from snakemake_executor_plugin_submitit import states
from snakemake_executor_plugin_submitit.payload import Payload
from snakemake_executor_plugin_submitit.records import Record
from snakemake_executor_plugin_submitit.resources import BadResources, Shape
from snakemake_executor_plugin_submitit.settings import ExecutorSettings
from snakemake_executor_plugin_submitit.states import State
from snakemake_executor_plugin_submitit.submissions import Submission

_CONTROLLER = "submitit.local._local"
"""On the command line of every process of the local cluster."""
UNLIMITED = 10**6
"""Timeouts that submitit may requeue after: restarts are bounded by their progress, in `payload`."""

BUSY = re.compile(
    r"unable to contact|timed out|connection refused|connect failure|temporarily unavailable|"
    r"controller not responding|communications connection|backup controller|try again",
    re.IGNORECASE,
)
"""Of sbatch's errors: those that pass by themselves. A job is submitted again then, and not failed."""
FULL = re.compile(r"submit limit|MaxSubmit|MaxJobCount|job count exceeds", re.IGNORECASE)
"""Too many jobs in the queue, or (Slurm says both in one sentence) a job that its limits never allow."""


class SubmissionRefused(RuntimeError):
    """The cluster will not take this submission; sbatch's own words."""


class ClusterBusy(RuntimeError):
    """The cluster took no submission now."""


class QueueFull(RuntimeError):
    """The cluster takes no more jobs, or none like these."""


class Cluster(Protocol):
    """Where jobs are sent, and asked about."""

    name: str
    array_size: int
    """Most jobs in one submission."""

    def check(self, shape: Shape) -> None:
        """Refuse what this cluster surely cannot give.

        Raises:
            BadResources: with the fix.
        """

    def submit(self, submission: Submission, shape: Shape, payloads: Sequence[Payload], name: str) -> str:
        """Send the jobs and return the id of their array or single job.

        Raises:
            SubmissionRefused: the cluster said no.
            ClusterBusy: not now.
            QueueFull: not so many, or not these.
        """

    def find(self, submission: Submission) -> str | None:
        """Id of a submission whose sending was cut off, if it arrived."""

    def watch(self, submission: Submission, index: int) -> None:
        """Take over a job that an earlier head submitted."""

    def query(self, job_ids: Iterable[str]) -> dict[str, State]:
        """States of these jobs; those that nobody knows are left out.

        Raises:
            QueueUnreachable: nobody answered.
        """

    def cancel(self, job_ids: Iterable[str]) -> None:
        """End these jobs."""


class Slurm:
    """Arrays and single jobs by sbatch; states by squeue and sacct."""

    name = "slurm"

    def __init__(self, settings: ExecutorSettings) -> None:
        self.settings = settings
        self.array_size = max(1, settings.array_size or 1)
        missing = [program for program in ("sbatch", "squeue", "scancel") if shutil.which(program) is None]
        if missing:
            raise WorkflowError(
                f"{', '.join(missing)} not found: run this where jobs can be submitted, or without Slurm by "
                "--submitit-cluster local"
            )

    def check(self, shape: Shape) -> None:
        """sbatch says at submission what it has."""

    def submit(self, submission: Submission, shape: Shape, payloads: Sequence[Payload], name: str) -> str:
        """One sbatch."""
        with submission_environment():
            executor = submitit.AutoExecutor(
                submission.folder.absolute(), cluster="slurm", slurm_max_num_timeout=UNLIMITED
            )
            executor.update_parameters(**self.parameters(shape, name))
            try:
                with (
                    redirect_stderr(io.StringIO()),
                    executor.batch(),
                ):  # submitit prints errors that it raises
                    jobs = [executor.submit(payload) for payload in payloads]
                return states.base(jobs[0].job_id)
            except (FailedSubmissionError, FailedJobError, OSError) as error:
                text = str(error).strip()
                if FULL.search(text):
                    raise QueueFull(text) from None
                raise (ClusterBusy if BUSY.search(text) else SubmissionRefused)(text) from None

    def parameters(self, shape: Shape, name: str) -> dict[str, Any]:
        """The shape in submitit's words."""
        parameters: dict[str, Any] = {
            "name": name,
            "timeout_min": shape.runtime,
            "nodes": shape.nodes,
            "tasks_per_node": shape.tasks_per_node,
            "cpus_per_task": shape.cpus_per_task,
            "stderr_to_stdout": True,
            "slurm_signal_delay_s": self.settings.signal_seconds,
            "slurm_array_parallelism": self.settings.array_parallelism,
            "slurm_partition": shape.partition,
            "slurm_account": shape.account,
            "slurm_qos": shape.qos,
            "slurm_constraint": shape.constraint,
            "slurm_gres": shape.gres,
            "slurm_exclusive": shape.exclusive or None,
            "slurm_setup": [self.settings.setup] if self.settings.setup else None,
            # srun takes the CPUs per task from nowhere else since Slurm 22.05
            "slurm_srun_args": ["--overlap", "--nodes=1", "--ntasks=1"]
            if shape.tasks > 1
            else [f"--cpus-per-task={shape.cpus_per_task}"],
        }
        more: dict[str, Any] = {"requeue": True}
        if shape.mem_mb:
            more["mem"] = f"{shape.mem_mb}M"
        if shape.mem_mb_per_cpu:
            more["mem-per-cpu"] = f"{shape.mem_mb_per_cpu}M"
        if shape.gpus_per_node:
            kind = f"{shape.gpu_type}:" if shape.gpu_type else ""
            more["gpus-per-node"] = f"{kind}{shape.gpus_per_node}"
        if shape.reservation:
            more["reservation"] = shape.reservation
        more |= {option: value or True for option, value in shape.extra}
        parameters["slurm_additional_parameters"] = more
        return {key: value for key, value in parameters.items() if value is not None}

    def find(self, submission: Submission) -> str | None:
        """By the path of its batch script."""
        return states.find_submission(submission.folder)

    def watch(self, submission: Submission, index: int) -> None:
        """The queue knows it."""

    def query(self, job_ids: Iterable[str]) -> dict[str, State]:
        return states.query(job_ids)

    def cancel(self, job_ids: Iterable[str]) -> None:
        states.cancel(job_ids)


class Local:
    """One process per job, without a queue: `--jobs` says how many at a time."""

    name = "local"
    array_size = 1

    def __init__(self, settings: ExecutorSettings) -> None:
        self.settings = settings
        self.devices: dict[str, list[int]] = {}
        self.records: dict[str, Record] = {}
        self.processes: dict[str, submitit.Job[Any]] = {}

    def check(self, shape: Shape) -> None:
        """One node, and the GPUs that there are."""
        if shape.nodes > 1:
            raise BadResources(f"nodes={shape.nodes}: --submitit-cluster local has one node")
        if shape.gpus_per_node > len(visible_gpus()):
            raise BadResources(
                f"gpus={shape.gpus_per_node}, and this machine shows {len(visible_gpus())} "
                "(CUDA_VISIBLE_DEVICES says which ones may be used)"
            )

    def submit(self, submission: Submission, shape: Shape, payloads: Sequence[Payload], name: str) -> str:
        """One process. Busy are GPUs that other jobs have."""
        (payload,) = payloads
        taken = {device for job in list(self.devices) if self._running(job) for device in self.devices[job]}
        free = [device for device in visible_gpus() if device not in taken]
        if len(free) < shape.gpus_per_node:
            raise ClusterBusy(f"{shape.gpus_per_node} GPUs needed, {len(free)} free")
        executor = submitit.LocalExecutor(submission.folder.absolute())
        executor.update_parameters(
            timeout_min=shape.runtime,
            tasks_per_node=1,
            gpus_per_node=shape.gpus_per_node,
            visible_gpus=tuple(free),
            stderr_to_stdout=True,
            signal_delay_s=self.settings.signal_seconds,
            setup=[self.settings.setup] if self.settings.setup else [],
        )
        job = executor.submit(payload)
        self.processes[job.job_id] = job
        self.devices[job.job_id] = free[: shape.gpus_per_node]
        self.records[job.job_id] = Record(payload.record)
        return job.job_id

    def watch(self, submission: Submission, index: int) -> None:
        """Processes outlive the head that started them."""
        self.records[submission.task_id(index)] = Record(submission.entries[index].record)

    def find(self, submission: Submission) -> str | None:
        """What the head was starting when it was killed is found by its record's lock, or not running."""
        return None

    def query(self, job_ids: Iterable[str]) -> dict[str, State]:
        return {job: self._state(job) for job in job_ids if job in self.records}

    def cancel(self, job_ids: Iterable[str]) -> None:
        for job in job_ids:
            with suppress(psutil.NoSuchProcess, ValueError):
                controller = psutil.Process(int(job))
                if _CONTROLLER in controller.cmdline():
                    for process in [*controller.children(recursive=True), controller]:
                        process.terminate()

    def _running(self, job: str) -> bool:
        process = getattr(self.processes.get(job), "_process", None)
        if process is not None:
            return process.poll() is None
        with suppress(psutil.NoSuchProcess, ValueError):
            return _CONTROLLER in psutil.Process(int(job)).cmdline()
        return False

    def _state(self, job: str) -> State:
        if self._running(job):
            return State("RUNNING")
        end = self.records[job].last("start", "end")
        if end is None or end["event"] == "start":
            return State("NODE_FAIL", "the process was killed")
        return State("COMPLETED" if end["exit"] == 0 else "FAILED", exit_status=end["exit"])


CLUSTERS: dict[str, type[Slurm] | type[Local]] = {"slurm": Slurm, "local": Local}


def visible_gpus() -> list[int]:
    """Devices of this machine that jobs may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [int(device) for device in visible.split(",") if device.strip().isdigit()]
    return list(range(sum(name.startswith("nvidia") and name[6:].isdigit() for name in os.listdir("/dev"))))


@contextmanager
def submission_environment() -> Iterator[None]:
    """Without the variables of a job that Snakemake itself may run in, which sbatch would take as options."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    kept = {name: os.environ[name] for name in ("SLURM_CONF", "SLURM_CONF_SERVER") if name in os.environ}
    with submitit.helpers.clean_env():
        os.environ.update(kept)
        try:
            yield
        finally:
            for name in kept:
                os.environ.pop(name, None)
