"""gates/<rung>.json: what was decided between rungs. Importing it is cheap: the workflow is parsed through
it.

Made by `stepladder.decision.gates`; read by the workflow, which then trains no more than is needed, and by
the comparison, the status and the report.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import ClassVar, Literal

from stepladder.documents.document import Document, Part
from stepladder.record.plan import PlannedRun
from stepladder.record.spec import RunSpec
from stepladder.schema.metric import MetricName

Fate = Literal["goes on", "stopped", "promoted", "not needed"]


class GatedArm(Part):
    """What a gate decided of one variant."""

    variant: str
    """architecture-recipe."""
    fate: Fate
    """`not needed`: it is only compared with, and nothing is left to be compared."""
    because: str
    """Why, in words."""
    chance: float | None
    """That the ladder, climbed to its end, promotes it (conditional power); null for one that is only
    compared with, where laws or noise are not known, or where nobody is stopped."""
    runs_saved: int
    """Runs that it would still have had; 0 where it goes on."""
    flops_saved: float
    """Model FLOPs of these."""
    hours_saved: float
    """Their accelerator-hours, as planned."""

    @property
    def ended(self) -> bool:
        """Whether its larger rungs do not run."""
        return self.fate != "goes on"


class GateRecord(Document):
    """What was seen after a rung, and what follows."""

    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "run snakemake again, which looks again"

    after: str
    """Label of the rung."""
    rungs: tuple[str, ...]
    """Labels of the rungs that had run: this one and the smaller."""
    runs: int
    """Runs that it rests on."""
    rows_sha256: str
    """Digest of what these determine (`Cells.rows_sha256`)."""
    metric: MetricName = "target_loss"
    """What was looked at."""
    target_flops: float | None
    """Where gains are judged beside the largest rung, FLOPs."""
    futility: float
    """Chance below which a candidate is stopped."""
    information: float | None
    """Share of what the whole ladder will tell of the gain at the target: variances, inverse. Null where no
    early promotion was asked for, or it is not known."""
    spent: float
    """Share of the rule's error rates that early promotions may have used up, this gate included."""
    arms: tuple[GatedArm, ...]
    """Every variant that had come so far."""

    def arm(self, variant: str) -> GatedArm | None:
        """What was decided of a variant here; None if it had ended before."""
        return next((arm for arm in self.arms if arm.variant == variant), None)


def ended(records: Iterable[GateRecord]) -> dict[str, tuple[GateRecord, GatedArm]]:
    """Variants that ended at a gate, with where and why."""
    return {arm.variant: (record, arm) for record in records for arm in record.arms if arm.ended}


def runs_left(runs: Iterable[RunSpec] | Iterable[PlannedRun], records: Collection[GateRecord]) -> list[str]:
    """Ids of the runs that gates leave: all, but of variants that ended those of larger rungs."""
    over = ended(records)
    return [run.id for run in runs if run.variant not in over or run.rung in over[run.variant][0].rungs]
