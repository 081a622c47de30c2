"""What all sections of a ladder file have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stepladder.schema import ranges

CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0)))) - {"\n", "\t"}
"""Characters that are orders to a terminal."""


class Settings(BaseModel):
    """Base of everything a person writes in a ladder file: unknown keys are errors, and so are numbers that
    are infinite or NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


NAME = r"^[A-Za-z0-9][A-Za-z0-9._]*(-[A-Za-z0-9._]+)*$"
DOMAIN = r"^[A-Za-z0-9][A-Za-z0-9_]*$"
ALPHABETS = {
    NAME: "a name is made of the letters A to Z, digits, `.`, `_` and single `-`, and begins with a letter "
    "or digit",
    DOMAIN: "a domain's name is made of the letters A to Z, digits and `_`, and begins with a letter or "
    "digit",
}
"""Patterns of names in words."""

Name = Annotated[str, Field(pattern=NAME, max_length=64)]
"""Part of a path and of a table: no separators, no spaces, nothing that a shell would read."""


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a line break or another character that is not printed: write it in one line")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
"""Text that goes into a script's comments, where a second line would be a command."""


def _readable(text: str) -> str:
    if odd := next((letter for letter in text if letter in CONTROLS), ""):
        raise ValueError(f"holds the control character {odd!a}: remove it")
    return text


Prose = Annotated[str, AfterValidator(_readable), Field(min_length=1)]
"""Text for people, on as many lines as it needs."""

Seeds = Annotated[tuple[Annotated[int, ranges.SEED], ...], Field(min_length=1, max_length=ranges.MOST_RUNS)]
