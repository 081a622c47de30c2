"""Meeting the other ranks of a run, and leaving them: the process groups of torch.distributed."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import torch

from stepladder.training.distributed import ALONE, Ranks, World
from stepladder.training.stop import EXIT_STOPPED

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

TIMEOUT = timedelta(minutes=10)
"""How long a rank waits for the others: longer than writing any checkpoint, shorter than a lost night."""


def device_of(world: World, device: torch.device) -> torch.device:
    """This rank's own device: cuda:LOCAL_RANK, or the only one it is shown by the scheduler."""
    if device.type != "cuda" or world.size == 1:
        return device
    own = torch.device("cuda", world.local_rank if torch.cuda.device_count() > 1 else 0)
    torch.cuda.set_device(own)
    return own


@contextmanager
def join(world: World, device: torch.device) -> Iterator[Ranks]:
    """Meet the other ranks for the length of the block.

    A rank that fails in the block ends its process at once with status 1: cleaning up would wait for the
    others, who wait for it. They fail in turn when their next operation finds it gone.

    Args:
        device: this rank's own.
    """
    if world.size == 1:
        yield ALONE
        return
    try:
        ranks = Ranks(world, *_meet(world, device))
        try:
            yield ranks
        except SystemExit as error:
            if error.code != EXIT_STOPPED:  # with this one all ranks leave, at the same step
                raise
            _part(ranks)
            raise
        _part(ranks)
    except BaseException as error:
        if isinstance(error, SystemExit) and error.code == EXIT_STOPPED:
            raise
        print(f"rank {world.rank} of {world.size} failed:", file=sys.stderr)
        traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _meet(world: World, device: torch.device) -> tuple[ProcessGroup | None, ProcessGroup]:
    """Make the process groups; returns the two between hosts."""
    from torch import distributed

    meet = partial(distributed.init_process_group, rank=world.rank, world_size=world.size, timeout=TIMEOUT)
    if device.type != "cuda":
        meet("gloo")
        return distributed.group.WORLD, distributed.new_group(backend="gloo", timeout=TIMEOUT)
    meet("nccl", device_id=device)
    control, background = (distributed.new_group(backend="gloo", timeout=TIMEOUT) for _ in range(2))
    return control, background


def _part(ranks: Ranks) -> None:
    """Leave together: once one rank has left, its launcher may kill those that still write."""
    ranks.wait()
    torch.distributed.destroy_process_group()
