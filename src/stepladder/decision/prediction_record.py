"""predictions.json: what the smaller rungs predict for the largest, written down before these run, and what
came of it.

Made and judged by `preregistration`.
"""

from __future__ import annotations

import hashlib
import json
from typing import ClassVar, Literal

from pydantic import JsonValue

from stepladder.decision.axis_fit import CellPrediction
from stepladder.decision.rule_record import Changed
from stepladder.documents.document import Document, Part


class RestsOn(Part):
    """A result that the prediction rests on."""

    sha256: str
    """Digest of its result.json."""
    loss: float
    """Nats/token."""


class PredictionRecord(Document):
    """A prediction that was made before the runs that it is about."""

    REMEDY: ClassVar[str] = "restore the file as `snakemake preregister` made it"

    version: Literal[1] = 1
    """Version of the fields that the digest is taken of."""
    made_at: str
    """ISO 8601, UTC."""
    rungs: tuple[str, ...]
    """The rungs that are predicted."""
    axis: Literal["flops"] = "flops"
    """Cost axis of the laws that predict."""
    confidence: float
    """Coverage of the intervals."""
    settings: dict[str, JsonValue]
    """The ladder's analysis section then."""
    analysis_code: str
    """Fingerprint of the code that made it."""
    n_runs: int
    """Runs that it rests on."""
    inputs: dict[str, RestsOn]
    """Those runs by id."""
    predictions: tuple[CellPrediction, ...]
    """One for every cell of the predicted rungs."""
    sha256: str
    """Digest of all else; shows accidents, not forgers."""

    def digest(self) -> str:
        """sha256 of the record without its own and without the file's schema version."""
        body = self.model_dump(mode="json", exclude={"sha256", "schema_version"})
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


class CheckedPrediction(CellPrediction):
    """A prediction on record beside what came."""

    observed: float | None = None
    """Nats/token; null where what ran is not what was predicted."""
    relative_error: float | None = None
    """Observed over predicted, less 1."""
    inside: bool | None = None
    """Whether the interval holds the observed loss; null where that is not to be said."""
    reason: str | None = None
    """Why not, or null."""


class RecordCheck(Part):
    """Whether a record is as it was made, rests on the runs that there are, was made in time, came true."""

    made_at: str
    """ISO 8601."""
    sha256: str
    """The record's digest."""
    whole: bool
    """Whether the record is as it was made."""
    inputs_changed: tuple[str, ...]
    """Runs that have other losses now."""
    settings_changed: tuple[Changed, ...]
    """Settings of the analysis that are others now."""
    code_changed: bool
    """Whether the code of the analysis is another now."""
    first_run_started: str | None
    """When the first of the predicted runs began, ISO 8601; null where that is not known."""
    before: bool | None
    """Whether the record is older than that."""
    n_runs: int
    """Runs that the record rests on."""
    rungs: tuple[str, ...]
    """The rungs that were predicted."""
    predictions: tuple[CheckedPrediction, ...]
    """Every cell that was predicted, beside what came."""
    came_true: bool | None
    """Whether all observed losses lie in their intervals; null where that is not to be said."""
