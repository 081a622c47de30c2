"""The numbers of training: from a window of the corpus to updated weights. No clocks, no files.

With several ranks, each has its share of a batch's sequences; the mean of their gradients is that of
the whole batch, because the shares are equal and the losses are means.

Shapes: B sequences of this rank, T positions, S tokens per bag.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from stepladder.data.batches import Corpus, Order
from stepladder.ladder.parts import load
from stepladder.ladder.spec import PhaseSpec, RunSpec
from stepladder.models.feed_forward import MixtureOfExperts
from stepladder.models.transformer import Transformer
from stepladder.training.distributed import ALONE, Ranks, World
from stepladder.training.optimizer import FlatAdamW, learning_rate_multiplier


class Place(NamedTuple):
    """A step of the run: which phase it falls in and how much was read before it."""

    step: int
    phase: PhaseSpec
    position: int
    """Where in the corpus's order the step reads."""
    tokens: int
    """Raw tokens read up to the end of this step."""
    positions: int
    """Latent positions processed up to the end of this step."""
    first: bool
    """Whether it is the first step of its phase."""


class Metrics(NamedTuple):
    """What one step measured; 0-d tensors on the device, so that nothing waits for them.

    With several ranks the mean over ranks is the whole batch's value.
    """

    loss: Tensor
    """Training loss of the recipe in nats per token, without the balance loss."""
    gradient_norm: Tensor
    """Global norm before clipping."""
    balance_loss: Tensor | None
    """Mean over MoE layers, unweighted: 1 is uniform. None without MoE."""
    expert_load_max: Tensor | None
    """Largest share of one expert, mean over layers, times the number of experts: 1 is uniform."""
    router_entropy: Tensor | None
    """Mean over layers, nats."""


def places(spec: RunSpec, order: Order, start: int = 0) -> Iterator[Place]:
    """All steps of the run in order, from step `start`.

    Where the length of the windows changes, reading goes on at the next round of the corpus's readers.
    """
    step = position = tokens = positions = 0
    window = None
    for phase in spec.recipe.phases:
        before, window = window, phase.positions * phase.bag_size
        if before not in (None, window):
            position = order.next_round(position, before)
        for index in range(phase.steps):
            tokens += phase.sequences * window
            positions += phase.sequences * phase.positions
            if step >= start:
                yield Place(step, phase, position, tokens, positions, index == 0)
            position += phase.sequences * window
            step += 1


def read_batch(
    corpus: Corpus, spec: RunSpec, place: Place, device: torch.device, world: World = ALONE.world
) -> tuple[Tensor, Tensor]:
    """This rank's inputs and targets (B, T, S) of a step: the targets are the text one bag further on."""
    phase = place.phase
    length = phase.positions * phase.bag_size
    rows = world.share(phase.sequences)
    position = place.position + rows.start * length
    window = corpus.window(spec.seed, position, len(rows), length, phase.bag_size)
    shape = (len(rows), phase.positions, phase.bag_size)
    text = torch.from_numpy(window)
    if device.type != "cpu":
        text = text.pin_memory().to(device, non_blocking=True)
    return text[:, :length].reshape(shape), text[:, phase.bag_size :].reshape(shape)


class Trainer:
    """Model, recipe and optimizer of one run, the same on all of its ranks."""

    def __init__(self, spec: RunSpec, device: torch.device, ranks: Ranks = ALONE) -> None:
        self.spec = spec
        self.device = device
        self.ranks = ranks
        self.recipe = load("recipes", spec.recipe.name)
        self.model = Transformer(spec.model, spec.seed).to(device)
        self.optimizer = FlatAdamW(self.model, spec.optimizer)
        if ranks.several:
            for module in self.model.modules():
                if isinstance(module, MixtureOfExperts):
                    module.mean_over_ranks = ranks.mean_

    def autocast(self):
        """Context in which matrix products run in the run's precision. None is entered for fp32."""
        if self.spec.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def forward_backward(self, inputs_BTS: Tensor, targets_BTS: Tensor) -> Metrics:
        """Gradients of the recipe's loss plus the balance losses; the norm is filled in by `update`.

        Gradients and metrics are of this rank's share, but for the experts' load.
        """
        with self.autocast():
            x_BTD = self.recipe.embed(self.model.embedding, inputs_BTS)
            logits_BTV, routings = self.model(x_BTD)
            loss = self.recipe.loss(logits_BTV, targets_BTS)
        total = loss
        for routing in routings:
            total = total + routing.balance_loss * routing.weight
        total.backward()
        self.optimizer.gather()
        if not routings:
            return Metrics(loss.detach(), loss.detach(), None, None, None)
        with torch.no_grad():
            load_LE = torch.stack([routing.load_E for routing in routings])
            return Metrics(
                loss.detach(),
                loss.detach(),
                torch.stack([routing.balance_loss for routing in routings]).mean(),
                load_LE.amax(1).mean() * load_LE.shape[1],
                torch.stack([routing.entropy for routing in routings]).mean(),
            )

    def average_gradient(self) -> None:
        """Make the gradient that of the whole batch."""
        self.ranks.mean_(self.optimizer.gradient)

    def learning_rate(self, step: int) -> float:
        """Rate of step number `step`."""
        spec = self.spec
        return spec.optimizer.learning_rate * learning_rate_multiplier(step, spec.recipe.steps, spec.schedule)

    def update(self, metrics: Metrics, step: int) -> Metrics:
        """Apply the gradients."""
        return metrics._replace(gradient_norm=self.optimizer.step(self.learning_rate(step)))

    def state(self) -> dict[str, Tensor]:
        """Weights as `model.<parameter>` and moments as `optimizer.<parameter>.<moment>`."""
        weights = {f"model.{name}": parameter for name, parameter in self.model.named_parameters()}
        return weights | {f"optimizer.{name}": t for name, t in self.optimizer.state().items()}

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor], steps: int) -> None:
        """Take over what `state` returned after `steps` updates."""
        for name, parameter in self.model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
        moments = {name[10:]: t for name, t in tensors.items() if name.startswith("optimizer.")}
        self.optimizer.load_state(moments, steps)
