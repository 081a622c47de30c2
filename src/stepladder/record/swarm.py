"""swarm.json: the best mixture by the law of many small runs, and what is expected of it.

`stepladder.decision.choose_mixture` makes it before any run of the arm that trains it; the arm's specs and
the report read it.
"""

from __future__ import annotations

from typing import ClassVar

from stepladder.documents.document import Part
from stepladder.record.foretold import Foretold, Interval


class DomainShare(Part):
    """One domain of the mixture."""

    domain: str
    baseline: float
    """Its share in the baseline's mixture."""
    least: float
    """Least share that was tried."""
    most: float
    """Most that was tried."""
    cap: float | None
    """Share that `max_epochs` allows the arm's longest run; None where that is all."""
    share: float
    """In the best mixture."""
    interval: Interval
    """Of the share of the best mixture, over the laws that the runs allow."""


class Expectation(Part):
    """What is expected of the best mixture, for the target loss or for one domain's."""

    domain: str | None
    """None: the target loss."""
    weight: float
    """Of the domain in the target loss; 1 for that itself."""
    change: float
    """Log of its loss over the baseline's, less what the search for the lowest point makes it look better."""
    law_interval: Interval
    """Of the change, by the laws that the runs allow."""
    interval: Interval
    """Of the change between means over the arm's and the baseline's runs at this rung, of the same seeds."""
    left_out_error: float
    """Root mean square, over the runs, of the error of log loss that the law of all others makes."""
    spread: float
    """Standard deviation of log loss between the runs: what a law could explain."""


class Profile(Part):
    """Target loss over the share of one domain, the others as they are to each other in the best mixture."""

    domain: str
    share: tuple[float, ...]
    loss: tuple[float, ...]
    """By the law, nats/token."""
    band: tuple[Interval, ...]
    """Its interval."""


class SwarmRun(Part):
    """A run that the law rests on."""

    id: str
    shares: dict[str, float]
    """Domain to its share of the sequences."""
    loss: float
    """Target loss, nats/token."""
    losses: dict[str, float]
    """Of the domains."""
    predicted: float
    """Target loss by the law of all others."""


class SwarmOutcome(Foretold):
    """The best mixture, and what it rests on."""

    VERSION: ClassVar[int] = 1
    REMEDY: ClassVar[str] = "run snakemake, which fits it again"

    schema_version: int = VERSION
    """version of these fields"""
    baseline: str
    """Variant whose runs, on drawn mixtures, these are."""
    arm: str
    """Corpus that reads the best mixture."""
    variant: str
    """What the baseline is with that corpus."""
    rung: str
    budget: str
    n_arm: int
    """Runs of the arm there: what `Expectation.interval` holds for."""
    n_baseline: int
    """Runs of the baseline there."""
    rank_correlation: float | None
    """Spearman's, between the target losses of runs and those by the law of all others; None if either is
    the same everywhere."""
    domains: tuple[DomainShare, ...]
    """Of the mixture."""
    expectations: tuple[Expectation, ...]
    """The target loss first."""
    profiles: tuple[Profile, ...]
    """One per domain of the mixture."""
    runs: tuple[SwarmRun, ...]
    """Those of the swarm, and the baseline's at this rung and budget."""
    left_out: tuple[str, ...]
    """Runs without a finite loss, or that read a domain more often than `max_epochs`."""

    @property
    def mixture(self) -> dict[str, float]:
        """Domain to its share in the best mixture."""
        return {row.domain: row.share for row in self.domains}
