"""What the files were that shards are made from, so that the next start notices those that changed, came or
went. It determines nothing that is in the shards: the same text at another time gives the same ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import ClassVar

from stepladder.data.errors import DataError
from stepladder.data.opening import source_files, stored
from stepladder.data.request import Request
from stepladder.documents.document import Document
from stepladder.schema.data import Files, PretrainedTokenizer, TokenizerConfig

SEEN = "seen.json"
"""Name of the file beside the shards."""


class Seen(Document):
    """seen.json: what was there when the shards were made."""

    REMEDY: ClassVar[str] = "remove it: the text is then prepared again"

    files: str | None = None
    """digest of the files' paths, sizes and times; null where the source has none"""
    tokenizer: str | None = None
    """digest of the tokenizer.json that was brought; null where none was"""

    @property
    def fields(self) -> dict[str, str]:
        """What there is, without the version of the document."""
        return self.model_dump(exclude_none=True, exclude={"schema_version"})


def with_seen(settings: str, shards: Path, files: bool) -> str:
    """Settings of `stepladder data`, and with them what is there now; unchanged where nothing was brought.

    Args:
        shards: folder of the shards. Where files have gone, what was there when they were made.
        files: whether to look at the source, too, and not at the tokenizer alone.
    """
    request, last = Request.of_json(settings), _last(shards)
    try:
        of_files = _of_files(request) if files else None
    except DataError:
        of_files = last.files
    try:
        of_tokenizer = _of_tokenizer(request.tokenizer)
    except OSError:
        of_tokenizer = last.tokenizer
    found = Seen(files=of_files, tokenizer=of_tokenizer)
    return json.dumps(json.loads(settings) | {"seen": found.fields}) if found.fields else settings


def _last(shards: Path) -> Seen:
    try:
        return Seen.read(shards / SEEN)
    except FileNotFoundError:
        return Seen()


def _of_files(request: Request) -> str | None:
    sources = [(source, only) for source, only in request.sources() if isinstance(source, Files)]
    lines = [
        f"{only or 'both'} {domain} {path} {' '.join(map(str, stored(path)))}"
        for source, only in sources
        for domain, paths in source_files(source).items()
        for path in paths
    ]
    return _digest("\n".join(lines).encode()) if sources else None


def _of_tokenizer(settings: TokenizerConfig) -> str | None:
    if not isinstance(settings, PretrainedTokenizer):
        return None
    return _digest(Path(settings.path).expanduser().read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
