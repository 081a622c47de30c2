"""Reading what the command line names and writing what it asks for; every error names the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from stepladder.cli.errors import Misuse
from stepladder.documents.files import write_atomically


def ready(*paths: Path | None) -> None:
    """Refuse files that cannot be written, before any work is done for them. Writes nothing.

    Raises:
        ValueError: one is a folder, or lies in none that can be written to.
    """
    for path in filter(None, paths):
        if path.is_dir():
            raise ValueError(f"{path}: is a folder; name a file to write")
        if path.exists() and not path.is_file() and os.access(path, os.W_OK):
            continue  # a device or a pipe, such as /dev/stdout
        there = next(parent for parent in path.absolute().parents if parent.exists())
        if not there.is_dir():
            raise ValueError(f"{path}: cannot be written, {there} is not a folder")
        if not os.access(there, os.W_OK):
            raise ValueError(f"{path}: cannot be written, no permission to write in {there}")


def roomy(path: Path) -> Path:
    """`path`, its folder made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def write_json(path: Path, value: object) -> None:
    """Write strict, readable JSON, whole or not at all; parents are made."""
    write_atomically(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_object(path: Path, maker: str, *keys: str) -> dict[str, Any]:
    """The JSON object at `path`.

    Args:
        maker: what writes such files, for the advice.
        keys: that it must have.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON, no object, or lacks a key.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: not JSON; give a file that {maker} wrote") from None
    if not isinstance(found, dict) or not set(keys) <= set(found):
        raise ValueError(f"{path}: not what it should be; give a file that {maker} wrote")
    return found


def json_argument(name: str, text: str, example: str) -> dict[str, Any]:
    """A JSON object that was given on the command line.

    Raises:
        Misuse: it is none.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise Misuse(f"{name} {text:.80}: write a JSON object, such as '{example}'")
    return given
