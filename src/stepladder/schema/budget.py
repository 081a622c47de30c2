"""`budgets:` how much compute a run gets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from stepladder.schema import ranges
from stepladder.schema.settings import Settings


class Steps(Settings):
    """A budget given as optimizer steps instead of a compute multiple."""

    steps: Annotated[int, ranges.STEPS]


def _kind(value: object) -> str:
    return "steps" if isinstance(value, dict | Steps) else "multiple"


# Told apart by what is written, so that an error is about that one.
Budget = Annotated[
    Annotated[float, ranges.BUDGET, Tag("multiple")] | Annotated[Steps, Tag("steps")], Discriminator(_kind)
]
Budgets = Annotated[tuple[Budget, ...], Field(min_length=1, max_length=ranges.MOST_RUNS)]


def budget_label(budget: Budget) -> str:
    """A budget in names of runs: 1x, 0.25x, 20000steps."""
    return f"{budget.steps}steps" if isinstance(budget, Steps) else f"{budget:g}x"
