"""A domain of a source: its files, and what is known of where its text comes from.

domains:
  web: ["/data/web/*.jsonl"]
  maths:
    paths: ["hf://datasets/someone/maths@3f1c9a0/data/*.parquet"]
    licence: ODC-By-1.0
    synthetic: yes
    source: someone/maths
    snapshot: 2026-06
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
)

from stepladder.schema.settings import Line, Settings

SCHEMES = ("hf", "s3", "gs", "https", "http")
"""What paths of files that lie elsewhere begin with, before `://`."""

SECRET = re.compile(
    "token|secret|signature|passw|credential|access_?key|api_?key|auth(?!ors?$)|bearer|jwt|session"
    "|^(sig|key|pwd|pw|pass|sas)$",
    re.I,
)
"""Names of a URL's parameters that let in who knows their value."""

PARAMETER = re.compile("[?&;#]([^=?&;#]*)=")
"""Name of a parameter, before the `#` or behind it."""

ACCOUNT = re.compile(r"[^/:]*:(?!\d*(/|$))")
"""A name and what is no port: a password, which may hold what ends a host's name elsewhere."""

Synthetic = Literal["no", "yes", "unknown"]


def scheme(path: str) -> str | None:
    """`s3` of `s3://bucket/file`; None for a path of this machine."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", path)
    return found[1] if found else None


def _without_secrets(path: str) -> str:
    """A path that may be written into specs, manifests and logs."""
    kind = scheme(path)
    if kind is None:
        return path
    if kind not in SCHEMES:
        raise ValueError(
            f"paths that begin with {kind}:// are not read: give one of "
            f"{', '.join(f'{name}://' for name in SCHEMES)}, or a path of this machine"
        )
    named = [name for name in PARAMETER.findall(path) if SECRET.search(unquote(name))]
    place = path.partition("://")[2]
    # hf://datasets/owner/name@revision has its @ in the path.
    if "@" in place.partition("/")[0] or ACCOUNT.match(place) or named:
        where = f"its parameter {named[0]}" if named else "what stands before its @"
        raise ValueError(
            f"a path is written into manifests and logs, and {where} lets in who reads them: leave it out, "
            "and put credentials into the environment or the provider's own file (docs/data.md)"
        )
    return path


def _as_word(written: Any) -> Any:
    """YAML 1.1 reads a bare yes or no as true or false."""
    return {True: "yes", False: "no"}[written] if isinstance(written, bool) else written


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_without_secrets)]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1)]


class Provenance(Settings):
    """What is known of where a domain's text comes from. What is not said is not known."""

    licence: Line | None = None
    """Licence under which the text may be used, such as ODC-By-1.0 or CC0-1.0."""
    synthetic: Annotated[Synthetic, BeforeValidator(_as_word)] | None = None
    """Whether models wrote the text: no, yes or unknown."""
    source: Line | None = None
    """Where it was taken from: a data set's name, an address, a paper."""
    snapshot: Line | None = None
    """State of the source: a date, a revision, the name of a crawl."""

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_said(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def by_models(self) -> Synthetic:
        """Whether models wrote the text, as far as is known."""
        return self.synthetic or "unknown"


class DescribedDomain(Provenance):
    """A domain with its provenance."""

    paths: Patterns
    """Paths or globs of its files."""


Domain = Annotated[
    Annotated[Patterns, Tag("paths")] | Annotated[DescribedDomain, Tag("DescribedDomain")],
    Discriminator(lambda value: "DescribedDomain" if isinstance(value, dict | DescribedDomain) else "paths"),
]
"""Paths or globs alone, or with provenance."""
