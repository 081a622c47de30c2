"""top.json: the size of a top rung, as the laws of the other runs have it, and what they expect of it.

`stepladder.decision.choose_top` makes it before the rung runs; its specs and the report read it.
"""

from __future__ import annotations

from typing import ClassVar

from stepladder.documents.document import Part
from stepladder.record.foretold import Foretold, Interval
from stepladder.schema.metric import MetricName


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


class TopRung(Foretold):
    """The chosen size."""

    VERSION: ClassVar[int] = 1
    REMEDY: ClassVar[str] = "run snakemake, which chooses it again"

    schema_version: int = VERSION
    """version of these fields"""
    flops: float
    """Of one run."""
    metric: MetricName = "target_loss"
    """What the law is of, and the expected losses."""
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
