"""laws.json: laws of size and data of every variant, what they make of a budget, and gains by them.

Made by `fit_size_laws.fit_size_laws`, read by the report. Importing it takes numpy.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from stepladder.documents.document import Document, Part
from stepladder.laws.isoflop import IsoflopFit
from stepladder.laws.law_fit import LawFit
from stepladder.laws.numbers import Interval
from stepladder.schema.metric import MetricName

JointName = Literal["chinchilla", "overtraining"]


class Estimate(Part):
    """A number with its interval."""

    value: float | None
    """Null where it is infinite."""
    interval: Interval | None
    """Percentiles over the bootstrap; an end that is null is infinite or unknown. Null without draws."""


class JointLaws(Part):
    """One law of size and data for all variants at once."""

    fit: LawFit | None
    """Parameters of the variants by name, as `alpha[dense-baseline]`; its draws are left out."""
    reason: str | None
    """Why the design does not identify it, or null."""


class Profiles(Part):
    """Approach 2 for one variant."""

    fit: IsoflopFit | None
    """Minima of the profiles and the power laws through them."""
    reason: str | None
    """Why there is none, or null."""


class Optimum(Part):
    """What one budget is best spent on."""

    variant: str
    """Whose."""
    flops: float
    """The budget, FLOPs."""
    trained: bool
    """Whether runs of the table had it; else it is beyond them."""
    parameters: Estimate | None
    """N* by the power law through the profiles' minima."""
    tokens: Estimate | None
    """D* by the same."""
    parameters_joint: Estimate | None
    """N* by Chinchilla's law, at the FLOPs per parameter and token of the runs."""
    tokens_joint: Estimate | None
    """D* by the same."""
    difference: float | None
    """N* by Chinchilla's law over that by the profiles, less 1."""


class Forecast(Part):
    """The largest budget, predicted by a law that was fitted without it."""

    variant: str
    """Whose."""
    law: Literal["chinchilla", "overtraining", "isoflop"]
    """Which."""
    flops: float
    """The budget, FLOPs; mean over the runs."""
    n: int
    """Runs that it had."""
    loss_error: float | None
    """Predicted over observed loss, less 1: mean over the runs. Null of isoflop, which predicts no loss."""
    loss_worst: float | None
    """The largest of them, up or down."""
    parameters_error: float | None
    """Predicted N* over the one that the profile then had, less 1; of isoflop alone."""
    reason: str | None
    """Why there is no prediction, or null."""


class JointGain(Part):
    """What a candidate saves by Chinchilla's laws, where the reference is best sized."""

    candidate: str
    """Variant that is judged."""
    reference: str
    """Variant that it is held against."""
    flops: float
    """The reference's budget, FLOPs."""
    parameters: float
    """Its N* there."""
    tokens: float
    """Its D* there."""
    frontier: Estimate
    """FLOPs that the reference needs at its best sizes, over those that the candidate needs at its own."""
    at_equal_parameters: Estimate
    """Tokens that the reference needs at this N for the candidate's loss at this N and D, over D."""
    at_equal_tokens: Estimate
    """Parameters that the reference needs at this D for the same loss, over N."""


class SizeLaws(Document):
    """Laws of size and data."""

    VERSION: ClassVar[int] = 1
    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "run snakemake again, or `stepladder laws RUNS --out FILE`"

    schema_version: int = VERSION
    """version of these fields"""
    n_runs: int
    """Runs that were fitted."""
    rows_sha256: str
    """Digest of what of these runs determines laws."""
    metric: MetricName = "target_loss"
    """What the laws are of."""
    confidence: float
    """Coverage of all intervals."""
    chinchilla: JointLaws
    """Loss by size and data."""
    overtraining: JointLaws
    """Loss by compute and tokens per parameter."""
    isoflop: dict[str, Profiles]
    """The profiles of each variant."""
    optima: tuple[Optimum, ...]
    """Every budget with a profile, and the target; empty where no law says any."""
    forecasts: tuple[Forecast, ...]
    """Of the largest budget, by every law that there is."""
    gains: tuple[JointGain, ...]
    """Every comparison, at the largest budget and at the target; empty without Chinchilla's law."""
    warnings: tuple[str, ...]
    """What to know before believing them."""

    @property
    def identified(self) -> bool:
        """Whether there is any law."""
        return bool(
            self.chinchilla.fit or self.overtraining.fit or any(found.fit for found in self.isoflop.values())
        )
