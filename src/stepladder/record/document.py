"""Documents: what one room writes to a file and another reads, as types with one way in and one way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stepladder.record.files import write_atomically


class DocumentError(ValueError):
    """A file that is not the document it should be; the message names file, field and what to do."""


class Part(BaseModel):
    """Base of documents and their parts: immutable, every field described, unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Document(Part):
    """A file of its own, as readable JSON. Raise `VERSION` when fields change."""

    VERSION: ClassVar[int] = 1
    REMEDY: ClassVar[str] = "run snakemake again"
    """What makes the file anew."""

    schema_version: int = 0
    """Version of this document's fields; see `VERSION`."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            DocumentError: it is of another version, or is not such a document.
        """
        text = path.read_bytes()
        try:
            found = cls.model_validate_json(text)
        except ValidationError as error:
            raise DocumentError(f"{path}: {_first_problem(error)}: {cls.REMEDY}") from None
        if found.schema_version != cls.VERSION:
            raise DocumentError(
                f"{path}: schema_version {found.schema_version}, this code reads {cls.VERSION}: {cls.REMEDY}"
            )
        return found

    def write(self, path: Path) -> None:
        """Write strict JSON (no NaN or infinity), whole or not at all; parents are made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        body = self.model_dump(mode="json") | {"schema_version": self.VERSION}
        write_atomically(path, json.dumps(body, indent=1, allow_nan=False) + "\n")


def _first_problem(error: ValidationError) -> str:
    """Field, value and what is wrong with it."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"])) or "the file"
    return f"{where} = {problem['input']!r:.80}: {problem['msg']}"
