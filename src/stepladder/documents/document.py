"""Documents: what one room writes to a file and another reads, as types with one way in and one way out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from stepladder.documents.files import write_atomically


class DocumentError(ValueError):
    """A file that is not the document it should be; the message names file, field and what to do."""


class Part(BaseModel):
    """Base of documents and their parts: immutable, every field described, unknown fields are errors, and no
    number is infinite or NaN: what is not known is null."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


FIRST = 1
"""Version of files that name none: they were written before documents had a version."""


DIGEST = "content_sha256"
"""Field that `write` adds: digest of all others. It shows edits and accidents, not forgers."""


class Document(Part):
    """A file of its own, as readable JSON. Raise `VERSION`, and the default of `schema_version` with it, when
    fields change."""

    VERSION: ClassVar[int] = 1
    REMEDY: ClassVar[str] = "run snakemake again"
    """What makes the file anew."""

    SEALED: ClassVar[bool] = False
    """Whether every such file has its digest: those that were written before documents had one are read only
    where this is False."""

    schema_version: int = FIRST
    """version of these fields"""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote. A text is no number here, and a truth no count.

        Raises:
            FileNotFoundError: there is no such file.
            DocumentError: it is of another version, is not such a document, or was changed since.
        """
        content = path.read_bytes()
        fields = _fields(content)
        version = fields.get("schema_version", FIRST)
        if fields and version != cls.VERSION:
            raise DocumentError(
                f"{path}: schema_version {version}, this code reads {cls.VERSION}: {cls.REMEDY}"
            )
        if DIGEST in fields or (cls.SEALED and fields):
            told = fields.pop(DIGEST, None)
            if told != _digest(fields):
                raise DocumentError(f"{path}: changed since it was written ({DIGEST} differs): {cls.REMEDY}")
            content = json.dumps(fields).encode()
        try:
            return cls.model_validate_json(content, strict=True)
        except ValidationError as error:
            raise DocumentError(f"{path}: {_first_problem(error)}: {cls.REMEDY}") from None

    def write(self, path: Path) -> None:
        """Write strict JSON with its own digest, whole or not at all; parents are made."""
        fields = self._written() | {DIGEST: self.content_sha256()}
        write_atomically(path, json.dumps(fields, indent=1, allow_nan=False) + "\n")

    def content_sha256(self) -> str:
        """Digest of all fields: what `write` puts beside them, and what others say that they rest on."""
        return _digest(self._written())

    def _written(self) -> dict[str, JsonValue]:
        return self.model_dump(mode="json") | {"schema_version": self.VERSION}


def without_none(fields: dict[str, JsonValue], *names: str) -> dict[str, JsonValue]:
    """`fields` without those of `names` that are None: what has no such thing is written as it was before
    there was any."""
    return {name: value for name, value in fields.items() if name not in names or value is not None}


def _fields(content: bytes) -> dict[str, JsonValue]:
    """The fields of a JSON object; none if it is no such thing, which its model then says better."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(fields: dict[str, JsonValue]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _first_problem(error: ValidationError) -> str:
    """Field, value and what is wrong with it."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"])) or "the file"
    return f"{where} = {problem['input']!r:.80}: {problem['msg']}"
