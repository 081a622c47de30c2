"""One Slurm for all tests of this folder; without root or apt they are skipped, and the summary says why."""

import pytest
from local_cluster import CannotStart, LocalCluster


@pytest.fixture(scope="session")
def cluster():
    cluster = LocalCluster()
    running = cluster.alive("slurmctld")
    try:
        if not running:
            cluster.forget()
        cluster.up()
    except CannotStart as error:
        pytest.skip(f"NO SLURM: {error}")
    yield cluster
    if not running:
        cluster.down()
