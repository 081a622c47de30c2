"""Several ranks that train one run together, one per accelerator: who they are, what they say.

Somebody else starts them (srun, torchrun) and sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT. Every rank takes its share of each batch, and holds the whole model and optimizer unless they are
sharded. Only the first writes files. Tensors on a device are reduced by the device's own backend; decisions
and objects go over gloo between the hosts, so that they never wait for a device.

A run of one rank needs none of this: every operation gives back what it was given.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from stepladder.record.spec import RunSpec

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This rank among all of a run."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those on this machine: which of its accelerators is this rank's."""
    local_size: int = 1
    """How many ranks are on this machine."""

    @classmethod
    def from_environment(cls) -> World:
        """As the launcher says; without WORLD_SIZE, or with 1, the run has one rank."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        return cls(
            rank=int(os.environ["RANK"]),
            size=int(os.environ["WORLD_SIZE"]),
            local_rank=int(os.environ["LOCAL_RANK"]),
            local_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        )

    def share(self, rows: int) -> range:
        """This rank's rows of a batch of `rows`: shares are equal, contiguous, in order of rank."""
        count = rows // self.size
        return range(self.rank * count, (self.rank + 1) * count)


class Ranks:
    """The ranks of a run. All of them call every method, in the same order."""

    def __init__(
        self, world: World, control: ProcessGroup | None = None, background: ProcessGroup | None = None
    ) -> None:
        self.world = world
        self._control = control  # process group between hosts
        self.background = background
        """Process group between hosts for a thread that saves while the others go on talking; None if
        alone."""

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.world.size > 1

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes files and speaks."""
        return self.world.rank == 0

    def sum_(self, tensor: Tensor) -> Tensor:
        """The tensor, summed over ranks in place; on a GPU the program does not wait for it."""
        if self.several:
            torch.distributed.all_reduce(tensor)
        return tensor

    def mean_(self, tensor: Tensor) -> Tensor:
        """The tensor, averaged over ranks in place; on a GPU the program does not wait for it."""
        return self.sum_(tensor).div_(self.world.size) if self.several else tensor

    def largest(self, value: int) -> int:
        """The largest of the ranks' values."""
        if not self.several:
            return value
        found = torch.tensor(value)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX, self._control)
        return int(found)

    def tell(self, value: T) -> T:
        """The first rank's value."""
        values = [value]
        if self.several:
            torch.distributed.broadcast_object_list(values, src=0, group=self._control)
        return values[0]

    def gather(self, value: T) -> list[T]:
        """All ranks' values in order of rank."""
        values = [value] * self.world.size
        if self.several:
            torch.distributed.all_gather_object(values, value, group=self._control)
        return values

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.several:
            torch.distributed.barrier(self._control)


ALONE = Ranks(World())
"""The ranks of a run that has one."""


def check_shares(spec: RunSpec, world: World) -> None:
    """Refuse batches that cannot be shared equally: unequal shares would weight sequences unequally.

    Raises:
        ValueError: a phase's number of sequences is not a multiple of the world size.
    """
    for phase in spec.recipe.phases:
        if phase.sequences % world.size:
            raise ValueError(
                f"{spec.id}: the batch of {phase.sequences} sequences (batch_sequences, phase {phase.name}) "
                f"cannot be shared equally among {world.size} ranks (WORLD_SIZE): make it a multiple of "
                f"{world.size}, or use a number of accelerators that divides {phase.sequences}"
            )
