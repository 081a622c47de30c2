"""AdamW over one flat buffer, gradient clipping, and the warmup-stable-decay schedule."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from stepladder.ladder.spec import OptimizerSpec, ScheduleSpec


def learning_rate_multiplier(step: int, total_steps: int, schedule: ScheduleSpec) -> float:
    """Factor on the peak rate at `step` (from 0): up to 1 at the last warmup step, flat, `final` at the end.

    `one_minus_sqrt` is Hägele et al. 2024 (arXiv 2405.18392): 1 - sqrt of the share of decay steps done.
    """
    rising = (step + 1) / schedule.warmup_steps if step < schedule.warmup_steps else 1.0
    done = step + 1 - (total_steps - schedule.decay_steps)
    if done <= 0:
        return rising
    share = done / schedule.decay_steps
    falling = 1 - share if schedule.decay_shape == "linear" else 1 - share**0.5
    return min(rising, schedule.final + (1 - schedule.final) * falling)


class FlatAdamW:
    """AdamW whose parameters are views of one flat tensor, matrices first.

    The update, the gradient norm and the scaling are then one operation each, whatever the number of
    parameters. Decoupled weight decay shrinks the matrices' part before the update; embeddings, tied
    or not, norm gains and other vectors are not decayed.
    """

    def __init__(self, model: nn.Module, spec: OptimizerSpec) -> None:
        named = list(model.named_parameters())
        decayed = [(name, p) for name, p in named if p.ndim > 1 and name != "embedding"]
        self.parameters = dict(decayed) | dict(named)
        self.n_decayed = sum(p.numel() for _, p in decayed)
        self.spec = spec
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.parameters.values()])
        self.gradient = torch.zeros_like(self.flat)
        for name, view in self._split(self.flat).items():
            self.parameters[name].data = view
        # torch.optim.AdamW's functional form: making the class imports the compiler, 1.5 s of every run
        self.moments = {name: torch.zeros_like(self.flat) for name in ("exp_avg", "exp_avg_sq")}
        self.count = torch.zeros((), device=self.flat.device)

    @torch.no_grad()
    def gather(self) -> None:
        """Move the parameters' gradients into the flat `gradient`."""
        torch.cat([p.grad.reshape(-1) for p in self.parameters.values()], out=self.gradient)
        for parameter in self.parameters.values():
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> Tensor:
        """Update the parameters from the gathered gradients; returns the norm before clipping."""
        gradient = self.gradient
        norm = torch.linalg.vector_norm(gradient)
        gradient.mul_((self.spec.clip_norm / (norm + 1e-6)).clamp_(max=1.0))
        self.flat[: self.n_decayed].mul_(1 - learning_rate * self.spec.weight_decay)
        adamw(
            [self.flat],
            [gradient],
            [self.moments["exp_avg"]],
            [self.moments["exp_avg_sq"]],
            max_exp_avg_sqs=[],
            state_steps=[self.count],
            fused=True,
            amsgrad=False,
            beta1=self.spec.beta1,
            beta2=self.spec.beta2,
            lr=learning_rate,
            weight_decay=0.0,
            eps=self.spec.epsilon,
            maximize=False,
        )
        return norm

    def state(self) -> dict[str, Tensor]:
        """Both moments per parameter, as `<parameter>.exp_avg` and `.exp_avg_sq`."""
        return {
            f"{name}.{moment}": view
            for moment, flat in self.moments.items()
            for name, view in self._split(flat).items()
        }

    def load_state(self, state: dict[str, Tensor], steps: int) -> None:
        """Take over what `state` returned after `steps` updates."""
        for moment, flat in self.moments.items():
            for name, view in self._split(flat).items():
                view.copy_(state[f"{name}.{moment}"])
        self.count.fill_(steps)

    def _split(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of `flat` in the parameters' shapes, by name."""
        views = flat.split([p.numel() for p in self.parameters.values()])
        shapes = self.parameters.items()
        return {name: view.view(p.shape) for (name, p), view in zip(shapes, views, strict=True)}
