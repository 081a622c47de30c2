"""Finding files that people name, and opening them whatever they are compressed with."""

from __future__ import annotations

import bz2
import glob
import io
import lzma
import os
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from stepladder.data.errors import DataError

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


def matching(domain: str, patterns: tuple[str, ...]) -> list[str]:
    """Files that the patterns match, each once, sorted.

    Raises:
        DataError: a pattern matches none, or a file whose name cannot be written down.
    """
    found: set[str] = set()
    for pattern in patterns:
        matches = glob.glob(_taken_as_they_are(os.path.expanduser(pattern)), recursive=True)
        files = [path for path in matches if Path(path).is_file()]
        if not files:
            folder = f": it is a folder; write {pattern.rstrip('/')}/**/*" if matches else ""
            raise DataError(
                f"domain {domain!r}: no file matches {pattern!r} (seen from {Path.cwd()}){folder}"
            )
        found.update(files)
    if unlisted := [path for path in found if not _fits_a_line(path)]:
        raise DataError(f"domain {domain!r}: {unlisted[0]!r} has a name that cannot be listed: rename it")
    return sorted(found)


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


def open_file(path: str) -> BinaryIO:
    """Open for reading; what is compressed, by its first bytes, is decompressed.

    Raises:
        OSError: there is no such file, or it may not be read.
        DataError: it is an archive, or empty while its name says that it is compressed.
    """
    with open(path, "rb") as file:
        begin = file.read(10)
    if not begin and path.endswith(COMPRESSED_NAMES):
        raise DataError(f"{path}: is empty, which no compressed file is: fetch or write it again")
    stream = _decompressed(path, compression(begin))
    begin = stream.peek(512)
    if begin.startswith(b"PK\x03\x04") or begin[257:262] == b"ustar":
        stream.close()
        raise DataError(f"{path}: is an archive of files (zip or tar): unpack it, and name the files in it")
    return cast(BinaryIO, stream)


def _decompressed(path: str, kind: str | None) -> lzma.LZMAFile | bz2.BZ2File | io.BufferedReader:
    if kind == "xz":
        return lzma.LZMAFile(path, "rb")
    if kind == "bzip2":
        return bz2.BZ2File(path, "rb")
    return io.BufferedReader(pa.input_stream(path, compression=kind, buffer_size=BUFFER), BUFFER)


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
        raise DataError(f"{path}: cannot be read: {why(error)}") from None


def why(error: Exception) -> str:
    """An error of `UNREADABLE` in words, without the path."""
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
