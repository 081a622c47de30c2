"""Trunks: what runs of several budgets have in common is trained once (Hägele et al. 2024, arXiv 2405.18392).

With warmup-stable-decay two runs that differ in budget alone do the same until the shorter one begins to
decay, or, if a recipe's first phase is a share of the steps, until the shorter one ends that phase. So the
runs of a (variant, rung, seed) form a chain: a trunk at constant learning rate, cut into segments, from the
end of each of which one run branches off. Segments have specs of their own, in which nothing tells the budget
they were made for: a longer budget adds a segment and a branch, and leaves what is there as it is.

A branch computes exactly what the whole run would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from stepladder.record.cost import flops_until
from stepladder.record.spec import TRUNK, MixtureStage, PhaseSpec, RunSpec

Part = TypeVar("Part", PhaseSpec, MixtureStage)


@dataclass(frozen=True)
class Segment:
    """A stretch of a trunk, from the end of the one before."""

    spec: RunSpec
    """Of all steps up to its end."""
    start: str | None
    """Id of the segment before; None at the trunk's foot."""


@dataclass(frozen=True)
class Trunks:
    """The trunks of a ladder."""

    segments: dict[str, Segment]
    """By id: where they live below the ladder's `trunks/` folder."""
    parents: dict[str, str]
    """Run to the segment from whose end it branches off; runs that train alone are missing."""

    def parent(self, name: str) -> RunSpec | None:
        """What a run or a segment goes on from."""
        start = self.segments[name].start if name in self.segments else self.parents.get(name)
        return None if start is None else self.segments[start].spec

    def branches(self, segment: str) -> list[str]:
        """Runs that go through the end of a segment."""
        through = {segment}
        for name, other in self.segments.items():  # from the foot upwards
            if other.start in through:
                through.add(name)
        return [run for run, parent in self.parents.items() if parent in through]

    def flops_trained(self, spec: RunSpec) -> float:
        """Model FLOPs of the steps that a run or a segment trains itself."""
        parent = self.parent(spec.id)
        return flops_until(spec, spec.recipe.steps) - (
            0.0 if parent is None else flops_until(spec, parent.recipe.steps)
        )


def prefix(spec: RunSpec, steps: int) -> RunSpec:
    """The first `steps` steps of a run, before its decay, as a run of its own that names no budget."""
    return spec.model_copy(
        update={
            "id": f"{spec.variant}/{spec.rung}/seed{spec.seed}/step{steps}",
            "budget": TRUNK,
            "budget_multiple": 0.0,
            "recipe": spec.recipe.model_copy(update={"phases": _first_steps(spec.recipe.phases, steps)}),
            "schedule": spec.schedule.model_copy(update={"decay_steps": 0}),
            "mixture": _first_steps(spec.mixture, steps) if spec.mixture else None,
        }
    )


def _first_steps(parts: Sequence[Part], steps: int) -> tuple[Part, ...]:
    """What of the parts falls into the first `steps` steps."""
    found: list[Part] = []
    for part in parts:
        if steps:
            found.append(part.model_copy(update={"steps": min(part.steps, steps)}))
            steps -= found[-1].steps
    return tuple(found)


def common_steps(a: RunSpec, b: RunSpec) -> int:
    """Steps from the first on that two runs do exactly alike, neither having begun to decay."""
    steps = min(
        _alike(a.recipe.phases, b.recipe.phases),
        *(run.recipe.steps - run.schedule.decay_steps for run in (a, b)),
    )
    if a.mixture and b.mixture:
        steps = min(steps, _alike(a.mixture, b.mixture))
    return steps if prefix(a, steps) == prefix(b, steps) else 0


def _alike(parts: Sequence[Part], others: Sequence[Part]) -> int:
    """Steps from the first on in which two lists of phases, or of stages, are the same."""
    steps = 0
    for one, other in zip(parts, others, strict=False):
        if one.model_copy(update={"steps": 0}) != other.model_copy(update={"steps": 0}):
            break
        steps += min(one.steps, other.steps)
        if one.steps != other.steps:
            break
    return steps


def find_trunks(runs: Iterable[RunSpec]) -> Trunks:
    """Segments and branches of the runs."""
    families: dict[tuple[str, str, int], list[RunSpec]] = {}
    for run in runs:
        families.setdefault((run.variant, run.rung, run.seed), []).append(run)
    found = Trunks({}, {})
    for family in families.values():
        _climb(sorted(family, key=lambda run: run.recipe.steps), found)
    return found


def _climb(family: list[RunSpec], found: Trunks) -> None:
    """Add the trunk of runs that differ in budget alone, shortest first.

    The longest has a segment of its own as well: a still longer one will go on from there.
    """
    below: Segment | None = None
    for run in family:
        if below is not None and common_steps(below.spec, run) < below.spec.recipe.steps:
            below = None
        steps = common_steps(run, _longer(run))
        if steps and (below is None or steps > below.spec.recipe.steps):
            below = Segment(prefix(run, steps), None if below is None else below.spec.id)
            found.segments[below.spec.id] = below
        if below is not None:
            found.parents[run.id] = below.spec.id


def _longer(run: RunSpec) -> RunSpec:
    """The same run with twice the steps."""
    phases = tuple(p.model_copy(update={"steps": 2 * p.steps}) for p in run.recipe.phases)
    stages = tuple(s.model_copy(update={"steps": 2 * s.steps}) for s in run.mixture or ())
    decay = {"decay_steps": 2 * run.schedule.decay_steps}
    return run.model_copy(
        update={
            "recipe": run.recipe.model_copy(update={"phases": phases}),
            "schedule": run.schedule.model_copy(update=decay),
            "mixture": stages or None,
        }
    )


def share_trunk(runs: list[RunSpec]) -> list[RunSpec]:
    """Runs of one variant and rung with the warmup of the shortest, so that they have steps in common.

    Raises:
        ValueError: their learning rate, batch or another number of the optimizer depends on the budget.
    """
    warmup = min(run.schedule.warmup_steps for run in runs)
    for what, values in (
        ("learning rate", {f"{run.optimizer.learning_rate:.4g}": run.budget for run in runs}),
        ("batch", {f"{run.recipe.phases[-1].sequences} sequences": run.budget for run in runs}),
        ("beta2", {f"{run.optimizer.beta2:.6g}": run.budget for run in runs}),
        ("epsilon", {f"{run.optimizer.epsilon:.4g}": run.budget for run in runs}),
        ("weight decay", {f"{run.optimizer.weight_decay:.4g}": run.budget for run in runs}),
    ):
        if len(values) > 1:
            shown = ", ".join(f"{value} at {budget}" for value, budget in values.items())
            raise ValueError(
                f"optimizer.trunk needs one {what} for all budgets, and the rule gives {shown}: use a rule "
                "of n or d_model, a constant, or set it for this rung; or set optimizer.trunk to false"
            )
    return [
        run.model_copy(update={"schedule": run.schedule.model_copy(update={"warmup_steps": warmup})})
        for run in runs
    ]
