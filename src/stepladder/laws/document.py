"""What the fit of anyone's table leaves behind, whatever was fitted."""

from __future__ import annotations

from typing import ClassVar

from stepladder.documents.document import Document
from stepladder.laws.numbers import Interval


class TableFit(Document):
    """What every fit of a table says."""

    REMEDY: ClassVar[str] = "fit the table again"

    n: int
    """Rows that were fitted."""
    parameters: dict[str, float | None]
    """Estimate of every parameter by name; `alpha[moe]` is that of a group. Null where it is not finite."""
    standard_errors: dict[str, float | None] | None
    """Standard deviation of each parameter over the bootstrap draws; null without draws."""
    intervals: dict[str, Interval | None] | None
    """Percentile interval of each parameter; null without draws."""
    confidence: float
    """Coverage of the intervals."""
    warnings: tuple[str, ...]
    """What to know before believing the fit."""
