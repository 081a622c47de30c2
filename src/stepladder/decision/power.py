"""power.json: what a ladder will be able to tell, before it is paid for; and ladders that would tell more.

Made by `plan_power.plan_power` and `design.designs`, read by the plan's page. Importing it is cheap.
"""

from __future__ import annotations

from stepladder.documents.document import Document, Part

DECISIVE = 0.8
"""Chance of promoting a gain from which the ladder is said to tell it: the usual power of a test."""


class Assumed(Part):
    """What is taken to be true of the runs to come, and why."""

    sd_log_loss: float
    """Seed noise: standard deviation of one run's log loss at the largest rung."""
    sd_smallest: float
    """The same at the smallest."""
    correlation: float
    """Of the log losses of two variants with the same seed."""
    noise_source: str
    """Where the noise is from, in words."""
    E: float
    """Floor of the law, `law_unit`."""
    A: float
    """Loss above the floor at `unit_cost`, `law_unit`."""
    alpha: float
    """Exponent."""
    unit_cost: float
    """FLOPs at which the loss is E + A."""
    law_source: str
    """Where the law is from, in words."""
    law_unit: str = "nats/token"
    """Of E and A."""


class Chance(Part):
    """How often each verdict follows from a gain."""

    gain: float
    """True efficiency gain of the candidate, the same at every rung."""
    promote: float
    """Share of the simulated climbs that end so."""
    hold: float
    """Share of the simulated climbs that end so."""
    reject: float
    """Share of the simulated climbs that end so."""


class SameChance(Part):
    """How often each verdict on equivalence follows from a difference."""

    margins: float
    """True difference of log loss, the same at every rung, in margins of the rule."""
    equivalent: float
    """Share of the simulated climbs that end so."""
    unknown: float
    """Share of the simulated climbs that end so."""
    not_equivalent: float
    """Share of the simulated climbs that end so."""


class PairPower(Part):
    """What the ladder will tell of one candidate against one reference."""

    candidate: str
    """Variant that is judged."""
    reference: str
    """Variant that it is held against."""
    accelerator_hours: float
    """Of all runs of the two."""
    price: float | None
    """Of the same, in the plan's currency; null where no price is set."""
    factor_largest: float | None
    """Half-width of the interval of EG at the largest rung, as a factor up or down: median over climbs. Null
    without an interval."""
    factor_target: float | None
    """The same at the target."""
    chances: tuple[Chance, ...]
    """One for each gain, ascending; none where the rule asks for equal losses."""
    same: tuple[SameChance, ...] = ()
    """One for each difference, ascending from none; empty where the rule asks for gains."""

    @property
    def tells(self) -> float | None:
        """The smallest gain that would be promoted with a chance of `DECISIVE`; None if none would."""
        return next((row.gain for row in self.chances if row.gain > 1 and row.promote >= DECISIVE), None)

    @property
    def shows_same(self) -> bool:
        """Whether variants that do not differ are found equivalent with a chance of `DECISIVE`."""
        return bool(self.same) and self.same[0].equivalent >= DECISIVE


class Change(Part):
    """What could be done to the ladder."""

    what: str
    """In words."""
    accelerator_hours: float
    """What it costs; below 0 what it saves."""
    price: float | None
    """The same in the plan's currency; null where no price is set."""
    promote: float | None
    """Chance that the pair in question promotes `goal` then, or is found equivalent if nothing differs; null
    where it stays what it is."""


class Power(Document):
    """What a ladder will be able to tell."""

    VERSION = 2
    SEALED = True
    REMEDY = "run `snakemake plan`, which makes it anew"

    schema_version: int = VERSION
    """version of these fields"""
    ladder: str
    """The ladder's name."""
    confidence: float
    """Coverage of the intervals."""
    climbs: int
    """Simulated climbs behind each chance."""
    climbs_whole: int
    """Simulated climbs behind each interval."""
    margin: float | None
    """Difference of loss that does not matter, as a share of it; null where the rule asks for gains."""
    reason: str | None
    """A sentence that says why nothing can be told, or null."""
    assumed: Assumed | None
    """What the simulation takes to be true; null where there was none."""
    pairs: tuple[PairPower, ...]
    """Every comparison that the ladder will make."""
    goal: float | None
    """The gain that `changes` are to show, of the pair that shows it least; null where every pair shows the
    smallest, or the rule asks for equal losses."""
    weakest: tuple[str, str] | None
    """Candidate and reference of the pair that `changes` are for; null where every pair shows enough."""
    changes: tuple[Change, ...]
    """Cheapest first."""

    @property
    def cheapest(self) -> Change | None:
        """The cheapest change by which the weakest pair shows the goal."""
        return next((row for row in self.changes if (row.promote or 0.0) >= DECISIVE), None)


class DesignedRung(Part):
    """A rung of a proposed ladder."""

    depth: int
    """Transformer layers."""
    seeds: int
    """Seeds, from 0 on."""


class Design(Part):
    """A proposed ladder."""

    rungs: tuple[DesignedRung, ...]
    """Smallest first."""
    runs: int
    """Of all variants."""
    accelerator_hours: float
    """Of all runs."""
    price: float | None
    """In the plan's currency; null where no price is set."""
    climbs: int
    """Simulated climbs behind each chance."""
    weakest: PairPower
    """The comparison that it decides least."""
