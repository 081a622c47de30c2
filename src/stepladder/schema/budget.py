"""`budgets:` how much compute a run gets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stepladder.schema import ranges
from stepladder.schema.settings import Settings


class Steps(Settings):
    """A budget given as optimizer steps instead of a compute multiple."""

    steps: Annotated[int, ranges.STEPS]


Budget = Annotated[float, ranges.BUDGET] | Steps
Budgets = Annotated[tuple[Budget, ...], Field(min_length=1, max_length=ranges.MOST_RUNS)]


def budget_label(budget: Budget) -> str:
    """A budget in names of runs: 1x, 0.25x, 20000steps."""
    return f"{budget.steps}steps" if isinstance(budget, Steps) else f"{budget:g}x"
