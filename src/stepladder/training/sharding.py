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

from stepladder.record.cost import parameters
from stepladder.record.spec import ModelSpec
from stepladder.training.distributed import World
from stepladder.training.objective import Objective

BYTES_PER_PARAMETER = 20
"""fp32 weight, gradient twice (parameters' own and gathered) and two moments."""

SHARE_OF_MEMORY = 0.5
"""Of an accelerator's memory that weights and moments may take before they are sharded; activations want the
rest."""

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


def choose_sharding(wanted: str, model: ModelSpec, world: World, device: torch.device) -> Sharding:
    """`auto` shards if several ranks train a model whose state would fill half of an accelerator's memory:
    over one machine's ranks if that is enough and there are several machines, else over all.

    Raises:
        ValueError: `hybrid` whose machines have unequal or single ranks.
    """
    if world.size == 1:
        return REPLICATED
    local = world.local_size
    if wanted == "auto":
        wanted = _needed(model, world, device)
    if wanted == "hybrid" and (local == 1 or world.size % local):
        raise ValueError(
            "execution.sharding hybrid needs equally many ranks, at least 2, on each machine; there are "
            f"{local} of {world.size} on this one: use full"
        )
    kind: Kind = "hybrid" if wanted == "hybrid" and local < world.size else "full"
    return REPLICATED if wanted == "none" else Sharding(kind, world.size, local)


def _needed(model: ModelSpec, world: World, device: torch.device) -> str:
    if device.type != "cuda":
        return "none"
    room = SHARE_OF_MEMORY * torch.cuda.get_device_properties(device).total_memory
    state = BYTES_PER_PARAMETER * parameters(model).total
    if state <= room:
        return "none"
    return "hybrid" if 1 < world.local_size < world.size and state / world.local_size <= room else "full"


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
