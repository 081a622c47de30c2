"""Where jobs stand, by one question to the queue for all of them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ALIVE = {
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "COMPLETING",
    "SUSPENDED",
    "STOPPED",
    "SIGNALING",
    "STAGE_OUT",
    "RESIZING",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
}
"""States that a job leaves by itself or with an operator's help."""
INTERRUPTED = {"PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED", "LOST"}
"""Ends that are not the job's doing: it is submitted again."""
EXPLAINED = {
    "OUT_OF_MEMORY": "out of memory: raise the resource mem_mb",
    "TIMEOUT": "time limit reached before anything was saved: raise the resource runtime, or have the "
    "command save and exit on SIGUSR2",
    "DEADLINE": "deadline reached",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not boot",
    "PREEMPTED": "preempted",
    "LOST": "neither the queue nor accounting knows it",
}
_QUERY_SECONDS = 60


class QueueUnreachable(RuntimeError):
    """The controller did not answer; nothing is known about any job."""


@dataclass(frozen=True)
class State:
    """Where one job stands."""

    name: str
    """Slurm's name, in full."""
    reason: str = ""
    """Why it waits, or why it ended."""
    node: str = ""
    exit_status: int | None = None
    """As a shell states it: 128 + signal."""

    @property
    def alive(self) -> bool:
        return self.name in ALIVE

    @property
    def pending(self) -> bool:
        return self.name in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING")


def base(job_id: str) -> str:
    """Id of the array that a task belongs to."""
    return job_id.split("_")[0]


def run(*command: str) -> str:
    """Output of a Slurm command.

    Raises:
        QueueUnreachable: it failed or did not answer within a minute.
        FileNotFoundError: there is no such command.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_QUERY_SECONDS)
    except subprocess.TimeoutExpired:
        raise QueueUnreachable(f"{command[0]} did not answer within {_QUERY_SECONDS} s") from None
    if done.returncode:
        raise QueueUnreachable(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


def query(job_ids: Iterable[str]) -> dict[str, State]:
    """States of these jobs, from squeue; those it has forgotten (MinJobAge) from sacct, if that answers.

    Raises:
        QueueUnreachable: squeue failed: the controller is away.
    """
    wanted = set(job_ids)
    if not wanted:
        return {}
    states = {job: state for job, state in squeue().items() if job in wanted}
    if missing := wanted - set(states):
        # what the controller has forgotten is over, even where accounting was away and says it runs
        ended = sacct({base(job) for job in missing}).items()
        states |= {job: state for job, state in ended if job in missing and not state.alive}
    return states


def squeue() -> dict[str, State]:
    """All jobs of this user that the controller knows, ended ones included for MinJobAge.

    A question by id would be refused as a whole once one of the ids is forgotten.
    """
    fields = "JobArrayID:|,State:|,Reason:|,NodeList:|,exit_code:|"
    return parse_squeue(
        run("squeue", "--noheader", "--array", "--states=all", f"--user={user()}", "-O", fields)
    )


def parse_squeue(text: str) -> dict[str, State]:
    """One line per job: id, state, reason, nodes, wait status."""
    states = {}
    for line in text.splitlines():
        job, name, reason, node, code, *_ = line.split("|")
        status = exit_of_wait_status(int(code)) if code.isdigit() else None
        states[job] = State(name, "" if reason == "None" else reason, node, status)
    return states


def sacct(bases: Iterable[str]) -> dict[str, State]:
    """The same from accounting; empty where there is none or its database is away."""
    try:
        fields = "JobID,State,ExitCode,NodeList"
        return parse_sacct(run("sacct", "-X", "-n", "-P", "-o", fields, "-j", ",".join(sorted(bases))))
    except (QueueUnreachable, FileNotFoundError):
        return {}


def parse_sacct(text: str) -> dict[str, State]:
    """One line per job: id, state (with who cancelled it), exit:signal, nodes."""
    states = {}
    for line in text.splitlines():
        job, name, code, node = line.split("|")
        name, _, reason = name.partition(" ")
        exit_code, _, number = code.partition(":")
        status = 128 + int(number) if number not in ("", "0") else int(exit_code or 0)
        for task in expand_ids(job):
            states[task] = State(name, reason, "" if node == "None assigned" else node, status)
    return states


def exit_of_wait_status(code: int) -> int:
    """Exit status, as a shell states it, of what wait(2) returned."""
    return 128 + (code & 127) if code & 127 else code >> 8


def expand_ids(job: str) -> list[str]:
    """`7_[1-3,5%2]`, as accounting shows tasks that have not started, as single ids."""
    match = re.fullmatch(r"(\d+)_\[([\d,-]+)(?:%\d+)?\]", job)
    if not match:
        return [job]
    tasks = []
    for part in match[2].split(","):
        first, _, last = part.partition("-")
        tasks += [f"{match[1]}_{task}" for task in range(int(first), int(last or first) + 1)]
    return tasks


def find_submission(folder: Path) -> str | None:
    """Id of the job or array that was submitted with a script in `folder`, if the queue knows one.

    Raises:
        QueueUnreachable: squeue failed.
    """
    text = run("squeue", "--noheader", "--states=all", f"--user={user()}", "-O", "ArrayJobID:|,Command:|")
    for line in text.splitlines():
        job, command, *_ = line.split("|")
        if Path(command).parent == folder.absolute():
            return job
    return None


def cancel(job_ids: Iterable[str]) -> None:
    """scancel, a few hundred per call; jobs that have ended are passed over."""
    ids = sorted(job_ids)
    for start in range(0, len(ids), 500):
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                ["scancel", *ids[start : start + 500]], capture_output=True, timeout=_QUERY_SECONDS
            )


def user() -> str:
    """Number of the user whose jobs these are; names come from variables that need not be true."""
    return str(os.getuid())
