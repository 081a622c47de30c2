"""The numbers of training: from a batch to updated weights. No clocks, no files.

With several ranks, each has its share of a batch's sequences; the mean of their gradients is that of
the whole batch, because the shares are equal and the losses are means. The same holds for the
micro-batches that a share is cut into.

Shapes: B sequences of this rank, T positions, S tokens per bag, E experts, L MoE layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from stepladder.models import float8
from stepladder.models.experts import Routing
from stepladder.models.transformer import Transformer
from stepladder.record.spec import RunSpec
from stepladder.training.distributed import ALONE, Ranks
from stepladder.training.engine import compile_layers
from stepladder.training.objective import Loads, Objective
from stepladder.training.optimizer import Optimizer, learning_rate_multiplier
from stepladder.training.sharding import REPLICATED, Sharding, shard


class Metrics(NamedTuple):
    """What one step measured; tensors on the device, so that nothing waits for them.

    With several ranks the mean over ranks is the whole batch's value.
    """

    loss: Tensor
    """Training loss of the recipe in nats per token, without what routers add."""
    gradient_norm: Tensor
    """Global norm before clipping."""
    balance_loss: Tensor | None
    """Mean over MoE layers, unweighted: 1 is uniform. None without MoE."""
    expert_load_max: Tensor | None
    """Largest share of one expert, mean over layers, times the number of experts: 1 is uniform."""
    router_entropy: Tensor | None
    """Mean over layers, nats."""
    load_max_by_layer: Tensor | None
    """(L,) largest share of one expert, times the number of experts."""
    load_min_by_layer: Tensor | None
    """(L,) smallest share of one expert, times the number of experts: 0 is an expert that nothing went to."""
    entropy_by_layer: Tensor | None
    """(L,) nats; log E is undecided."""


Tick = Callable[[str], None]
"""Told when a part of a step has been issued, by its name among the causes of seconds."""


def no_tick(cause: str) -> None:
    """For callers that do not measure."""


class Trainer:
    """Model, recipe and optimizer of one run, the same on all of its ranks."""

    def __init__(
        self,
        spec: RunSpec,
        device: torch.device,
        ranks: Ranks = ALONE,
        compiled: bool = False,
        sharding: Sharding = REPLICATED,
        end_of_document: int | None = None,
    ) -> None:
        self.spec, self.device, self.ranks = spec, device, ranks
        self.compiled, self.sharding = compiled, sharding
        self.micro_batch: int | None = None
        """Sequences that go through the model at once; None for all of this rank's."""
        self.objective = Objective(spec, end_of_document).to(device)
        self.mixtures = self.objective.mixtures()
        self.last_load_LE = torch.empty(0)
        """Load of each MoE layer in the newest step."""
        self.loads = Loads(ranks.mean_)
        if compiled:
            compile_layers(self.objective, spec.precision)
        shards = shard(self.objective, sharding, device, spec.precision)
        self.optimizer = Optimizer(self.objective, spec.optimizer, shards, spec.parametrization)

    @property
    def model(self) -> Transformer:
        """The model alone."""
        return self.objective.model

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Context in which matrix products run in the run's precision. None is entered for fp32."""
        if self.spec.precision == "fp32":
            yield
            return
        fp8 = float8.enabled() if self.spec.precision == "fp8" else nullcontext()
        with torch.autocast(self.device.type, dtype=torch.bfloat16), fp8:
            yield

    def gradients(self, inputs_BTS: Tensor, targets_BTL: Tensor, tick: Tick = no_tick) -> Metrics:
        """Gradients of the recipe's loss and of what the routers add; the norm is filled in by `update`.

        Gradients and metrics are of this rank's share, but for the experts' load.
        """
        rows = self.micro_batch or len(inputs_BTS)
        parts = list(zip(inputs_BTS.split(rows), targets_BTL.split(rows), strict=True))
        self.loads.begin_step()
        results = []
        for number, (inputs, targets) in enumerate(parts, start=1):
            if self.sharding.shards:  # gradients travel once, with the last part
                self.objective.set_requires_gradient_sync(number == len(parts))
            with self.autocast():
                loss, routings = self.objective(inputs, targets)
            balance_L, penalty = self.router_losses(routings)
            total = loss + penalty
            tick("forward")
            (total / len(parts) if len(parts) > 1 else total).backward()
            tick("backward")
            results.append((loss.detach(), balance_L, routings))
        self.optimizer.gather()
        return self.measure(results)

    def router_losses(self, routings: list[Routing]) -> tuple[list[Tensor], Tensor | float]:
        """Balance loss of each MoE layer, and what they all add to the training loss, for a micro-batch."""
        if not routings:
            return [], 0.0
        load_LE = self.last_load_LE = self.loads.add(routings)
        layers = zip(self.mixtures, routings, load_LE, strict=True)
        losses = [mixture.losses(routing, load_E) for mixture, routing, load_E in layers]
        return [balance.detach() for balance, _ in losses], sum(penalty for _, penalty in losses)

    @torch.no_grad()
    def measure(self, results: list[tuple[Tensor, list[Tensor], list[Routing]]]) -> Metrics:
        """Metrics of a step from those of its parts: loss, balance losses and routings."""
        losses, balances, routings = zip(*results, strict=True)
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
        if not self.mixtures:
            return Metrics(loss, loss, *(None,) * 6)
        # The load after the last part is that of all parts.
        load_LE = self.last_load_LE
        most_L, least_L = load_LE.amax(1) * load_LE.shape[1], load_LE.amin(1) * load_LE.shape[1]
        entropy_L = torch.stack([torch.stack([r.entropy for r in part]) for part in routings]).mean(0)
        balance = torch.stack([torch.stack(part) for part in balances]).mean(0).mean()
        return Metrics(loss, loss, balance, most_L.mean(), entropy_L.mean(), most_L, least_L, entropy_L)

    def average_gradient(self) -> None:
        """Make the gradient that of the whole batch; sharded, it was reduced on the way."""
        if not self.sharding.shards:
            self.ranks.mean_(self.optimizer.gradient)

    def learning_rate(self, step: int) -> float:
        """Rate of step number `step`."""
        spec = self.spec
        return spec.optimizer.learning_rate * learning_rate_multiplier(step, spec.recipe.steps, spec.schedule)

    def update(self, metrics: Metrics, step: int) -> Metrics:
        """Apply the gradients."""
        norm = self.optimizer.step(self.learning_rate(step))
        for layer, mixture in enumerate(self.mixtures):
            mixture.balance(self.last_load_LE[layer])
        return metrics._replace(gradient_norm=norm)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on: weights and buffers as `model.<name>`, moments as
        `optimizer.<name>.<moment>`. They are the tensors themselves: writing to them changes the trainer."""
        return {name: t.detach() for name, t in self.objective.state_dict().items()} | {
            f"optimizer.{name}": t for name, t in self.optimizer.state().items()
        }

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(tensors[name])
        self.optimizer.loaded()

    def seed_step(self, step: int) -> None:
        """Make random numbers, should a recipe draw any, a function of (seed, step, rank): none need
        saving."""
        number = ((self.spec.seed * 1_000_003 + step) * 65_537 + self.ranks.world.rank) % 2**63
        torch.default_generator.manual_seed(number)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(number)
