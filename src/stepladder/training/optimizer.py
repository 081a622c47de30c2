"""AdamW over flat buffers, gradient clipping, and the warmup-stable-decay schedule."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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
    """AdamW whose parameters are views of two flat tensors: matrices (decayed) and the rest (not).

    The update, the gradient norm and the scaling are then a handful of operations whatever the number of
    parameters. Embeddings, tied or not, norms and gains are not decayed.
    """

    def __init__(self, model: nn.Module, spec: OptimizerSpec) -> None:
        named = dict(model.named_parameters())
        decayed = {name for name, p in named.items() if p.ndim > 1 and not name.endswith("embedding")}
        decayed |= {name for name in named if name.endswith("unembedding")}
        self.clip_norm = spec.clip_norm
        self.groups = [
            _Group({name: p for name, p in named.items() if (name in decayed) == wanted})
            for wanted in (True, False)
        ]
        decays = (spec.weight_decay, 0.0)
        self.adamw = torch.optim.AdamW(
            [
                {"params": [group.flat], "weight_decay": decay}
                for group, decay in zip(self.groups, decays, strict=True)
            ],
            lr=spec.learning_rate,
            betas=(spec.beta1, spec.beta2),
            eps=spec.epsilon,
            fused=True,
        )

    def step(self, learning_rate: float) -> Tensor:
        """Update the parameters from their gradients and drop these; returns the norm before clipping."""
        gradients = [group.gather_gradients() for group in self.groups]
        norm = torch.stack([torch.linalg.vector_norm(g) for g in gradients]).norm()
        scale = (self.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        for gradient, settings in zip(gradients, self.adamw.param_groups, strict=True):
            gradient.mul_(scale)
            settings["lr"] = learning_rate
        self.adamw.step()
        return norm

    def state(self) -> dict[str, Tensor]:
        """Both moments per parameter, as `<parameter>.exp_avg` and `.exp_avg_sq`."""
        return {
            f"{name}.{moment}": part
            for group in self.groups
            for moment in ("exp_avg", "exp_avg_sq")
            for name, part in group.split(self.adamw.state[group.flat][moment]).items()
        }

    def load_state(self, state: dict[str, Tensor], steps: int) -> None:
        """Take over what `state` returned after `steps` updates."""
        for group in self.groups:
            moments = {moment: torch.zeros_like(group.flat) for moment in ("exp_avg", "exp_avg_sq")}
            for moment, flat in moments.items():
                for name, part in group.split(flat).items():
                    part.copy_(state[f"{name}.{moment}"])
            count = torch.tensor(float(steps), device=group.flat.device)
            self.adamw.state[group.flat] = {"step": count, **moments}


class _Group:
    """Parameters laid end to end in one tensor, whose views they become."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        self.parameters = parameters
        self.flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters.values()]))
        self.flat.grad = torch.zeros_like(self.flat)
        for name, part in self.split(self.flat.detach()).items():
            parameters[name].data = part

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of `flat` in the parameters' shapes, by name."""
        parts = flat.split([p.numel() for p in self.parameters.values()])
        return {
            name: part.view(p.shape) for (name, p), part in zip(self.parameters.items(), parts, strict=True)
        }

    def gather_gradients(self) -> Tensor:
        """Copy all gradients into the flat one and drop them, which is cheaper than adding into views."""
        torch.cat([p.grad.reshape(-1) for p in self.parameters.values()], out=self.flat.grad)
        for parameter in self.parameters.values():
            parameter.grad = None
        return self.flat.grad
