"""The `analysis:` section of a ladder file. Importing it is cheap: the workflow is parsed through it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stepladder.ladder.parts import Settings

Axis = Literal["flops", "seconds", "tokens"]


class Verdict(Settings):
    """The rule of promotion, written down before the ladder runs; the report prints every criterion."""

    minimal_gain: float = Field(default=1.02, gt=0)
    """Smallest efficiency gain worth having, at the largest rung, on each of `axes`."""
    axes: tuple[Axis, ...] = Field(default=("flops", "seconds"), min_length=1)
    """Cost axes on which the gain must hold."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Level of the paired seed test."""
    minimal_rungs: int = Field(default=4, ge=2)
    """Rungs that candidate and reference must share."""
    held_out_within: float = Field(default=0.02, gt=0)
    """Largest relative error of the held-out predictions of candidate and reference, where one lies outside
    its interval."""


class AnalysisConfig(Settings):
    """How runs become laws and laws a verdict."""

    baseline: str
    """Variant that every other is compared with."""
    references: tuple[str, ...] = ()
    """Further variants that every other is compared with. Each recipe is always compared with the baseline's
    recipe on its own architecture too."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of all intervals."""
    bootstrap_draws: int = Field(default=2000, ge=100)
    """Bootstrap replicates; every law is fitted again in each."""
    seed: int = 0
    """Seed of the bootstrap."""
    huber_delta: float = Field(default=0.01, gt=0)
    """Residual of log loss beyond which a cell counts linearly, not squared. Near the seed noise of log
    loss: 0.001 for large runs (Hoffmann et al. 2022), 0.01 for toy rungs."""
    floor: Literal["shared", "free"] | Annotated[float, Field(ge=0)] = "shared"
    """E, nats/token: one for all variants, one each, or pinned at a value."""
    holdout_rungs: int = Field(default=1, ge=0)
    """Largest rungs that are left out and predicted before they are used."""
    verdict: Verdict = Verdict()
