"""`design:` runs that follow from a few numbers, or from the laws of other runs, instead of being listed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, model_validator

from stepladder.schema import ranges
from stepladder.schema.budget import Flops, budget_label
from stepladder.schema.settings import Name, Seeds, Settings


class Isoflop(Settings):
    """IsoFLOP profiles: at each of a few FLOP budgets several sizes, smaller and larger than the one that is
    expected to be best (approach 2 of Hoffmann et al. 2022, arXiv 2203.15556, section 3.2)."""

    kind: Literal["isoflop"]
    flops: tuple[Annotated[float, ranges.RUN_FLOPS], ...] = Field(min_length=1, max_length=ranges.MOST_RUNGS)
    """Budgets, training FLOPs of one run (causal count)."""
    sizes: Annotated[int, ranges.PROFILE_SIZES] = 7
    """Sizes at each budget: a curve through them needs 3, and its own check 5."""
    around: Annotated[float, ranges.TOKENS_PER_PARAMETER] = 20.0
    """Tokens per active non-embedding parameter of the size in the middle: where the optimum is expected."""
    ratio: Annotated[float, ranges.SIZE_RATIO] = 1.5
    """Factor between neighbouring sizes, in active non-embedding parameters; where the ladder has no size so
    near, its next one."""

    @model_validator(mode="after")
    def _flops_ascend(self) -> Self:
        labels = [budget_label(Flops(flops=flops)) for flops in self.flops]
        if list(self.flops) != sorted(self.flops) or len(set(labels)) < len(labels):
            raise ValueError(f"flops [{', '.join(labels)}]: write each budget once, smallest first")
        return self


TOP = "top"
"""Label of the rung whose size the laws choose."""


class ComputeOptimalTop(Settings):
    """A largest rung whose size and tokens come from Chinchilla's law of all other runs."""

    kind: Literal["compute_optimal_top"]
    flops: Annotated[float, ranges.RUN_FLOPS]
    """Training FLOPs of one run of that rung (causal count): more than any other run has."""
    seeds: Seeds | None = None
    """Default: the ladder's seeds."""
    around: Annotated[float, ranges.TOKENS_PER_PARAMETER] = 20.0
    """Tokens per active non-embedding parameter at which it is planned until the law is known."""


class MixtureSwarm(Settings):
    """Many small runs on mixtures about the baseline's, whose law finds the mixture that an arm of the ladder
    trains on (RegMix, Liu et al. 2024, arXiv 2407.01492)."""

    kind: Literal["mixture_swarm"]
    runs: Annotated[int, ranges.SWARM_RUNS] = 32
    """Mixtures that are drawn, a run each: of the baseline's architecture and recipe, at the rung's first
    budget, with its seeds in turn."""
    rung: Name | None = None
    """Where they run; default: the smallest."""
    arm: Name = "predicted"
    """Corpus that reads the best mixture; every rung, architecture and recipe trains on it."""
    concentration: Annotated[float, ranges.CONCENTRATION] = 10.0
    """Of the Dirichlet distribution about the baseline's shares: a share p is drawn with a standard deviation
    of sqrt(p (1 - p) / (1 + concentration))."""
    seed: Annotated[int, ranges.SEED] = 0
    """Of the drawn mixtures."""


Design = Annotated[Isoflop | ComputeOptimalTop | MixtureSwarm, Discriminator("kind")]
