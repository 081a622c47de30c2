"""`budgets:` how much compute a run gets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Field, Tag

from stepladder.schema import ranges
from stepladder.schema.settings import Settings


class Steps(Settings):
    """A budget given as optimizer steps instead of a compute multiple."""

    steps: Annotated[int, ranges.STEPS]


class Flops(Settings):
    """A budget given as training FLOPs (causal count), whatever the size: what IsoFLOP grids are made of."""

    flops: Annotated[float, ranges.RUN_FLOPS]


FLOPS = "flops"

LEAST_SIZES = 3
"""Sizes that got the same FLOPs are an IsoFLOP profile from so many on: fewer tell no lowest point."""


def _kind(value: object) -> str:
    if isinstance(value, Flops) or (isinstance(value, dict) and "flops" in value):
        return "flops"
    return "steps" if isinstance(value, dict | Steps) else "multiple"


# Told apart by what is written, so that an error is about that one.
Budget = Annotated[
    Annotated[float, ranges.BUDGET, Tag("multiple")]
    | Annotated[Steps, Tag("steps")]
    | Annotated[Flops, Tag("flops")],
    Discriminator(_kind),
]
Budgets = Annotated[tuple[Budget, ...], Field(min_length=1, max_length=ranges.MOST_RUNS)]


def is_flops(label: str) -> bool:
    """Whether a budget's label is one of FLOPs."""
    return label.endswith(FLOPS) and label.removesuffix(FLOPS)[:1].isdigit()


def budget_label(budget: Budget) -> str:
    """A budget in names of runs: 1x, 0.25x, 20000steps, 1e18flops."""
    if isinstance(budget, Flops):
        return f"{budget.flops:g}{FLOPS}".replace("e+", "e")
    return f"{budget.steps}steps" if isinstance(budget, Steps) else f"{budget:g}x"
