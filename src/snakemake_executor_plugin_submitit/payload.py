"""What a submitit job runs on its node: one command, with a grace period before it is restarted.

Unpickled by submitit on the node, so this imports the standard library only and starts quickly.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit.records import Record

EXIT_SAVED = 75
"""EX_TEMPFAIL: the command saved its state and wants to be started again."""
EXIT_STALLED = 76
"""The job was restarted too often without progress."""
LIMIT_MARGIN = 90
"""Slurm looks at time limits in rounds and may send the signal up to a minute early, seconds."""
LOCK_PATIENCE = 90
"""How long to wait for another attempt of the same job to end, seconds."""


@dataclass
class Payload:
    """One Snakemake job. Called by submitit; `checkpoint` is called on SIGUSR2."""

    command: list[str]
    folder: str
    record: str
    """Path of the job's record; see `records`."""
    runtime: int
    """Time limit in minutes."""
    signal_seconds: int
    stalled_restarts: int
    after: str = ""
    """Record of an earlier submission whose command was another: it must have ended before this begins."""
    environment: dict[str, str] = field(default_factory=dict)
    outputs: list[tuple[str, bool]] = field(default_factory=list)
    """(path, whether it is a folder) to remove and make parents for; empty for an inner Snakemake."""
    logs: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    """To be waited for: a file system may show them late."""
    latency_wait: float = 0.0
    """How long, seconds."""

    def __call__(self) -> int:
        """Run the command.

        Raises:
            SystemExit: with the command's exit status if that is not 0, so that Slurm shows it; no traceback.
        """
        self.began = time.time()
        self.process: subprocess.Popen[bytes] | None = None
        self.stopping = ""
        signal.signal(signal.SIGTERM, self._note_termination)
        os.chdir(self.folder)
        record = Record(self.record)
        locks = [Record(path).lock(LOCK_PATIENCE) for path in filter(None, (self.after, self.record))]
        if None in locks:
            _say("another attempt of this job is still running; leaving it alone")
            record.write("blocked", job=job_id())
            sys.exit(EXIT_SAVED)
        end = record.last("end")
        if end and end["exit"] == 0:  # the same job was submitted again while it seemed lost
            _say("this job is done already")
            return 0
        stalled = record.stalled_restarts()
        if stalled >= self.stalled_restarts:
            at = record.progress() or "nothing saved"
            _say(f"giving up: restarted {stalled} times in a row without progress ({at})")
            record.write("end", exit=EXIT_STALLED)
            sys.exit(EXIT_STALLED)
        record.write(
            "start", job=job_id(), node=node_name(), restarts=os.environ.get("SLURM_RESTART_COUNT", "0")
        )
        restarts = sum(event["event"] == "start" for event in record.events()) - 1
        self._prepare(first=not restarts)
        status = self._run(record, restarts)
        seconds = round(time.time() - self.began, 3)
        record.write("end", exit=status, stopping=self.stopping, seconds=seconds)
        if status:
            sys.exit(status)
        return 0

    def _note_termination(self, *_: Any) -> None:
        """Slurm ends the job: the command got SIGTERM as well, and may be saving. A failing rank does not
        come here, though what started it also ends by SIGTERM."""
        self.stopping = self.stopping or "terminated"

    def _prepare(self, first: bool) -> None:
        """What Snakemake does on the node before a shell command: no old outputs, all folders there.

        Restarts find what the attempt before left: a command that can go on knows what to do with it.
        """
        if folder := self.environment.get("TMPDIR"):
            Path(folder).mkdir(parents=True, exist_ok=True)
        for name in (*self.logs, *(name for name, _ in self.outputs)):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
        for name, is_folder in self.outputs:
            if is_folder and first:
                shutil.rmtree(name, ignore_errors=True)
            if is_folder:
                Path(name).mkdir(exist_ok=True)
            elif first:
                Path(name).unlink(missing_ok=True)
        for name in self.logs if first else ():
            Path(name).unlink(missing_ok=True)
        until = time.monotonic() + self.latency_wait
        missing = [name for name in self.inputs if not os.path.exists(name)]
        while missing and time.monotonic() < until:
            time.sleep(0.5)
            missing = [name for name in missing if not os.path.exists(name)]
        if missing:
            _say(f"inputs are missing here after {self.latency_wait:g} s: {', '.join(missing)}")
            sys.exit(1)

    def _run(self, record: Record, restarts: int) -> int:
        told = {"SUBMITIT_PROGRESS": str(record.progress_path), "SUBMITIT_RESTARTS": str(restarts)}
        environment = os.environ | self.environment | told
        _adopt_orphans()
        self.process = subprocess.Popen(self.command, env=environment, preexec_fn=_ignore_usr2)
        while True:
            try:
                status = _exit_status(self.process.wait())
                return _status_of_orphans(status) if status == 128 + signal.SIGTERM else status
            except Exception as error:  # raised by submitit's handler when the job is not to be requeued
                if not self.stopping:
                    raise
                _say(f"not requeued by the job itself ({error})")
                if self.process.poll() is None:
                    continue
                status = _exit_status(self.process.returncode)
                return EXIT_SAVED if status and self._may_restart(record, status) else status

    def checkpoint(self) -> Any:
        """Called in submitit's signal handler: let the command save, then have the job requeued.

        Returns:
            This job as a submission for submitit to requeue, or None where it must not be: the command is
            done, or did not save before its time limit, which another round would not change.
        """
        from submitit.core.utils import DelayedSubmission

        left = self.runtime * 60 - (time.time() - self.began)
        self.stopping = "time limit" if left < self.signal_seconds + LIMIT_MARGIN else "preemption"
        record = Record(self.record)
        if self.process is None:
            return DelayedSubmission(self)
        _say(f"{self.stopping}: the command has {self.signal_seconds} s to save")
        _signal_all(self.process.pid)
        status = _wait(self.process.pid, max(1.0, self.signal_seconds - 10.0))
        if status == 0 or not self._may_restart(record, status):
            if status is None:
                _say("the command did not stop; its work since it last saved will be lost")
            return None
        if shutil.which("scontrol") is None and "SLURM_JOB_ID" in os.environ:
            return None
        record.write("requeue", reason=self.stopping, exit=status)
        _remove_leftovers()
        return DelayedSubmission(self)

    def _may_restart(self, record: Record, status: int | None) -> bool:
        """Preempted jobs may always; at a time limit, only if something was saved since the attempt began."""
        if self.stopping == "preemption" or status == EXIT_SAVED:
            return True
        start = record.last("start")
        return start is not None and start["progress"] != record.progress()

    def __getstate__(self) -> dict[str, Any]:
        return {
            key: value for key, value in self.__dict__.items() if key not in ("process", "began", "stopping")
        }


def job_id() -> str:
    """Id of this job as `squeue` shows it, or the process of the local cluster."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    if array and task:
        return f"{array}_{task}"
    return os.environ.get("SLURM_JOB_ID") or os.environ.get("SUBMITIT_LOCAL_JOB_ID", str(os.getpid()))


def node_name() -> str:
    """Slurm's name of this node, or the host's."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def _ignore_usr2() -> None:
    # Ignored signals stay ignored over exec: shells survive it, and a program that can save has a handler
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _adopt_orphans() -> None:
    """Become the parent of processes whose parent dies (prctl(2), PR_SET_CHILD_SUBREAPER; Linux only)."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(36, 1, 0, 0, 0)


def _status_of_orphans(status: int) -> int:
    """Where the shell died of SIGTERM, its command may be saving: wait for it, and take its word for it."""
    while True:
        try:
            _, wait_status = os.wait()
        except ChildProcessError:
            return status
        if os.waitstatus_to_exitcode(wait_status) == EXIT_SAVED:
            status = EXIT_SAVED


def _signal_all(pid: int) -> None:
    """SIGUSR2 to the command and all its descendants, which Slurm does by itself."""
    if "SLURM_JOB_ID" in os.environ:
        return
    import psutil

    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.send_signal(signal.SIGUSR2)
        except psutil.NoSuchProcess:
            continue


def _wait(pid: int, seconds: float) -> int | None:
    """Exit status of the child, left for `Popen.wait` to collect; None if it still runs after `seconds`.

    `Popen.poll` would not do: in a handler that interrupted `Popen.wait` its lock is held.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if done is not None:
            return done.si_status if done.si_code == os.CLD_EXITED else 128 + done.si_status
        time.sleep(0.05)
    return None


def _exit_status(returncode: int) -> int:
    """As a shell states it: 128 + signal for a killed process."""
    return returncode if returncode >= 0 else 128 - returncode


def _remove_leftovers() -> None:
    """submitit refuses to save over the half-written pickle of an attempt that was killed while saving."""
    folder = os.environ.get("SUBMITIT_FOLDER")
    if folder:
        Path(folder, f"{job_id()}_submitted.pkl.save_tmp").unlink(missing_ok=True)


def _say(text: str) -> None:
    print(f"submitit job {job_id()} on {node_name()}: {text}", file=sys.stderr, flush=True)
