"""`data.mixture` on one run: its stages in steps."""

from __future__ import annotations

from collections.abc import Sequence

from stepladder.record.spec import MixtureStage, ScheduleSpec
from stepladder.schema.mixture import Stage


def in_words(stages: Sequence[Stage]) -> str:
    """`web 70 %, code 30 % until 80 % of the steps; then web 40 %, code 60 %`."""
    told = []
    for stage in stages:
        shares = ", ".join(f"{name} {100 * share:.3g} %" for name, share in stage.shares.items())
        told.append(shares + _until(stage))
    return "; then ".join(told)


def _until(stage: Stage) -> str:
    if stage.until is None:
        return ""
    if stage.until == "decay":
        return " until the learning rate decays"
    return f" until {100 * stage.until:.3g} % of the steps"


def resolve_mixture(
    stages: Sequence[Stage], domains: Sequence[str], steps: int, schedule: ScheduleSpec
) -> tuple[MixtureStage, ...]:
    """The stages of a run of `steps` steps, each with the shares of all domains that any of them reads.

    Args:
        domains: of the source, in its order.

    Raises:
        ValueError: a stage has no steps.
    """
    read = [name for name in domains if any(stage.weights.get(name) for stage in stages)]
    found, begin = [], 0
    for stage in stages:
        end = steps - schedule.decay_steps if stage.until == "decay" else round((stage.until or 1) * steps)
        if end <= begin:
            raise ValueError(
                f"data.mixture: the stage until {stage.until or 'the end'} has no steps: it would end at "
                f"step {end} of {steps}, the one before ends at {begin}: change `until`, or train longer"
            )
        shares = stage.shares
        found.append(MixtureStage(steps=end - begin, shares={name: shares.get(name, 0.0) for name in read}))
        begin = end
    return tuple(found)
