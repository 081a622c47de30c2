"""A source in parts, each of which one job reads, judges and tokenizes; shards are then gathered from them.

Which files are a part follows from the files themselves. In the order of their names a part ends after a
file whose hash says so, the more likely the larger it is: parts are of about `data.part_bytes`, large files
are parts of their own, and a file that is added or changed changes the part that it falls into and leaves the
others what they are. A part's name tells its files, their sizes and times, so that the jobs that were done
hold as long as the files are the same.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple

from stepladder.data.cache import Cache
from stepladder.data.errors import DataError
from stepladder.data.manifest import Split
from stepladder.data.opening import source_files, stored
from stepladder.data.request import Request
from stepladder.data.texts import Tell, Text, make_tokenizer, pieces, read
from stepladder.data.tokenization import Tokenizer, load_trained
from stepladder.documents.document import Document
from stepladder.schema.data import BPETokenizer, Files, FileSource, PretrainedTokenizer, TokenSource

PARTS = "parts"
"""Folder beside the shards."""
TOKENIZER = "tokenizer.json"
"""In the folder of parts: the tokenizer that was trained on all of them."""


class SourcePart(NamedTuple):
    """Some files of one domain, in order."""

    name: str
    source: FileSource | TokenSource
    """The source with these files alone."""
    only: Split | None
    size: int
    """Of the files, bytes."""


class PartRecord(Document):
    """parts/<name>.json: a part that was read."""

    REMEDY: ClassVar[str] = "remove it and run snakemake again, which reads the part's files again"

    texts: tuple[Text, ...]
    """its chunks, in order"""


def parts_of(request: Request) -> list[SourcePart]:
    """The parts of the sources, in the order in which their documents stand in the shards; none where there
    is too little to share out.

    Raises:
        DataError: a pattern matches no file, or a file is gone.
    """
    sources = list(request.sources())
    files = [(source, only) for source, only in sources if isinstance(source, Files)]
    found = [part for source, only in files for part in _cut(source, only, request.part_bytes)]
    shared = len(files) == len(sources) and sum(part.size for part in found) >= request.part_bytes
    return found if shared else []


def _cut(source: FileSource | TokenSource, only: Split | None, part_bytes: int) -> Iterator[SourcePart]:
    for domain, files in source_files(source).items():
        for group in _groups(map(_Found.of, files), part_bytes):
            told = "\n".join(f"{file.path} {file.size} {file.version}" for file in group)
            paths = tuple(file.path for file in group)
            yield SourcePart(
                name=f"{only or 'both'}-{domain}-{hashlib.sha256(told.encode()).hexdigest()[:12]}",
                source=source.model_copy(update={"domains": {domain: paths}}),
                only=only,
                size=sum(file.size for file in group),
            )


class _Found(NamedTuple):
    path: str
    size: int
    version: str
    """Another one when the file is written to."""

    @classmethod
    def of(cls, path: str) -> _Found:
        return cls(path, *stored(path))

    def ends_part(self, part_bytes: int) -> bool:
        """Whether a part of about so many bytes ends after it."""
        drawn = int.from_bytes(hashlib.sha256(self.path.encode()).digest()[:8], "big")
        return drawn < self.size / part_bytes * 2.0**64


def _groups(found: Iterable[_Found], part_bytes: int) -> Iterator[list[_Found]]:
    group: list[_Found] = []
    for file in found:
        group.append(file)
        if file.ends_part(part_bytes):
            yield group
            group = []
    if group:
        yield group


def names_of(request: Request, shards: Path) -> list[str]:
    """Names of the parts that shards in a folder are made from. Shards that are there stay what they are
    where their text has gone: then, of the parts that they were made from.

    Raises:
        DataError: a pattern matches no file, and there are no shards.
    """
    try:
        return [part.name for part in parts_of(request)]
    except DataError:
        if not (shards / "manifest.json").exists():
            raise
        records = (shards / PARTS).glob("*-*.json")
        return sorted({path.name.partition(".")[0] for path in records})


def read_part(request: Request, name: str, out: Path, tell: Tell) -> None:
    """Read and judge the files of a part, and tokenize them if the tokenizer is there already.

    Args:
        out: `<shards>/parts/<name>.json`, written last.

    Raises:
        DataError: a file cannot be used, or there is no such part (any more).
    """
    part = next((part for part in parts_of(request) if part.name == name), None)
    if part is None:
        raise DataError(f"the source has no part {name}: its files have changed: run snakemake again")
    cache = cache_of(out.parent)
    texts = tuple(read(request, part.source, part.only, cache, tell))
    if isinstance(request.tokenizer, PretrainedTokenizer):
        pieces(texts, make_tokenizer(request, texts, cache), cache, tell)
        for text in texts:
            if not text.tokenized:  # its tokens are all that is needed
                cache.path(f"text-{text.entry}").unlink(missing_ok=True)
    PartRecord(texts=texts).write(out)


def train_on_parts(request: Request, out: Path) -> None:
    """Train the tokenizer on all parts, which have been read.

    Args:
        out: `<shards>/parts/tokenizer.json`.
    """
    tokenizer = make_tokenizer(request, texts_of(request, out.parent), cache_of(out.parent))
    partial = out.with_suffix(".partial")
    tokenizer.save(partial)
    os.replace(partial, out)


def tokenize_part(request: Request, name: str, out: Path, tell: Tell) -> None:
    """Tokenize a part by the tokenizer that was trained on all of them.

    Args:
        out: `<shards>/parts/<name>.tokens.json`, written last.
    """
    record = PartRecord.read(out.parent / f"{name}.json")
    pieces(record.texts, tokenizer_of(request, out.parent), cache_of(out.parent), tell)
    record.write(out)


def texts_of(request: Request, folder: Path) -> list[Text]:
    """The chunks of all parts in their folder, in order.

    Raises:
        DataError: a part was not read.
    """
    found: list[Text] = []
    for part in parts_of(request):
        try:
            found += PartRecord.read(folder / f"{part.name}.json").texts
        except FileNotFoundError as error:
            (paths,) = part.source.patterns.values()
            raise DataError(
                f"{error.filename} is missing: {', '.join(paths):.300} were not read: run snakemake again"
            ) from None
    return found


def tokenizer_of(request: Request, folder: Path) -> Tokenizer:
    """The tokenizer that is asked for; one that was trained on all parts lies in their folder."""
    if isinstance(request.tokenizer, BPETokenizer):
        return load_trained(request.tokenizer, folder / TOKENIZER)
    return make_tokenizer(request, (), cache_of(folder))


def forget_others(request: Request, folder: Path) -> None:
    """Remove records of parts that are none any more."""
    names = {part.name for part in parts_of(request)}
    for path in folder.iterdir():
        if path.name != TOKENIZER and path.name.partition(".")[0] not in names:
            path.unlink()


def cache_of(folder: Path) -> Cache:
    """The cache of the shards that a folder of parts belongs to."""
    return Cache(folder.parent / "cache")
