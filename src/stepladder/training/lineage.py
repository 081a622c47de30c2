"""What a result was made from: code, packages, hardware, data, scheduler."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from stepladder.data.batches import Corpus
from stepladder.record.result import Lineage, Machine, Parent
from stepladder.record.spec import RunSpec
from stepladder.training.calibrate import cpu_name
from stepladder.training.device import Hardware, cores

PACKAGES = ("stepladder", "torch", "numpy")
"""Packages whose version can change a run's numbers."""


def utc_now() -> str:
    """Now, as ISO 8601 in UTC to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def code_state() -> tuple[str | None, bool | None]:
    """Commit of the checkout this package runs from, and whether its files differ from it.

    Both are None outside a git checkout (an installed wheel), or without git.
    """
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    status = git("status", "--porcelain", "--", "..") if commit else None
    return commit, None if status is None else bool(status)


def scheduler_job() -> str | None:
    """Slurm's id of this job, with the array task if it is one."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def trace(
    spec: RunSpec,
    corpus: Corpus,
    hardware: Hardware,
    threads: int,
    hostnames: list[str],
    started: str,
    parent: Parent | None,
) -> Lineage:
    """The lineage of a result that is finished now.

    Args:
        hostnames: of the machines of all ranks, in order of rank.
        started: when the first attempt began, as `utc_now` says it.
        parent: the segment of a trunk that the run branched off.
    """
    commit, dirty = code_state()
    return Lineage(
        code_commit=commit,
        code_dirty=dirty,
        code_fingerprint=spec.code,
        packages={name: version(name) for name in PACKAGES},
        python=platform.python_version(),
        hardware=Machine(cpu=cpu_name(), cores=cores(), accelerator=hardware.accelerator),
        threads=threads,
        data_sha256=corpus.manifest.sha256,
        data_description=corpus.manifest.description,
        hostname=hostnames[0],
        hostnames=hostnames if len(hostnames) > 1 else None,
        slurm_job_id=scheduler_job(),
        started=started,
        finished=utc_now(),
        parent=parent,
    )
