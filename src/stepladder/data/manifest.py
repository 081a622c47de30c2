"""The manifest: what is in a folder of token shards, and proof that it is still that.

Layout of the folder: `manifest.json` (written last), `files.txt` (source files, one per line),
`token_bytes.npy` (bytes of text per token id), `tokenizer.json` (unless tokens are bytes), and per
domain and split `<domain>.<split>.tokens` (flat little-endian ids) with
`<domain>.<split>.documents.npy` (where each document starts and where it came from).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from stepladder.data.errors import DataError
from stepladder.data.quality import Flaw

Split = Literal["train", "validation"]
DOCUMENT = [("start", "<u8"), ("file", "<u4"), ("row", "<u4")]
"""numpy dtype of a document's entry: first token, line of files.txt (from 0), and line or row in that
file (from 1; 0 where the file is the document)."""


class Stored(BaseModel):
    """Base of what is stored in the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class File(Stored):
    """One file of the folder."""

    name: str
    size: int
    """Bytes."""
    sha256: str


class Shard(Stored):
    """One domain's documents of one split."""

    tokens: int
    """End-of-document tokens included: each document ends with one."""
    bytes: int
    """UTF-8 bytes of text: end-of-document tokens stand for none."""
    documents: int
    token_file: File
    document_file: File


class DegenerateDocuments(Stored):
    """What `quality.judge` found; duplicates are not judged twice."""

    dropped: bool
    """Whether they were left out."""
    documents: int
    """How many were judged."""
    counts: dict[str, dict[Flaw, int]]
    """By domain and flaw; a domain without any is there, a flaw without any is not."""
    examples: tuple[str, ...]
    """Places of the first few of each domain and flaw, with the flaw."""


class Manifest(Stored):
    """Contents of `manifest.json`."""

    format: Literal[1] = 1
    sha256: str
    """Fingerprint of all tokens, their order and split: equal data have equal fingerprints."""
    description: str
    """The source in words, with its version."""
    source: dict[str, Any]
    tokenizer: dict[str, Any]
    validation_fraction: float
    vocab_size: int
    end_of_document: int
    """Id of the token that ends each document."""
    dtype: Literal["uint8", "uint16", "uint32"]
    duplicates: int
    """Documents dropped because an identical one came before."""
    degenerate: DegenerateDocuments | None = None
    """None in manifests of older versions, which did not look."""
    mix: dict[str, float]
    """Share of each domain in the training tokens; they are read in this proportion."""
    domains: dict[str, dict[Split, Shard]]
    other_files: tuple[File, ...]
    """files.txt, token_bytes.npy and, if there is one, tokenizer.json."""

    @property
    def files(self) -> list[File]:
        """Every file of the folder but the manifest."""
        shards = [shard for splits in self.domains.values() for shard in splits.values()]
        return [f for s in shards for f in (s.token_file, s.document_file)] + list(self.other_files)


def fingerprint(domains: dict[str, dict[Split, Shard]], token_bytes: File) -> str:
    """Digest of the shards' digests, independent of where the text came from."""
    digests = {
        d: {s: shard.token_file.sha256 for s, shard in splits.items()} for d, splits in domains.items()
    }
    text = json.dumps([digests, token_bytes.sha256], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_file(path: Path) -> File:
    """Size and digest of the file at `path`."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(name=path.name, size=path.stat().st_size, sha256=digest)


def parse(path: Path) -> Manifest:
    """Read a manifest alone: its files need not be there.

    Raises:
        DataError: it is missing or malformed.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}: prepare the data first (stepladder data)") from None
    except ValidationError as error:
        raise DataError(f"{path}: not a data manifest: {error.errors()[0]['msg']}") from None


def read(path: Path) -> Manifest:
    """Read a manifest and check that its files are there, with the sizes that it states.

    Raises:
        DataError: the manifest or a file is missing, malformed or of another size.
    """
    manifest = parse(path)
    for file in manifest.files:
        shard = path.parent / file.name
        size = shard.stat().st_size if shard.exists() else None
        if size != file.size:
            state = "is missing" if size is None else f"has {size:,} bytes, not {file.size:,}"
            raise DataError(f"{shard} {state}: delete {path} and prepare the data again")
    return manifest


def verify(path: Path) -> Manifest:
    """Read a manifest and check every byte that it describes.

    Raises:
        DataError: a file differs from its sha256, or the fingerprint from the files'.
    """
    manifest = read(path)
    for file in manifest.files:
        if describe_file(path.parent / file.name) != file:
            where = path.parent / file.name
            raise DataError(f"{where} is not what {path} describes: delete the manifest and prepare again")
    token_bytes = next(file for file in manifest.other_files if file.name == "token_bytes.npy")
    if fingerprint(manifest.domains, token_bytes) != manifest.sha256:
        raise DataError(f"{path}: its sha256 is not that of its shards: prepare the data again")
    return manifest
