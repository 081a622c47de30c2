"""What a checkpoint of the workflow found out, for the specs that wait for it: rates, or the size of a rung.

A file of another ladder, or of another version, is as none: the workflow makes it anew.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from stepladder.documents.document import DocumentError

T = TypeVar("T")

Read = Callable[[Path], tuple[str, T]]
"""A file to the digest of what it was made from, and what specs need of it. A function of a module, so that
what it read is kept."""


def read_outcome(path: Path, digest: str, read: Read[T], missing: str) -> T:
    """What is in the file at `path`, if it was made from what has this digest.

    Args:
        missing: what is not known without it, in words.

    Raises:
        FileNotFoundError: there is none yet. Snakemake recognises the path, and resolves the spec later.
    """
    with suppress(FileNotFoundError, DocumentError):
        stat = path.stat()
        made_from, found = _read(read, path, stat.st_mtime_ns, stat.st_size)
        if made_from == digest:
            return cast(T, found)
    raise FileNotFoundError(errno.ENOENT, missing, str(path))


# The unnamed arguments tell versions of the file apart: it is asked for once per run.
@cache
def _read(read: Read[Any], path: Path, _mtime_ns: int, _size: int) -> tuple[str, Any]:
    return read(path)
