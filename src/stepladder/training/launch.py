"""Several ranks from one command line: it starts itself again, once per rank."""

from __future__ import annotations

import os
import shlex
import sys


def start_ranks(ranks: int) -> None:
    """Replace this process by a launcher of `ranks` copies of it; in one of the copies, do nothing.

    The launcher is $SUBMITIT_LAUNCH in a cluster's job, and torchrun elsewhere.

    Raises:
        ValueError: the copies are more or fewer than `ranks`.
    """
    if "WORLD_SIZE" in os.environ:
        if int(os.environ["WORLD_SIZE"]) != ranks:
            raise ValueError(
                f"--ranks {ranks}, but WORLD_SIZE is {os.environ['WORLD_SIZE']}: make them agree"
            )
        return
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    launcher = shlex.split(os.environ.get("SUBMITIT_LAUNCH", "")) or [*torchrun, "--no-python"]
    os.execvp(launcher[0], [*launcher, sys.executable, "-m", "stepladder.cli", *sys.argv[1:]])
