"""The mean of a run's weights along its steps, of a recipe that asks for one
(`stepladder.recipes.averaged`)."""

from __future__ import annotations

import torch
from torch import Tensor

from stepladder.training.trainer import Trainer

PREFIX = "average."
"""How names of the mean's tensors begin in a checkpoint."""


class Average:
    """A running mean. It takes the place of the weights after the last step; without a recipe that asks for
    one it holds nothing and does nothing."""

    def __init__(self, trainer: Trainer) -> None:
        recipe, spec = trainer.objective.recipe, trainer.spec.recipe
        ask = getattr(recipe, "snapshots", None)
        self._moves: dict[int, float] = ask(spec.options, spec.steps) if ask else {}
        self._last = spec.steps
        own = trainer.model.state_dict() if self._moves else {}
        self._weights = {name: weight for name, weight in own.items() if weight.is_floating_point()}
        self._mean = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}

    def state(self) -> dict[str, Tensor]:
        """The mean's tensors by their names in a checkpoint; the tensors themselves."""
        return {PREFIX + name: tensor for name, tensor in self._mean.items()}

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(tensors[name])

    @torch.no_grad()
    def after(self, step: int) -> None:
        """Take the weights after `step` steps into the mean, if it is the turn; after the last, the mean
        becomes the weights."""
        if (move := self._moves.get(step)) is None:
            return
        for name, mean in self._mean.items():
            mean.lerp_(self._weights[name], move)
            if step == self._last:
                self._weights[name].copy_(mean)
