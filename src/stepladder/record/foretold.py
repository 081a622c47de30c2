"""What is written down of runs before they run, so that it can be held against what came."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar, Self

from pydantic import JsonValue

from stepladder.documents.document import Document, DocumentError

Interval = tuple[float | None, float | None]
"""An end that is None is infinite or unknown."""

ALIKE = 1e-6
"""Relative difference of numbers that another machine's rounding makes."""


class Foretold(Document):
    """Base of such documents."""

    SEALED: ClassVar[bool] = True

    made_from: str
    """Digest of the design and of the runs it rests on; what was made from others is not taken."""
    made_at: str
    """When it was made, ISO 8601, UTC."""
    confidence: float
    """Coverage of the intervals."""

    def kept_from(self, path: Path) -> Self:
        """The document at `path` where it is this one but for the time and rounding: what was written down
        before the runs stays so."""
        try:
            before = type(self).read(path)
        except (OSError, DocumentError):
            return self
        same = before.model_copy(update={"made_at": self.made_at})
        return before if _alike(same.model_dump(mode="json"), self.model_dump(mode="json")) else self


def _alike(one: JsonValue, other: JsonValue) -> bool:
    """Whether two values are the same but for rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=ALIKE, abs_tol=1e-9)
    return one == other
