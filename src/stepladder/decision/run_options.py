"""What could be run next, and what each run would tell: what `next_runs.rank_runs` finds."""

from __future__ import annotations

from typing import Literal

from stepladder.documents.document import Part

LEAST = 1e-3
"""A run that narrows the interval by no more is not worth planning."""

MOST = 100
"""Purchases of a plan."""


class RunOption(Part):
    """One more seed of one variant or of both at one place of the ladder."""

    rung: str
    """Label of the rung, or where a new one would be."""
    flops: float
    """What one run costs."""
    new: bool
    """Whether nobody ran there before."""
    runs: dict[str, int]
    """How many runs, by variant."""
    accelerator_hours: float
    """What all of the runs cost."""
    interval_factor_after: float
    """The interval would be the gain times or divided by this."""
    narrowing: float
    """Share by which the interval of ln EG would be narrower."""
    narrowing_per_hour: float
    """`narrowing` by accelerator-hours."""

    @property
    def worthwhile(self) -> bool:
        """Whether it may be bought. A single run can even widen the interval: the seed that only one of two
        variants has is noise that their difference does not cancel."""
        return self.narrowing > LEAST


class ChosenRun(Part):
    """A step of the plan."""

    rung: str
    """Label of the rung, or where a new one would be."""
    flops: float
    """What one run costs."""
    runs: dict[str, int]
    """How many runs, by variant."""


class SpendingPlan(Part):
    """The best option per hour, again and again, while the budget lasts."""

    steps: tuple[ChosenRun, ...]
    """In the order in which they are chosen."""
    accelerator_hours: float
    """What all steps cost."""
    interval_factor_after: float
    """The interval would be the gain times or divided by this."""
    narrowing: float
    """Share by which the interval of ln EG would be narrower."""


class NextRuns(Part):
    """Options by what they would tell of the gain at the target, per accelerator-hour."""

    axis: Literal["flops"] = "flops"
    """Cost axis of the gain."""
    candidate: str
    """Variant that is judged."""
    reference: str
    """Variant that it is judged against."""
    target_flops: float
    """Where the gain matters."""
    hours: float
    """Accelerator-hours that may be spent."""
    confidence: float
    """Coverage of the intervals."""
    sd_log_gain: float
    """Standard deviation of ln EG at the target now."""
    interval_factor_now: float
    """The interval is the gain times or divided by this."""
    misfit_sd: float
    """Standard deviation of log loss that no number of seeds averages out."""
    candidates: tuple[RunOption, ...]
    """Those that the budget can pay: first the worthwhile ones, best per hour first. The plan begins with the
    first of them."""
    unaffordable: int
    """Options that cost more than the budget."""
    plan: SpendingPlan
    """What the budget would best be spent on."""
