"""What was submitted, in .snakemake/submitit: one folder per array or single job, written before it is sent.

A folder holds submission.json, submitit's script, pickles and logs (<job id>_0_log.out), and per job a record
of its attempts. Snakemake's own marker of an unfinished job names the folder and the index within it, so that
a head that starts after another was killed finds every job again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit.records import Record

ROOT = Path(".snakemake/submitit")


@dataclass
class Entry:
    """One Snakemake job of a submission."""

    name: str
    """Rule and wildcards, for people."""
    outputs: list[str]
    digest: str
    """Of the command: a job whose command has changed since is not taken over."""
    record: str
    """Path of its record; a job that is submitted again keeps the one it had."""


@dataclass
class Submission:
    """One array or single job."""

    folder: Path
    shape: str
    """What it asks for, as text: a waiting job whose needs have changed is not taken over."""
    entries: list[Entry]
    time: float = field(default_factory=time.time)
    job_id: str | None = None
    """Of the array, or of the single job; None until the cluster has told it."""
    cluster: str = "slurm"

    @classmethod
    def create(cls, name: str, shape: str, entries: list[Entry], cluster: str) -> Submission:
        """Make the folder and write it down, before anything is sent. Entries without a record get one."""
        folder = _new_folder(name)
        for index, entry in enumerate(entries):
            entry.record = entry.record or str(folder / f"{index}.jsonl")
        submission = cls(folder, shape, entries, cluster=cluster)
        submission.save()
        return submission

    @classmethod
    def load(cls, folder: Path) -> Submission | None:
        """The submission of a folder; None if it holds none."""
        try:
            values = json.loads((folder / "submission.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        entries = [Entry(**entry) for entry in values.pop("entries")]
        return cls(folder=folder, entries=entries, **values)

    def save(self) -> None:
        """Write submission.json, whole or not at all."""
        values = asdict(self)
        del values["folder"]
        partial = self.folder / "submission.json.partial"
        partial.write_text(json.dumps(values, indent=1), encoding="utf-8")
        os.replace(partial, self.folder / "submission.json")

    def task_id(self, index: int) -> str:
        """Id of one job as the queue shows it."""
        assert self.job_id is not None
        is_array = self.cluster == "slurm" and len(self.entries) > 1
        return f"{self.job_id}_{index}" if is_array else self.task_ids[index]

    @property
    def task_ids(self) -> list[str]:
        """Of single jobs and of the local cluster, which has no arrays: ids separated by commas."""
        return (self.job_id or "").split(",")

    def marker(self, index: int) -> str:
        """What Snakemake remembers of an unfinished job."""
        return f"{self.folder.name}/{index}"


def place(marker: str) -> tuple[str, int] | None:
    """Folder and index that a marker names; None if it is not ours."""
    folder, _, index = marker.partition("/")
    return (folder, int(index)) if folder and index.isdigit() else None


def all_submissions() -> Iterator[Submission]:
    """Every submission that has not been cleaned up, oldest first."""
    for folder in sorted(ROOT.glob("*-*")):
        submission = Submission.load(folder)
        if submission is not None:
            yield submission


def clean_up(days: float, now: float | None = None) -> int:
    """Remove folders in which nothing was written for `days` days and no job runs; returns how many."""
    if not days:
        return 0
    removed = 0
    for submission in list(all_submissions()):
        with suppress(OSError):  # another machine's files, or a folder that was moved
            newest = max(path.lstat().st_mtime for path in submission.folder.iterdir())
            if newest > (now or time.time()) - days * 86400:
                continue
            if not any(Record(entry.record).held() for entry in submission.entries):
                shutil.rmtree(submission.folder)
                removed += 1
    return removed


def log_file(submission: Submission, index: int) -> Path:
    """Everything that the job and its restarts printed."""
    return (submission.folder / f"{submission.task_id(index)}_0_log.out").absolute()


def forget_pickles(submission: Submission, index: int) -> None:
    """Remove what only submitit needed; logs and records stay."""
    job = submission.task_id(index)
    for name in (f"{job}_submitted.pkl", f"{job}_0_result.pkl"):
        (submission.folder / name).unlink(missing_ok=True)


def _new_folder(name: str) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1_000_000):
        folder = ROOT / f"{stamp}-{name}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


def as_json(value: Any) -> str:
    """Canonical text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
