"""What all sections of a ladder file have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from stepladder.schema import ranges


class Settings(BaseModel):
    """Base of everything a person writes in a ladder file: unknown keys are errors, and so are numbers that
    are infinite or NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._]*(-[A-Za-z0-9._]+)*$", max_length=64)]
"""Part of a path and of a table: no separators, no spaces, nothing that a shell would read."""

Seeds = Annotated[tuple[Annotated[int, ranges.SEED], ...], Field(min_length=1, max_length=ranges.MOST_RUNS)]
