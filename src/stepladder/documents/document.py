"""Documents: what one room writes to a file and another reads, as types with one way in and one way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stepladder.documents.files import write_atomically


class DocumentError(ValueError):
    """A file that is not the document it should be; the message names file, field and what to do."""


class Part(BaseModel):
    """Base of documents and their parts: immutable, every field described, unknown fields are errors, and no
    number is infinite or NaN: what is not known is null."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


FIRST = 1
"""Version of files that name none: they were written before documents had a version."""


class Document(Part):
    """A file of its own, as readable JSON. Raise `VERSION`, and the default of `schema_version` with it, when
    fields change."""

    VERSION: ClassVar[int] = 1
    REMEDY: ClassVar[str] = "run snakemake again"
    """What makes the file anew."""

    schema_version: int = FIRST
    """version of these fields"""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote. A text is no number here, and a truth no count.

        Raises:
            FileNotFoundError: there is no such file.
            DocumentError: it is of another version, or is not such a document.
        """
        content = path.read_bytes()
        version = _version(content, FIRST)
        if version not in (None, cls.VERSION):
            raise DocumentError(
                f"{path}: schema_version {version}, this code reads {cls.VERSION}: {cls.REMEDY}"
            )
        try:
            return cls.model_validate_json(content, strict=True)
        except ValidationError as error:
            raise DocumentError(f"{path}: {_first_problem(error)}: {cls.REMEDY}") from None

    def write(self, path: Path) -> None:
        """Write strict JSON, whole or not at all; parents are made."""
        body = self.model_dump(mode="json") | {"schema_version": self.VERSION}
        text = json.dumps(body, indent=1, allow_nan=False)
        write_atomically(path, text + "\n")


def _version(content: bytes, unnamed: int) -> object:
    """The schema version that a file names, `unnamed` if it names none; None if it is no JSON object."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found.get("schema_version", unnamed) if isinstance(found, dict) else None


def _first_problem(error: ValidationError) -> str:
    """Field, value and what is wrong with it."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"])) or "the file"
    return f"{where} = {problem['input']!r:.80}: {problem['msg']}"
