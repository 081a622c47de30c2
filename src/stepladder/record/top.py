"""top.json: the size of a top rung, as the laws of the other runs have it, and what they expect of it.

`stepladder.decision.choose_top` makes it before the rung runs; its specs and the report read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from stepladder.documents.document import Document, DocumentError, Part

Interval = tuple[float | None, float | None]
"""An end that is None is infinite or unknown."""


class TopPrediction(Part):
    """What is expected of one variant there."""

    variant: str
    """architecture-recipe."""
    tokens: float
    """Raw tokens that the FLOPs buy it at the chosen size."""
    loss: float
    """By its law, nats/token."""
    interval: Interval
    """Of the loss of one run: the law's error and the residuals of its runs."""


class TopRung(Document):
    """The chosen size."""

    VERSION: ClassVar[int] = 1
    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "run snakemake, which chooses it again"

    schema_version: int = VERSION
    """version of these fields"""
    made_from: str
    """Digest of the design and of the other runs; the size of another one is not taken."""
    made_at: str
    """When it was chosen, ISO 8601, UTC."""
    flops: float
    """Of one run."""
    confidence: float
    """Coverage of the intervals."""
    baseline: str
    """Variant whose best size it is."""
    best_parameters: float
    """N* of the baseline by Chinchilla's law: active non-embedding parameters."""
    best_parameters_interval: Interval
    """Of N*."""
    best_tokens: float
    """D* there, raw tokens."""
    best_tokens_interval: Interval
    """Of D*."""
    depth: int
    """Layers of the size that is nearest to N*."""
    parameters: float
    """Its active non-embedding parameters."""
    n_runs: int
    """Runs that the law was fitted to."""
    rows_sha256: str
    """Digest of what of these runs determines laws."""
    predictions: tuple[TopPrediction, ...]
    """Every variant."""

    def kept_from(self, path: Path) -> Self:
        """The choice at `path` where it is this one but for the time: what was written down before the runs
        stays so."""
        try:
            before = type(self).read(path)
        except (OSError, DocumentError):
            return self
        return before if before.model_copy(update={"made_at": self.made_at}) == self else self
