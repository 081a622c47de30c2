"""What a fit of anyone's table leaves behind: a type, and a file that is read back as that type.

Like `stepladder.record.document`, which this room does not know: laws stand alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stepladder.laws.numbers import Interval


class Part(BaseModel):
    """Base of fits and their parts: immutable, every field described, unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TableFit(Part):
    """What every fit of a table says, whatever was fitted, and how it is written and read."""

    VERSION: ClassVar[int] = 1
    """Raise it when fields change."""

    schema_version: int = VERSION
    """Version of this document's fields."""
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

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is of another version, or no such fit; the message names file, field and value.
        """
        try:
            found = cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the file"
            raise ValueError(
                f"{path}: {where} = {problem['input']!r:.80}: {problem['msg']}: fit the table again"
            ) from None
        if found.schema_version != cls.VERSION:
            raise ValueError(
                f"{path}: schema_version {found.schema_version}, this code reads {cls.VERSION}: fit the "
                "table again"
            )
        return found

    def write(self, path: Path) -> None:
        """Write strict JSON (no NaN or infinity), whole or not at all; parents are made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"
        partial = path.with_name(path.name + ".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
