"""Small workflows with a head of their own, for tests against a real Slurm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from local_cluster import LocalCluster

COUNTER = '''
"""Count to N, `delay` seconds a step; on SIGUSR2 or SIGTERM save and exit 75; go on from what was saved."""
import os, signal, sys, time
from pathlib import Path

out, steps, delay = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
saved = Path("saved") / out.name
saved.parent.mkdir(exist_ok=True)
asked = []
for number in (signal.SIGUSR2, signal.SIGTERM):
    signal.signal(number, lambda *received: asked.append(received[0]))
step = int(saved.read_text()) if saved.exists() else 0
with Path("starts").open("a") as log:
    log.write(f"{out.stem} {step} {os.environ.get('SLURM_JOB_ID')}\\n")
while step < steps:
    time.sleep(delay)
    step += 1
    if asked:
        saved.write_text(str(step))
        Path(os.environ["SUBMITIT_PROGRESS"]).write_text(f"step {step}")
        sys.exit(75)
out.write_text(f"{step}\\n")
'''


@dataclass
class Workflow:
    """A folder with a Snakefile and counter.py in it."""

    folder: Path
    cluster: LocalCluster
    snakefile: str
    options: list[str] = field(default_factory=list)
    head: subprocess.Popen | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "Snakefile").write_text(self.snakefile)
        (self.folder / "counter.py").write_text(COUNTER)

    @property
    def path(self) -> str:
        """Jobs use the Python of the tests."""
        return f"{Path(sys.executable).parent}:{self.cluster.environment['PATH']}"

    @property
    def log(self) -> str:
        return (self.folder / "head.log").read_text()

    def start(self, *arguments: str) -> None:
        """Start a head in the background."""
        command = [sys.executable, "-m", "snakemake", "--executor", "submitit", "--jobs", "1000", "--nolock"]
        command += ["--latency-wait", "5", "--rerun-incomplete", "--max-jobs-per-timespan", "10000/1s"]
        with (self.folder / "head.log").open("a") as log:
            self.head = subprocess.Popen(
                [*command, *self.options, *arguments],
                cwd=self.folder,
                env=os.environ | self.cluster.environment | {"PATH": self.path},
                stdout=log,
                stderr=log,
                start_new_session=True,
                # tests may run in the background of a shell, where Ctrl-C is ignored
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def until(self, condition, what: str, seconds: float = 240) -> None:
        """Wait for a condition; the test fails if it does not come true while the head runs."""
        end = time.monotonic() + seconds
        while not condition():
            ended = self.head.poll() is not None
            assert not ended and time.monotonic() < end, f"waited for {what}; the head said:\n{self.log}"
            time.sleep(0.1)

    def wait(self, seconds: float = 600) -> int:
        """Exit status of the head; the test fails with its log if it takes longer."""
        try:
            return self.head.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.head.kill()
            raise AssertionError(f"the head did not end:\n{self.log}") from None

    def run(self, *arguments: str) -> int:
        self.start(*arguments)
        return self.wait()

    def kill_head(self) -> None:
        self.head.kill()
        self.head.wait()

    def starts(self) -> list[list[str]]:
        """name, step and Slurm id of every start of counter.py."""
        path = self.folder / "starts"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def submissions(self) -> list[dict]:
        """submission.json of every folder, oldest first."""
        paths = (self.folder / ".snakemake" / "submitit").glob("*/submission.json")
        return [json.loads(path.read_text()) for path in sorted(paths)]

    def job_of(self, name: str) -> str:
        """Slurm id of the newest submission of the job with this name (`rule wildcard=value`)."""
        for submission in reversed(self.submissions()):
            for index, entry in enumerate(submission["entries"]):
                if entry["name"] == name and submission["job_id"]:
                    array = len(submission["entries"]) > 1
                    return f"{submission['job_id']}_{index}" if array else submission["job_id"]
        raise KeyError(name)


def until(condition, what: str, seconds: float = 240) -> None:
    """Wait for a condition; the test fails if it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)
