"""The manifest: what is in a folder of token shards, and proof that it is still that.

Layout of the folder: `manifest.json` (written last), `files.txt` (source files, one per line),
`token_bytes.npy` (bytes of text per token id), `tokenizer.json` (unless tokens are bytes), and per
domain and split `<domain>.<split>.tokens` (flat little-endian ids) with
`<domain>.<split>.documents.npy` (where each document starts and where it came from).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from stepladder.data.documents import Flaw
from stepladder.data.errors import DataError
from stepladder.record.paths import LadderFolder
from stepladder.schema.data import Data, SourceConfig, TokenizerConfig
from stepladder.schema.ladder import Ladder

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
    held_out: dict[str, Any] | None = None
    """Source of the held-out text, where it is another than that of training."""
    vocab_size: int
    end_of_document: int
    """Id of the token that ends each document."""
    dtype: Literal["uint8", "uint16", "uint32"]
    duplicates: int
    """Documents dropped because an identical one came before."""
    near_duplicates: dict[str, int] | None = None
    """Training documents dropped because another is nearly the same, by domain; None where they are kept."""
    degenerate: DegenerateDocuments | None = None
    """None in manifests of older versions, which did not look."""
    without_text: dict[str, int] | None = None
    """Records skipped because their text was null, by domain; None where such records are refused."""
    mix: dict[str, float]
    """Share of each domain in the training tokens; they are read in this proportion."""
    domains: dict[str, dict[Split, Shard]]
    other_files: tuple[File, ...]
    """files.txt, token_bytes.npy and, if there is one, tokenizer.json."""
    digest: str | None = None
    """sha256 of all other fields, as `sealed` makes it; None in manifests of older versions."""

    @property
    def training_tokens(self) -> dict[str, int]:
        """Tokens of each domain that runs read: one pass over the data."""
        return {domain: splits["train"].tokens for domain, splits in self.domains.items()}

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


def sealed(manifest: Manifest) -> Manifest:
    """The manifest with the digest of its fields, so that an edit shows."""
    return manifest.model_copy(update={"digest": _digest(manifest)})


def _digest(manifest: Manifest) -> str:
    # Without what is None, so that a field which later versions add leaves earlier digests as they are.
    fields = manifest.model_dump(mode="json", exclude={"digest"}, exclude_none=True)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def describe_file(path: Path) -> File:
    """Size and digest of the file at `path`."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(name=path.name, size=path.stat().st_size, sha256=digest)


def parse(path: Path) -> Manifest:
    """Read a manifest alone: its files need not be there.

    Raises:
        DataError: it is missing, malformed or was edited.
    """
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}: prepare the data first (stepladder data)") from None
    except ValidationError as error:
        raise DataError(f"{path}: not a data manifest: {_first_problem(error)}: {_remedy(path)}") from None
    if manifest.digest not in (None, _digest(manifest)):
        raise DataError(f"{path}: was edited: its digest is not that of its fields: {_remedy(path)}")
    return manifest


def read(path: Path) -> Manifest:
    """Read a manifest and check that its files are there, with the sizes that it states.

    Raises:
        DataError: the manifest or a file is missing, malformed or of another size.
    """
    manifest = parse(path)
    for file in manifest.files:
        shard = path.parent / file.name
        size = shard.stat().st_size if shard.is_file() else None
        if size != file.size:
            state = "is missing" if size is None else f"has {size:,} bytes, not {file.size:,}"
            raise DataError(f"{shard} {state}: {_remedy(path)}")
    return manifest


def fingerprints(lies: LadderFolder) -> dict[str | None, str]:
    """Of all shards that a ladder has, by the name under which they lie."""
    return {name: parse(path).sha256 for name, path in lies.manifests.items()}


def training_tokens(path: Path, data: Data) -> dict[str, int] | None:
    """Training tokens of each domain of the shards of these settings; None if they are not prepared, or by
    other settings.

    Args:
        path: of the manifest.
    """
    try:
        manifest = parse(path)
        source = TypeAdapter(SourceConfig).validate_json(json.dumps(manifest.source))
        tokenizer = TypeAdapter(TokenizerConfig).validate_json(json.dumps(manifest.tokenizer))
    except ValueError:
        return None
    found = (source.without_provenance(), tokenizer, manifest.validation_fraction)
    asked = (data.source.without_provenance(), data.tokenizer, data.validation_fraction)
    dropped = manifest.degenerate is not None and manifest.degenerate.dropped
    near = (manifest.near_duplicates is None) == (data.near_duplicates is None)
    same = found == asked and dropped == (data.degenerate == "drop") and near
    return manifest.training_tokens if same else None


def prepared_tokens(lies: LadderFolder, ladder: Ladder) -> dict[str | None, dict[str, int]]:
    """Training tokens of each domain, by the name under which shards lie, of those that are prepared."""
    found = {}
    for corpus in ladder.corpora or (None,):
        name = ladder.prepared_as(corpus)
        tokens = training_tokens(lies.manifest_of(name), ladder.data_of(corpus))
        if tokens is not None:
            found[name] = tokens
    return found


def verify(path: Path) -> Manifest:
    """Read a manifest and check every byte that it describes.

    Raises:
        DataError: a file differs from its sha256, or what the manifest says of all files is not so.
    """
    manifest = read(path)
    check_files(path, manifest.files)
    check_whole(path, manifest)
    return manifest


def check_files(path: Path, files: Iterable[File]) -> None:
    """Check every byte of these files beside the manifest at `path`, several at once.

    Raises:
        DataError: one is not what it was.
    """
    expected = list(files)
    places = [path.parent / file.name for file in expected]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:  # hashing holds no lock
        for place, file, found in zip(places, expected, pool.map(describe_file, places), strict=True):
            if found != file:
                raise DataError(
                    f"{place} is not what {path} describes: its bytes have changed since the data were "
                    f"prepared: restore the file, or {_remedy(path)}"
                )


def check_whole(path: Path, manifest: Manifest) -> None:
    """Check what the manifest at `path` says beyond its files' digests, as far as runs rely on it.

    Manifests of older versions have no digest of their own, hence the counts.

    Raises:
        DataError: something is not so.
    """
    import numpy as np  # who only reads a manifest, as `stepladder plan` does, starts without it

    token_bytes = next((file for file in manifest.other_files if file.name == "token_bytes.npy"), None)
    if token_bytes is None or fingerprint(manifest.domains, token_bytes) != manifest.sha256:
        raise DataError(f"{path}: its sha256 is not that of its shards: {_remedy(path)}")
    if manifest.dtype != id_dtype(manifest.vocab_size):
        raise DataError(f"{path}: vocab_size {manifest.vocab_size:,} does not fit dtype: {_remedy(path)}")
    width = {"uint8": 1, "uint16": 2, "uint32": 4}[manifest.dtype]
    for domain, splits in manifest.domains.items():
        for split, shard in splits.items():
            documents = len(np.load(path.parent / shard.document_file.name, mmap_mode="r"))
            if (shard.tokens * width, shard.documents) != (shard.token_file.size, documents):
                raise DataError(
                    f"{path}: domains.{domain}.{split}: {shard.tokens:,} tokens in {shard.documents:,} "
                    f"documents, but its files hold {shard.token_file.size // width:,} in {documents:,}: "
                    f"{_remedy(path)}"
                )


def id_dtype(vocab_size: int) -> Literal["uint8", "uint16", "uint32"]:
    """Smallest unsigned integer that holds every id."""
    return "uint8" if vocab_size <= 2**8 else "uint16" if vocab_size <= 2**16 else "uint32"


def _remedy(path: Path) -> str:
    return f"delete {path} and prepare the data again (snakemake does)"


def _first_problem(error: ValidationError) -> str:
    """Field and what is wrong with it."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"]))
    return f"{where}: {problem['msg']}" if where else problem["msg"]
