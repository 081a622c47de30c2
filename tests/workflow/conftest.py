"""The smoke ladder, climbed for real through Snakemake, once for all tests of this folder."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from climbing import Climbed, command

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def climbed(tmp_path_factory) -> Climbed:
    folder = tmp_path_factory.mktemp("clone")
    for name in ("Snakefile", "workflow", "configs", "profiles"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    start = time.perf_counter()
    done = subprocess.run(
        command(),
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ.copy(),
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return Climbed(folder, done.stdout, time.perf_counter() - start)
