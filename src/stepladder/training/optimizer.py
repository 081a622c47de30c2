"""AdamW, Muon for matrices if asked for, gradient clipping, and the warmup-stable-decay schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from stepladder.record.spec import OptimizerSpec, ParametrizationSpec, ScheduleSpec
from stepladder.training.parametrization import factors


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


class Group(NamedTuple):
    """Parameters that are updated alike, and how: factors are on the optimizer's own numbers."""

    parameters: dict[str, nn.Parameter]
    decays: bool
    rate: float = 1.0
    epsilon: float = 1.0


def sort_parameters(
    model: nn.Module, muon: bool, parametrization: ParametrizationSpec | None = None
) -> tuple[Group, ...]:
    """Parameters by how they are updated: by Muon, by AdamW with decay, by AdamW without; the last two also
    by the factors of their parametrization.

    Matrices decay; embeddings, tied or not, norm gains and other vectors do not. Muon takes the matrices
    of layers: not the head, nor routers, whose rows are classes.
    """
    matrices: dict[str, nn.Parameter] = {}
    groups: dict[tuple[bool, float, float], dict[str, nn.Parameter]] = {
        (True, 1.0, 1.0): {},
        (False, 1.0, 1.0): {},
    }
    for name, parameter in model.named_parameters():
        last = name.rsplit(".", 1)[-1]
        decays = parameter.ndim > 1 and last != "embedding"
        if muon and decays and last not in ("unembedding", "router"):
            matrices[name] = parameter
        else:
            found = factors(name, parameter.ndim, parametrization)
            groups.setdefault((decays, found.rate, found.epsilon), {})[name] = parameter
    adam = [Group(members, *key) for key, members in groups.items()]
    return (Group(matrices, True), *sorted(adam, key=lambda group: not group.decays))


class Optimizer:
    """Updates weights that are views of one flat tensor per group; or, if they are sharded, this rank's
    shards.

    Flat, the update, the gradient norm and the scaling are one operation each, whatever the number of
    parameters. A step whose gradient is not finite changes nothing; that is decided on the device, so that
    nothing waits for it.
    """

    def __init__(
        self,
        model: nn.Module,
        spec: OptimizerSpec,
        sum_over_shards: Callable[[Tensor], Tensor] | None = None,
        parametrization: ParametrizationSpec | None = None,
    ) -> None:
        """Take over the model's parameters.

        Args:
            sum_over_shards: adds up a number over the ranks that hold the model's shards, if it is sharded.

        Raises:
            ValueError: Muon with a sharded model: it needs whole matrices.
        """
        self.spec = spec
        self.groups = sort_parameters(model, spec.name == "muon", parametrization)
        self.parameters = {name: p for group in self.groups for name, p in group.parameters.items()}
        self._sum_over_shards = sum_over_shards
        if sum_over_shards is not None and spec.name == "muon":
            raise ValueError(
                "optimizer.name muon needs whole matrices on each rank: set execution.sharding to none"
            )
        if sum_over_shards is None:
            self.flat = self._flatten()
            self.gradient = torch.zeros_like(self.flat)
            self.weights, self.gradients = self._by_group(self.flat), self._by_group(self.gradient)
        else:
            self.weights = [[_local(p.data) for p in group.parameters.values()] for group in self.groups]
            self.gradients = [[torch.zeros_like(t) for t in group] for group in self.weights]
        # torch.optim.AdamW's functional form, because the class would update each parameter by itself
        self.moments = {
            name: [[torch.zeros_like(t) for t in group] for group in self.weights[1:]]
            for name in ("exp_avg", "exp_avg_sq")
        }
        self.counts = [[torch.zeros((), device=t.device) for t in group] for group in self.weights[1:]]
        self.momentum = torch.zeros_like(self.weights[0][0]) if self.groups[0].parameters else None
        self.muon = None if self.momentum is None else self._build_muon(self.momentum)

    def _flatten(self) -> Tensor:
        """Make the parameters views of one flat tensor, group after group; returns it."""
        flat = torch.cat([p.detach().reshape(-1) for p in self.parameters.values()])
        for name, view in self._cut(flat, self.parameters).items():
            self.parameters[name].data = view
        return flat

    def _by_group(self, flat: Tensor) -> list[list[Tensor]]:
        """The part of a flat tensor that is each group's; none where the group is empty."""
        sizes = [sum(p.numel() for p in group.parameters.values()) for group in self.groups]
        return [[part] if part.numel() else [] for part in flat.split(sizes)]

    @torch.no_grad()
    def gather(self) -> None:
        """Take the parameters' gradients over; a parameter that had no part in the loss has a zero one."""
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters.values()]
        if self._sum_over_shards is None:
            torch.cat([g.reshape(-1) for g in grads], out=self.gradient)
        else:
            shards = iter(grads)
            self.gradients = [[_local(next(shards)) for _ in group.parameters] for group in self.groups]
        self.forget()

    def forget(self) -> None:
        """Drop the parameters' own gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def norm(self) -> Tensor:
        """Euclidean norm of the whole gradient."""
        if self._sum_over_shards is None:
            return torch.linalg.vector_norm(self.gradient)  # type: ignore[no-any-return]  # untyped
        norms = torch._foreach_norm([g for group in self.gradients for g in group])
        return self._sum_over_shards(torch.stack(norms).square().sum()).sqrt()

    @torch.no_grad()
    def step(self, learning_rate: float) -> Tensor:
        """Update the parameters from the gathered gradients; returns the norm before clipping."""
        norm = self.norm()
        found_inf = torch.isfinite(norm).logical_not_().to(torch.float32)
        scale = (self.spec.clip_norm / (norm + 1e-6)).clamp_(max=1.0)
        for tensors in self.gradients:
            if tensors:
                torch._foreach_mul_(tensors, scale)
        if self.muon is not None:
            self._step_muon(learning_rate, found_inf)
        for number, group in enumerate(self.groups[1:]):
            if self.weights[number + 1]:
                adamw(
                    self.weights[number + 1],
                    self.gradients[number + 1],
                    self.moments["exp_avg"][number],
                    self.moments["exp_avg_sq"][number],
                    max_exp_avg_sqs=[],
                    state_steps=self.counts[number],
                    fused=True,
                    amsgrad=False,
                    beta1=self.spec.beta1,
                    beta2=self.spec.beta2,
                    lr=learning_rate * group.rate,
                    weight_decay=self.spec.weight_decay / group.rate if group.decays else 0.0,
                    eps=self.spec.epsilon * group.epsilon,
                    maximize=False,
                    found_inf=found_inf,
                )
        return norm

    def _build_muon(self, momentum: Tensor) -> torch.optim.Muon:
        """torch's Muon over views of the first group's weights, gradients and momentum."""
        matrices = [nn.Parameter(weight) for weight in self._split_group(self.flat)]
        for matrix, gradient in zip(matrices, self._split_group(self.gradient), strict=True):
            matrix.grad = gradient
        muon = torch.optim.Muon(
            matrices,
            lr=self.spec.learning_rate,
            weight_decay=self.spec.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        for matrix, buffer in zip(matrices, self._split_group(momentum), strict=True):
            muon.state[matrix]["momentum_buffer"] = buffer
        return muon

    def _split_group(self, flat: Tensor) -> list[Tensor]:
        """The single matrices of the first group: gate and up apart, each expert by itself."""
        views = self._cut(flat, self.groups[0].parameters)
        matrices = []
        for name, parameter in self.groups[0].parameters.items():
            halves = 2 if name.endswith("gate_up") else 1
            view = views[name].view(-1, halves, parameter.shape[-2] // halves, parameter.shape[-1])
            matrices += list(view.flatten(0, 1))
        return matrices

    def _step_muon(self, learning_rate: float, found_inf: Tensor) -> None:
        """Muon knows no skipped steps: weights and momentum are put back if the gradient was not finite."""
        assert self.muon is not None and self.momentum is not None
        kept = [(t, t.clone()) for t in (self.weights[0][0], self.momentum)]
        self.muon.param_groups[0]["lr"] = learning_rate
        self.muon.step()
        for tensor, before in kept:
            torch.where(found_inf > 0, before, tensor, out=tensor)

    def state(self) -> dict[str, Tensor]:
        """Moments per parameter as `<parameter>.exp_avg` and so on, and the number of updates."""
        state = {"updates": self.counts[-1][0]}
        for moment, groups in self.moments.items():
            for group, tensors in zip(self.groups[1:], groups, strict=True):
                views = self._views(group.parameters, tensors)
                state |= {f"{name}.{moment}": view for name, view in views.items()}
        if self.momentum is not None:
            views = self._views(self.groups[0].parameters, [self.momentum])
            state |= {f"{name}.momentum": view for name, view in views.items()}
        return state

    def loaded(self) -> None:
        """To be called when the tensors of `state` were written to."""
        for group in self.counts:
            for count in group:
                count.copy_(self.counts[-1][0])

    def _views(self, names: dict[str, nn.Parameter], tensors: list[Tensor]) -> dict[str, Tensor]:
        """One group's tensors in the parameters' shapes, or as shards of their layout."""
        if self._sum_over_shards is None:
            return self._cut(tensors[0], names) if tensors else {}
        from torch.distributed.tensor import DTensor  # 0.9 s of import that single ranks need not pay

        like = zip(names.items(), tensors, strict=True)
        return {
            name: DTensor.from_local(t, p.device_mesh, p.placements, shape=p.shape, stride=p.stride())  # type: ignore[attr-defined]  # a DTensor
            for (name, p), t in like
        }

    @staticmethod
    def _cut(flat: Tensor, parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
        """Views of the beginning of `flat` in the parameters' shapes, by name."""
        sizes = [p.numel() for p in parameters.values()]
        views = flat[: sum(sizes)].split(sizes)
        return {name: view.view(p.shape) for (name, p), view in zip(parameters.items(), views, strict=True)}


def _local(tensor: Tensor) -> Tensor:
    """This rank's shard."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
