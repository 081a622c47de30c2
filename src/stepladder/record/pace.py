"""How fast a run typically stepped, from its logged steps: what it costs on the time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from stepladder.record.events import StepRecord
from stepladder.record.spec import RunSpec


@dataclass(frozen=True)
class Pace:
    """How fast a run typically stepped."""

    median_step_seconds: dict[str, float]
    """By phase."""
    accelerator_seconds: float
    """Steps × median of step time × accelerators, summed over phases."""
    tokens_per_second: float
    positions_per_second: float


def told_steps(spec: RunSpec, steps: Sequence[StepRecord]) -> list[StepRecord]:
    """Those of a log's steps that are of this run and tell what its pace is made of; a damaged log may have
    others."""
    phases = {phase.name for phase in spec.recipe.phases}
    return [
        record
        for record in steps
        if record["step"] < spec.recipe.steps
        and record.get("phase") in phases
        and {"step_seconds", "accelerators", "mfu"} <= record.keys()
    ]


def lost_phase(spec: RunSpec, steps: Sequence[StepRecord], done: int) -> str | None:
    """A phase that a run of `done` steps has begun and that none of its logged steps tells of, so that its
    pace is not known any more; None if there is no such phase."""
    known = {record["phase"] for record in told_steps(spec, steps) if record["step"] < done}
    begin = 0
    for phase in spec.recipe.phases:
        if phase.steps and begin < done and phase.name not in known:
            return phase.name
        begin += phase.steps
    return None


def typical_pace(spec: RunSpec, steps: Sequence[StepRecord]) -> Pace:
    """The run's pace by the medians of its logged steps, so that a slow step costs nothing."""
    phases = {phase.name: phase for phase in spec.recipe.phases if phase.steps}
    by_phase = {name: [record for record in steps if record["phase"] == name] for name in phases}
    typical = {name: median(r["step_seconds"] for r in records) for name, records in by_phase.items()}
    # Per step, because a run may go on from its checkpoint on another number of accelerators.
    cost = {n: median(r["step_seconds"] * r["accelerators"] for r in rs) for n, rs in by_phase.items()}
    stepping = sum(phase.steps * typical[name] for name, phase in phases.items())
    return Pace(
        median_step_seconds=typical,
        accelerator_seconds=sum(phase.steps * cost[name] for name, phase in phases.items()),
        tokens_per_second=spec.recipe.tokens / stepping,
        positions_per_second=spec.recipe.positions / stepping,
    )


def mfu_spread(steps: Sequence[StepRecord]) -> tuple[float, float, float] | None:
    """Median, 10th and 90th percentile of MFU over logged steps; None where none tells it.

    An earlier attempt may not have known the peak: its steps tell none.
    """
    told = [mfu for record in steps if (mfu := record["mfu"]) is not None]
    if not told:
        return None
    deciles = quantiles(told, n=10, method="inclusive") if len(told) > 1 else told * 9
    return median(told), deciles[0], deciles[-1]
