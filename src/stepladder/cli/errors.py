"""One wrapper around all commands: what a person can mend ends in a sentence, a bug keeps its traceback."""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from stepladder.display.visible import visible

TRACEBACK = "STEPLADDER_TRACEBACK"
"""Environment variable that, if set, shows where such an error came from as well."""

SHOWN = 5
"""Wrong fields that a message lists; the others are counted."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where there is no room for a file."""


class Misuse(ValueError):
    """Arguments that do not go together. Exit status 2, as of an option that does not exist."""


class Commands(TyperGroup):
    """Commands whose errors, if they are meant for a person, end with `stepladder: ...` on stderr and exit
    status 1 (2 for `Misuse`). All others pass. The wrapper is around all of Typer, which prints help before
    any command has begun."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run what the command line says."""
        try:
            with warnings_in_words():
                return super().main(*args, **kwargs)
        except Exception as error:
            message = sentence(error)
            if message is None:
                raise
            if os.environ.get(TRACEBACK):
                traceback.print_exc()
            typer.secho(f"stepladder: {visible(message)}", fg="red", err=True)
            _drop_what_cannot_be_printed()
            raise SystemExit(2 if isinstance(error, Misuse) else 1) from None

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        finally:
            sys.stdout.flush()  # a full disk is met here, not when nobody can say so any more


@contextmanager
def warnings_in_words() -> Iterator[None]:
    """Warnings of this package are a line on stderr; those of others look as Python shows them."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **further: Any) -> None:
            if category.__module__.startswith("stepladder."):
                typer.secho(f"stepladder: {visible(str(message))}", fg="yellow", err=True)
            else:
                usual(message, category, *where, **further)

        warnings.showwarning = show
        yield


def _drop_what_cannot_be_printed() -> None:
    """Python would try once more as it ends, and print a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def sentence(error: Exception) -> str | None:
    """What to tell the person who typed the command, or None if the error is a bug (or a closed pipe)."""
    typst = sys.modules.get("typst")  # heavy; an error of it can only come up where it is loaded
    if isinstance(error, BrokenPipeError):
        return None
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        # What commands write has a name (`written_below`), what they print has none.
        unnamed = "standard output: " if error.errno in FULL else ""
        return f"{unnamed}{reason}" if error.filename is None else f"{_name(error.filename)}: {reason}"
    if isinstance(error, MemoryError):
        return "out of memory: give it less to read, or a machine with more"
    if isinstance(error, UnicodeDecodeError):
        return f"not {error.encoding.upper()} text (byte {error.start})"
    if isinstance(error, ValueError):
        return _fields(error) or str(error) or type(error).__name__
    if typst and isinstance(error, typst.TypstError):
        return f"Typst cannot typeset it: {error}"
    return None


def _name(file: object) -> str:
    """What an error of the system is about: a path, or the number of an open file."""
    return os.fsdecode(file) if isinstance(file, str | bytes | os.PathLike) else f"open file {file}"


@contextmanager
def naming(source: Path | str) -> Iterator[None]:
    """Errors of the block that do not say which file or argument they are about begin with `source`."""
    try:
        yield
    except ValueError as error:
        message = sentence(error) or ""
        if isinstance(error, Misuse) or str(source) in message or message.startswith("--"):
            raise
        between = "\n" if "\n" in message else " "
        raise ValueError(f"{source}:{between}{message}") from error


def _fields(error: ValueError) -> str | None:
    """Of pydantic's errors: field, value and what is wrong with it, a line each."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return None
    lines = []
    for problem in error.errors():
        where = ".".join(map(str, problem["loc"]))
        value = problem["input"]
        shown = f" = {value!r:.80}" if where and isinstance(value, str | int | float | None) else ""
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{where}{shown}: {message}" if where else message)
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(lines[:SHOWN] + more)
