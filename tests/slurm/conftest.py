"""A Slurm for the tests of this folder, one for each worker of pytest-xdist: they stop and drain it.

Without root or apt the tests are skipped, and the summary says why.
"""

import fcntl
import os
import signal
from pathlib import Path

import pytest
from local_cluster import FOLDER, CannotStart, LocalCluster


def cluster_of_worker() -> LocalCluster:
    """That of this worker: `gw2` has a folder and ports of its own."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker:
        return LocalCluster()
    return LocalCluster(
        Path(f"{FOLDER}-{worker}"), port=LocalCluster.port + 200 * (1 + int(worker.removeprefix("gw")))
    )


@pytest.fixture(scope="session")
def cluster():
    cluster = cluster_of_worker()
    running = cluster.alive("slurmctld")
    try:
        if not running:
            cluster.forget()
        # One worker installs packages, the others wait; starting at the same time would take as long
        with Path(f"{FOLDER}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            cluster.up()
    except CannotStart as error:
        pytest.skip(f"NO SLURM: {error}")
    yield cluster
    if not running:
        cluster.down(signal.SIGKILL)
