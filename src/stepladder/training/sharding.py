"""Weights, gradients and moments spread over ranks, for models that one accelerator cannot hold (FSDP2).

`none` keeps everything on each rank; `full` spreads it over all ranks (Rajbhandari et al. 2020, arXiv
1910.02054, ZeRO stage 3); `hybrid` spreads it over the ranks of a machine and repeats that on each machine,
so that only gradients cross the network. Layers are gathered one by one where they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from stepladder.training.objective import Objective

Kind = Literal["none", "full", "hybrid"]


@dataclass(frozen=True)
class Sharding:
    """How the state is spread."""

    kind: Kind = "none"
    world_size: int = 1
    per_machine: int = 1
    """Ranks on one machine, over which `hybrid` shards."""

    @property
    def shards(self) -> bool:
        """Whether there is anything to gather."""
        return self.kind != "none"


REPLICATED = Sharding()


def shard(
    objective: Objective, sharding: Sharding, device: torch.device, precision: str
) -> Callable[[Tensor], Tensor] | None:
    """Spread the objective's parameters over ranks, layer by layer; the draws of the weights are kept.

    Returns:
        What adds up a number over the ranks that hold a model's shards; None if nothing is sharded.
    """
    if not sharding.shards:
        return None
    from torch.distributed import all_reduce
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    size, local = sharding.world_size, sharding.per_machine
    if sharding.kind == "hybrid":
        mesh = init_device_mesh(device.type, (size // local, local), mesh_dim_names=("replicate", "shard"))
        group = mesh["shard"].get_group()
    else:
        mesh = init_device_mesh(device.type, (size,), mesh_dim_names=("shard",))
        group = mesh.get_group()
    # Below fp32 weights are cast before they travel: half of the traffic, the same products.
    dtype = None if precision == "fp32" else torch.bfloat16
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in objective.layers():
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(objective, mesh=mesh, mp_policy=policy, reshard_after_forward=False)

    def sum_over_shards(number: Tensor) -> Tensor:
        all_reduce(number, group=group)
        return number

    return sum_over_shards
