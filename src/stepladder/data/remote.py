"""Files that lie elsewhere: `s3://`, `gs://`, `hf://`, `https://`, through fsspec.

Credentials come from where each provider's own tools take them (environment variables, their files, the
machine's role), and none is ever read or written here. docs/data.md lists them.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stepladder.data.errors import DataError, mend, why
from stepladder.schema.domains import scheme

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 8 * 2**20
"""Bytes asked for at once."""

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "https": "aiohttp", "http": "aiohttp", "hf": "huggingface_hub"}
"""What fsspec needs for a scheme."""

WEB = ("http", "https")
"""What is there is not listed."""

GONE = (404, 410)
"""Answers of a web server that has no such file."""

VERSIONS = (
    *("ETag", "etag", "Last-Modified", "LastModified", "Content-MD5", "Digest"),
    *("mtime", "generation", "blob_id", "xet_hash"),
)
"""What servers call the state of a file."""

OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"skip_instance_cache": True},
    "gs": {"skip_instance_cache": True},
    "hf": {"skip_instance_cache": True},
    # With the proxies of the environment and the accounts of ~/.netrc.
    "https": {"skip_instance_cache": True, "client_kwargs": {"trust_env": True}},
    "http": {"skip_instance_cache": True, "client_kwargs": {"trust_env": True}},
}
"""A file system is made anew each time, so that no listing is older than the command that looks at it."""


def is_remote(path: str) -> bool:
    """Whether a path is of another machine."""
    return scheme(path) in PACKAGES


def expand(pattern: str) -> list[str]:
    """Files that a path or glob names; none if there is none. What is at an http(s):// address is not listed:
    it names one file.

    Raises:
        DataError: it cannot be looked at, or is a folder.
    """
    kind = scheme(pattern)
    try:
        with _in_words():
            files = _file_system(pattern)
            if kind not in WEB and any(letter in pattern for letter in "*?["):
                return [
                    f"{kind}://{name}" for name, about in _found(files, pattern) if about["type"] == "file"
                ]
            about = files.info(pattern)
    except FileNotFoundError as error:
        cause = error.__cause__
        if kind not in WEB or cause is None or getattr(cause, "status", 404) in GONE:
            return []
        raise DataError(f"{pattern}: cannot be looked at: {why(cause)}{mend(cause)}") from None
    except OSError as error:
        raise DataError(f"{pattern}: cannot be looked at: {why(error)}{mend(error)}") from None
    if about["type"] != "file":
        raise DataError(f"{pattern}: is a folder: write {pattern.rstrip('/')}/**/*")
    return [pattern]


def _found(files: Any, pattern: str) -> Iterator[tuple[str, dict[str, Any]]]:
    found: dict[str, dict[str, Any]] = files.glob(pattern, detail=True)
    yield from found.items()


def open_remote(path: str, seekable: bool = False) -> io.BufferedReader:
    """Open for reading.

    Args:
        seekable: to go about in it. What is read from its begin to its end is asked of a web server once, and
            not part by part, which some servers do not serve.

    Raises:
        OSError: there is no such file, or it may not be read.
    """
    block = 0 if scheme(path) in WEB and not seekable else BLOCK
    with _in_words():
        files = _file_system(path)
        return io.BufferedReader(_RemoteFile(files, files.open(path, "rb", block_size=block)), BLOCK)


def size_and_version(path: str) -> tuple[int, str]:
    """Bytes of a file, and what is another when it is written to, as far as the server says.

    Raises:
        OSError: there is no such file, or it may not be looked at, or its size is not told.
    """
    with _in_words():
        about = _file_system(path).info(path)
        if about.get("size") is None:
            raise OSError("the server does not tell its size, which is needed here: download it first")
        known = [str(about[key]) for key in VERSIONS if about.get(key) is not None]
        return int(about["size"]), " ".join(known)


class _RemoteFile(io.RawIOBase):
    """A file of fsspec whose every error is an OSError: libraries have many of their own."""

    def __init__(self, files: Any, stream: Any) -> None:
        self._files = files  # lives as long as what it has opened
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable()) and getattr(self._stream, "size", None) is not None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation(
                "the server does not serve parts of files, which this kind of file needs: download it first"
            )
        with _in_words():
            return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        with _in_words():
            part = self._stream.read(len(view))
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _file_system(path: str) -> Any:
    """fsspec's file system for a path.

    Raises:
        DataError: a package is missing.
    """
    kind = str(scheme(path))
    try:
        import fsspec

        importlib.import_module(PACKAGES[kind])
        return fsspec.filesystem(kind, **OPTIONS[kind])
    except ImportError as error:
        raise DataError(
            f"{path}: {kind}:// needs the package {error.name}, which is not installed: "
            'pip install "stepladder[remote]"'
        ) from None


@contextmanager
def _in_words() -> Iterator[None]:
    """Whatever a library raises, as an OSError."""
    try:
        yield
    except (OSError, DataError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
