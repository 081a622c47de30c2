"""Finding files that people name, here or elsewhere, and opening them whatever they are compressed with."""

from __future__ import annotations

import bz2
import glob
import io
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import pyarrow as pa

from stepladder.data import remote
from stepladder.data.errors import DataError, mend, why
from stepladder.schema.data import ArrowFiles, FileSource, MegatronTokens, TokenSource

BUFFER = 2**20
"""Bytes read at once."""

UNREADABLE = (OSError, EOFError, lzma.LZMAError, pa.ArrowException)
"""What reading a damaged or forbidden file raises."""

MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ\x00": "xz",
}
"""First bytes of compressed files. No text begins with them: all but lz4's are not UTF-8, and that is a
control character. bzip2 is told apart in `compression`."""

BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
"""What stands after `BZh` and a digit: a text may well begin with these four."""

COMPRESSED_NAMES = (".gz", ".zst", ".lz4", ".xz", ".bz2")
"""Files of these names are not empty: even nothing, compressed, takes some bytes."""


def matching(
    domain: str, patterns: tuple[str, ...], inside: Callable[[str], list[str]] = lambda folder: []
) -> list[str]:
    """Files that the patterns match, each once, sorted.

    Args:
        inside: files that a folder of this machine stands for, if for any.

    Raises:
        DataError: a pattern matches none, or a file whose name cannot be written down.
    """
    found: set[str] = set()
    for pattern in patterns:
        if remote.is_remote(pattern):
            matches = files = remote.expand(pattern)
        else:
            matches = glob.glob(_taken_as_they_are(os.path.expanduser(pattern)), recursive=True)
            files = [file for path in matches for file in ([path] if Path(path).is_file() else inside(path))]
        if not files:
            folder = f": it is a folder; write {pattern.rstrip('/')}/**/*" if matches else ""
            seen = "" if remote.is_remote(pattern) else f" (seen from {Path.cwd()})"
            raise DataError(
                f"domain {domain!r}: no file matches {pattern!r}{seen}{folder or ': mend the path'}"
            )
        found.update(files)
    if unlisted := [path for path in found if not _fits_a_line(path)]:
        raise DataError(f"domain {domain!r}: {unlisted[0]!r} has a name that cannot be listed: rename it")
    return sorted(found)


def source_files(source: FileSource | TokenSource) -> dict[str, list[str]]:
    """Domain to the files that it is read from, sorted.

    Raises:
        DataError: a pattern matches nothing.
    """
    inside = saved_dataset if isinstance(source, ArrowFiles) else lambda folder: []
    name = binary if isinstance(source, MegatronTokens) else str
    return {
        domain: matching(domain, tuple(map(name, patterns)), inside)
        for domain, patterns in source.patterns.items()
    }


def binary(pattern: str) -> str:
    """Megatron's .bin file, which people also name without its ending or by its index."""
    return pattern if pattern.endswith(".bin") else f"{pattern.removesuffix('.idx')}.bin"


def saved_dataset(folder: str) -> list[str]:
    """Files of a data set that `save_to_disk` of `datasets` wrote; none if a folder is no such thing.

    Raises:
        DataError: it holds several splits, or a file of it is missing.
    """
    if splits := _told(Path(folder, "dataset_dict.json"), "splits"):
        named = ", ".join(str(Path(folder, name)) for name in splits)
        raise DataError(f"{folder}: holds splits of a data set: name those that are meant: {named:.200}")
    state = Path(folder, "state.json")
    files = [str(Path(folder, file["filename"])) for file in _told(state, "_data_files")]
    if missing := [file for file in files if not Path(file).is_file()]:
        raise DataError(f"{missing[0]}: is missing, and {state} lists it: copy the whole folder again")
    return files


def _told(path: Path, key: str) -> list[Any]:
    """A list in one of the files that `save_to_disk` writes; empty if there is no such file."""
    if not path.is_file():
        return []
    try:
        found: list[Any] = json.loads(path.read_bytes())[key]
        return [*found]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {why(error)}{mend(error)}") from None
    except (ValueError, LookupError, TypeError):
        raise DataError(f"{path}: is not what save_to_disk writes: save the data set again") from None


def _fits_a_line(path: str) -> bool:
    """Whether files.txt can hold the name in a line of UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return path.splitlines() == [path]


def _taken_as_they_are(pattern: str) -> str:
    """The pattern, with the brackets of those leading parts escaped that exist as they are written."""
    there = ""
    parts = pattern.split("/")
    for number, part in enumerate(parts):
        below = f"{there}{part}"
        if part and not os.path.lexists(below):
            return "/".join([*map(glob.escape, parts[:number]), *parts[number:]])
        there = f"{below}/"
    return glob.escape(pattern)


def open_stored(path: str) -> io.BufferedReader:
    """Open for reading as it is stored, here or elsewhere.

    Raises:
        OSError: there is no such file, or it may not be read.
        DataError: a package is missing.
    """
    if remote.is_remote(path):
        return remote.open_remote(path)
    return cast(io.BufferedReader, open(path, "rb", BUFFER))


class Stored(NamedTuple):
    """What is known of a file without reading it."""

    size: int
    """Bytes, as it is stored."""
    version: str
    """Another one when the file is written to."""


def stored(path: str) -> Stored:
    """Size and version of a file.

    Raises:
        DataError: it has gone.
    """
    try:
        if remote.is_remote(path):
            return Stored(*remote.size_and_version(path))
        about = os.stat(path)
        return Stored(about.st_size, str(about.st_mtime_ns))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {why(error)}{mend(error)}") from None


def open_file(path: str) -> BinaryIO:
    """Open for reading; what is compressed, by its first bytes, is decompressed.

    Raises:
        OSError: there is no such file, or it may not be read.
        DataError: it is an archive, or empty while its name says that it is compressed.
    """
    stored = open_stored(path)
    begin = stored.peek(10)[:10]
    if not begin and path.endswith(COMPRESSED_NAMES):
        stored.close()
        raise DataError(f"{path}: is empty, which no compressed file is: fetch or write it again")
    stream = _decompressed(stored, compression(begin))
    begin = stream.peek(512)
    if begin.startswith(b"PK\x03\x04") or begin[257:262] == b"ustar":
        stream.close()
        raise DataError(f"{path}: is an archive of files (zip or tar): unpack it, and name the files in it")
    return cast(BinaryIO, stream)


def _decompressed(
    stored: io.BufferedReader, kind: str | None
) -> lzma.LZMAFile | bz2.BZ2File | io.BufferedReader:
    if kind is None:
        return stored
    if kind == "xz":
        return lzma.LZMAFile(stored, "rb")
    if kind == "bzip2":
        return bz2.BZ2File(stored, "rb")
    return io.BufferedReader(pa.input_stream(stored, compression=kind), BUFFER)


def compression(begin: bytes) -> str | None:
    """What a file that begins like this is compressed with; None for anything else.

    Args:
        begin: its first ten bytes, if it has so many.
    """
    if begin.startswith(b"BZh") and begin[4:10] in BZIP2_BLOCKS:
        return "bzip2"
    return next((name for magic, name in MAGIC.items() if begin.startswith(magic)), None)


def read_all(path: str) -> bytes:
    """Content of a file, decompressed.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with open_file(path) as stream:
            return stream.read()
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {why(error)}{mend(error)}") from None
