"""Prepared tokens for others to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stepladder.cli.files import ready
from stepladder.documents.files import written_below


def export_data(
    manifest: Annotated[Path, typer.Argument(help="manifest.json of the prepared shards.")],
    out: Annotated[Path, typer.Option(help="New folder to write.")],
) -> None:
    """Write prepared shards in Megatron's format, so that the same tokens can train elsewhere.

    Reads and checks the shards beside MANIFEST; writes a .bin and an .idx per domain and split, with
    tokenizer.json and about.json, into OUT; prints the prefixes that Megatron's --data-path takes.

    Example: stepladder export-data results/smoke/data/manifest.json --out smoke-tokens
    """
    from stepladder.data.export import export

    ready(out)
    with written_below(out):
        for prefix in export(manifest, out):
            typer.echo(out / prefix)
