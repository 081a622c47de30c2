"""Writing files that are either whole or not there, also after a power cut."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write to a neighbouring file of its own, sync it, rename it, and sync the folder; parents are made.
    What was there stays if that fails. A device or a pipe, such as /dev/stdout, is written to as it is.

    Raises:
        OSError: it cannot be written; its `filename` is `path`.
    """
    data = content if isinstance(content, bytes) else content.encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not (path.is_file() or path.is_dir()):
            path.write_bytes(data)
        else:
            _replace(path, data)
    except OSError as error:  # that of a full disk names no file, others name the neighbour
        error.filename, error.filename2 = str(path), None
        raise


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def written_below(folder: Path) -> Iterator[None]:
    """Errors of the system that name no file, as that of a full disk, are about `folder`."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(folder)
        raise


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, beside `out`, whose name it gets when the block ends; parents are made. What
    fails leaves nothing behind.

    Raises:
        FileExistsError: `out` is there.
    """
    refuse_existing(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o777 & ~_umask())
        os.rename(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_existing(out: Path) -> None:
    """Before any work is done for it.

    Raises:
        FileExistsError: `out` is there.
    """
    if out.exists() or out.is_symlink():
        raise FileExistsError(errno.EEXIST, "is there already; name a new folder, or remove it", str(out))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
