"""Libraries in Rust that give up: what they cannot take ends in a panic, which is no Exception in Python."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from stepladder.data.errors import DataError

MODULE = "pyo3_runtime"
"""Where pyo3 says that its PanicException is from; it cannot be imported."""


@contextmanager
def panics_in_words(name: str) -> Iterator[None]:
    """A panic of the block is a `DataError` that begins with `name`.

    Raises:
        DataError: there was one.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__module__ != MODULE:
            raise
        first = (str(error).splitlines() or ["no reason given"])[0]
        raise DataError(f"{name}: the library gave up on it ({first}): take another one") from None


def refuse_panicking_tokenizer(path: str) -> None:
    """Refuse a tokenizer.json at which the library would panic, without what Rust then prints of itself.
    Whatever else may be wrong with the file is said where it is loaded.

    Raises:
        DataError: it is such a file.
    """
    path = os.path.expanduser(path)
    with panics_in_words(path), _silent_stderr():
        from tokenizers import Tokenizer

        try:
            Tokenizer.from_file(path)
        except Exception:  # the library raises bare Exception
            return


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what the block writes to the process's standard error: Rust does not know of sys.stderr."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
