"""Text to token shards, once per ladder: read, tokenize, de-duplicate, split, write; the manifest last.

All text is read and checked before any is tokenized, so that a bad file is found early. Chunks that
were read or tokenized wait in `cache/` beside the shards until the manifest is there: after an error
or a kill, the same command goes on from where it stopped. One process at a time prepares a folder: others
wait for it, such as the one that is started while the orphan of an earlier start still works.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from stepladder.data import files, stdlib
from stepladder.data.cache import Cache
from stepladder.data.manifest import (
    DegenerateDocuments,
    Manifest,
    describe_file,
    fingerprint,
    id_dtype,
    sealed,
)
from stepladder.data.parts import PARTS, forget_others, texts_of, tokenizer_of
from stepladder.data.request import Request
from stepladder.data.shards import Written, write_shards
from stepladder.data.texts import Tell, make_tokenizer, pieces, read, telling
from stepladder.data.tokenization import Tokenizer
from stepladder.documents.lock import Holder, hold
from stepladder.schema.data import PythonStdlib, Records, SourceConfig

LOCK = ".preparing"
"""Name of the lock in the folder, which is there while somebody prepares it."""


def prepare(
    source: dict[str, Any],
    tokenizer: dict[str, Any],
    validation_fraction: float,
    out: Path,
    drop_degenerate: bool = False,
    held_out: dict[str, Any] | None = None,
    near_duplicates: dict[str, Any] | None = None,
) -> Path:
    """Make shards and manifest in the folder `out`, in this process; see `Request`."""
    request = Request.of(
        source,
        tokenizer,
        validation_fraction,
        drop_degenerate,
        held_out,
        near_duplicates=near_duplicates,
    )
    with telling() as tell:
        return prepare_shards(request, out, tell)


def prepare_shards(request: Request, out: Path, tell: Tell, gather: bool = False) -> Path:
    """Make shards and manifest in the folder `out`.

    With a source of held-out text of its own, the shards are of the training documents of `source` and of the
    held-out ones of `held_out`. The split is by content, so no document of one is in the other.

    Args:
        gather: from the parts in `out`, which were read and tokenized by jobs of their own.

    Returns:
        Path of the manifest. The same text and settings give the same shards, byte for byte.

    Raises:
        DataError: a file cannot be used; what was read before it is kept for the next attempt.
    """
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
            return _make(request, folder, out, tell, gather)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tells versions of a file apart; None if there is none."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return about.st_ino, about.st_mtime_ns


def _say_whom_we_wait_for(holder: Holder) -> None:
    print(f"the same data are being prepared by {holder}: waiting for it to end", file=sys.stderr)


def _make(request: Request, folder: Path, out: Path, tell: Tell, gather: bool) -> Path:
    """Make the files in `folder`, then move them to `out`; returns the manifest's path."""
    cache, parts, drop = Cache(out / "cache"), out / PARTS, request.drop_degenerate
    if gather:
        texts, made = texts_of(request, parts), tokenizer_of(request, parts)
    else:
        sources = request.sources()
        texts = [text for source, only in sources for text in read(request, source, only, cache, tell)]
        tell(f"tokenizer: {request.tokenizer.kind}")
        made = make_tokenizer(request, texts, cache)
    found = pieces(texts, made, cache, tell)
    tell("writing shards")
    written = write_shards(found, request.domains, made, request.validation_fraction, folder, request.drop)
    source_files = [name for text in texts for name in text.files]
    (folder / "files.txt").write_text("".join(f"{name}\n" for name in source_files), encoding="utf-8")
    np.save(folder / "token_bytes.npy", made.token_bytes)
    made.save(folder / "tokenizer.json")
    degenerate = written.degenerate.describe(source_files, drop)
    manifest = _manifest(request, made, written, folder, degenerate)
    (folder / "manifest.json").write_text(_as_json(manifest), encoding="utf-8")
    published = _publish(folder, out)
    if gather:  # the parts stay, for the day when a file is added
        texts_kept = [cache.path(f"text-{text.entry}") for text in texts]
        bands = [piece.bands for piece in found if piece.bands]
        cache.keep([*texts_kept, *bands, *(piece.path for piece in found)])
        forget_others(request, parts)
    else:
        shutil.rmtree(out / "cache")
    return published


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
        near_duplicates=written.near_duplicates,
        degenerate=degenerate,
        without_text=written.without_text
        if isinstance(source, Records) and source.null_text == "skip"
        else None,
        mix={domain: n / sum(tokens.values()) for domain, n in tokens.items()},
        domains=written.domains,
        other_files=tuple(other_files.values()),
    )
    return sealed(manifest)


def _as_json(manifest: Manifest) -> str:
    later = ("held_out", "near_duplicates")  # fields that files without them look as ever without
    others = {name for name in later if getattr(manifest, name) is None}
    return manifest.model_dump_json(indent=1, exclude=others) + "\n"


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
    return manifest
