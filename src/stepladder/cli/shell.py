"""What the commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option(help="File to write.")]


def fail(message: object) -> typer.Exit:
    """Print an error meant for a person; raise what this returns."""
    typer.secho(f"stepladder: {message}", fg="red", err=True)
    return typer.Exit(1)


def write_json(path: Path, value: object) -> None:
    """Write strict, readable JSON; parents are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
