"""Text to token shards, once per ladder: read, tokenize, de-duplicate, split, write; the manifest last.

All text is read and checked before any is tokenized, so that a bad file is found early. Chunks that
were read or tokenized wait in `cache/` beside the shards until the manifest is there: after an error
or a kill, the same command goes on from where it stopped. One process at a time prepares a folder: others
wait for it, such as the one that is started while the orphan of an earlier start still works.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from stepladder.data import files, stdlib
from stepladder.data.cache import Cache, CachedText, load, read_chunk, tokenize
from stepladder.data.manifest import (
    DegenerateDocuments,
    Manifest,
    Split,
    describe_file,
    fingerprint,
    id_dtype,
    sealed,
)
from stepladder.data.sample import sample
from stepladder.data.shards import Piece, Written, write_shards
from stepladder.data.tokenization import Bytes, Tokenizer, load_pretrained, train_bpe
from stepladder.documents.lock import Holder, hold
from stepladder.record.fingerprint import preparation_fingerprint
from stepladder.schema.data import (
    BPETokenizer,
    ByteTokenizer,
    PythonStdlib,
    Records,
    SourceConfig,
    TokenizerConfig,
)

LOCK = ".preparing"
"""Name of the lock in the folder, which is there while somebody prepares it."""


class Request(NamedTuple):
    """What shards are made from, and how."""

    source: SourceConfig
    tokenizer: TokenizerConfig
    validation_fraction: float
    drop_degenerate: bool
    held_out: SourceConfig | None = None
    """Of the held-out text, where it is another source than that of training."""

    @property
    def digest(self) -> str:
        """Equal for equal settings and code."""
        said = [self.source.model_dump_json(), self.tokenizer.model_dump_json(), *map(repr, self[2:])]
        return hashlib.sha256("\n".join([*said, preparation_fingerprint()]).encode()).hexdigest()


class Text(NamedTuple):
    """A chunk that was read: its text is in the cache."""

    digest: str
    domains: tuple[str, ...]
    files: tuple[str, ...]
    path: Path
    only: Split | None = None
    """The split that it is for, where training and held-out text are of two sources."""


def prepare(
    source: dict[str, Any],
    tokenizer: dict[str, Any],
    validation_fraction: float,
    out: Path,
    drop_degenerate: bool = False,
    held_out: dict[str, Any] | None = None,
) -> Path:
    """Make shards and manifest in the folder `out`.

    With a source of held-out text of its own, the shards are of the training documents of `source` and of the
    held-out ones of `held_out`. The split is by content, so no document of one is in the other.

    Args:
        source: as in the ladder file's `data:` section; relative paths count from the working directory.
        tokenizer: as in the ladder file's `data:` section.
        validation_fraction: share of documents held out, by content hash.
        drop_degenerate: leave out documents that `quality.judge` finds degenerate; they are counted in any
        case.
        held_out: source of the held-out text, if it is another.

    Returns:
        Path of the manifest. The same text and settings give the same shards, byte for byte.

    Raises:
        DataError: a file cannot be used; what was read before it is kept for the next attempt.
    """
    settings = TypeAdapter(TokenizerConfig).validate_json(json.dumps(tokenizer))
    request = Request(
        _source(source),
        settings,
        validation_fraction,
        drop_degenerate,
        None if held_out is None else _source(held_out),
    )
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / "manifest.json"
    earlier = _stamp(manifest)
    with hold(out / LOCK, purpose=request.digest, waiting=_say_whom_we_wait_for) as before:
        if (
            before is not None
            and before.purpose == request.digest
            and _stamp(manifest) not in (None, earlier)
        ):
            return manifest  # made while we waited, by the same code from the same settings
        for left_over in out.glob("partial*"):
            shutil.rmtree(left_over, ignore_errors=True)
        # A name of its own: where the file system has no locks, two may be at work after all.
        folder = Path(tempfile.mkdtemp(prefix="partial-", dir=out))
        try:
            return _make(request, folder, out)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _source(written: dict[str, Any]) -> SourceConfig:
    return TypeAdapter[SourceConfig](SourceConfig).validate_json(json.dumps(written))


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tells versions of a file apart; None if there is none."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return about.st_ino, about.st_mtime_ns


def _say_whom_we_wait_for(holder: Holder) -> None:
    print(f"the same data are being prepared by {holder}: waiting for it to end", file=sys.stderr)


def _make(request: Request, folder: Path, out: Path) -> Path:
    """Make the files in `folder`, then move them to `out`; returns the manifest's path."""
    source, settings, fraction, drop, scored = request
    domains: dict[Split, tuple[str, ...]] = {
        "train": source.domain_names,
        "validation": (scored or source).domain_names,
    }
    cache = Cache(out / "cache")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        texts = _read_all(source, cache, progress)
        if scored is not None:
            texts = [text._replace(only="train") for text in texts]
            texts += [text._replace(only="validation") for text in _read_all(scored, cache, progress)]
        made = _make_tokenizer(settings, texts, fraction, drop, progress)
        pieces = _tokenize_all(texts, made, cache, progress)
        written = write_shards(pieces, domains, made, fraction, folder, drop)
    source_files = [name for text in texts for name in text.files]
    (folder / "files.txt").write_text("".join(f"{name}\n" for name in source_files), encoding="utf-8")
    np.save(folder / "token_bytes.npy", made.token_bytes)
    made.save(folder / "tokenizer.json")
    degenerate = written.degenerate.describe(source_files, drop)
    manifest = _manifest(request, made, written, folder, degenerate)
    (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return _publish(folder, out)


def _read_all(source: SourceConfig, cache: Cache, progress: Progress) -> list[Text]:
    """Parse all chunks that are not in the cache yet."""
    task = progress.add_task("reading text")
    code, texts = preparation_fingerprint(), []
    for chunk in stdlib.chunks() if isinstance(source, PythonStdlib) else files.chunks(source):
        path = cache.get(f"text-{code}-{chunk.digest}", partial(read_chunk, chunk))
        texts.append(Text(chunk.digest, chunk.domains, chunk.files, path))
        progress.update(task, description=f"reading text: chunk {len(texts)}, {chunk.files[-1]}")
    progress.update(task, description=f"read {len(texts)} chunks of text")
    return texts


def _make_tokenizer(
    settings: TokenizerConfig, texts: list[Text], validation_fraction: float, drop: bool, progress: Progress
) -> Tokenizer:
    if isinstance(settings, ByteTokenizer):
        return Bytes()
    if not isinstance(settings, BPETokenizer):
        return load_pretrained(settings)
    progress.add_task(f"training BPE of {settings.vocab_size} ids")
    paths = [text.path for text in texts if text.only != "validation"]
    return train_bpe(settings, sample(paths, validation_fraction, drop, settings.training_bytes))


def _tokenize_all(
    texts: Iterable[Text], tokenizer: Tokenizer, cache: Cache, progress: Progress
) -> list[Piece]:
    """Tokens of all chunks, in order. Bytes are their own tokens."""
    task = progress.add_task("tokenizing")
    dtype, first_file, pieces = id_dtype(tokenizer.vocab_size), 0, []
    for number, text in enumerate(texts, 1):
        path = text.path
        if not isinstance(tokenizer, Bytes):
            name = f"checked-tokens-{text.path.stem.removeprefix('text-')}-{tokenizer.key}"
            path = cache.get(name, partial(_tokens, text, tokenizer, dtype))
        pieces.append(Piece(path, text.domains, first_file, text.only))
        first_file += len(text.files)
        progress.update(task, description=f"tokenizing: chunk {number}, {text.files[-1]}")
    progress.update(task, description="tokenized")
    return pieces


def _tokens(text: Text, tokenizer: Tokenizer, dtype: str) -> CachedText:
    return tokenize(load(text.path), tokenizer, dtype, text.files)


def _manifest(
    request: Request,
    tokenizer: Tokenizer,
    written: Written,
    folder: Path,
    degenerate: DegenerateDocuments,
) -> Manifest:
    source, scored = request.source, request.held_out
    other = {name: folder / name for name in ("files.txt", "token_bytes.npy", "tokenizer.json")}
    other_files = {name: describe_file(path) for name, path in other.items() if path.exists()}
    tokens = {domain: splits["train"].tokens for domain, splits in written.domains.items()}
    manifest = Manifest(
        sha256=fingerprint(written.domains, other_files["token_bytes.npy"]),
        description=_described(source) + (f"; held out of {_described(scored)}" if scored else ""),
        source=source.model_dump(mode="json"),
        tokenizer=request.tokenizer.model_dump(mode="json"),
        validation_fraction=request.validation_fraction,
        held_out=scored.model_dump(mode="json") if scored else None,
        vocab_size=tokenizer.vocab_size,
        end_of_document=tokenizer.end_of_document,
        dtype=id_dtype(tokenizer.vocab_size),
        duplicates=written.duplicates,
        degenerate=degenerate,
        without_text=written.without_text
        if isinstance(source, Records) and source.null_text == "skip"
        else None,
        mix={domain: n / sum(tokens.values()) for domain, n in tokens.items()},
        domains=written.domains,
        other_files=tuple(other_files.values()),
    )
    return sealed(manifest)


def _described(source: SourceConfig) -> str:
    return stdlib.description() if isinstance(source, PythonStdlib) else files.description(source)


def _publish(folder: Path, out: Path) -> Path:
    """Move the finished files into place: at no time does a manifest describe other files than its own."""
    manifest = out / "manifest.json"
    manifest.unlink(missing_ok=True)
    for path in sorted(folder.iterdir()):
        if path.name != manifest.name:
            os.replace(path, out / path.name)
    os.replace(folder / manifest.name, manifest)
    folder.rmdir()
    shutil.rmtree(out / "cache")
    return manifest
