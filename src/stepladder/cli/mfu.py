"""`stepladder mfu`: a thin shell around `stepladder.status.versions`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from stepladder.cli.shell import fail


def mfu(
    results: Annotated[Path, typer.Argument(help="A ladder's folder below results/.")],
    rung: Annotated[str | None, typer.Option(help="Only this rung, as d5.")] = None,
    variant: Annotated[str | None, typer.Option(help="Only this variant, as moe-tst.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Print MFU over code versions: what each made of a rung, and what had changed.

    Runs that were trained again since are part of it: their logs stay. Versions are told apart by commit,
    training code, packages, threads, peak, engine settings, shape and batch; only runs of the same machine
    and precision are compared.
    """
    from stepladder.status.show_versions import print_ledger
    from stepladder.status.versions import ledger, read_entries

    if not (results / "runs").is_dir():
        raise fail(f"{results} has no runs/: give the folder of a ladder that was climbed, as results/laptop")
    entries, silent = read_entries(results)
    for option, wanted in (("rung", rung), ("variant", variant)):
        known = {str(getattr(entry, option)) for entry in entries}
        if entries and wanted not in (None, *known):
            raise fail(f"--{option} {wanted}: no run of it has ended; there are: {', '.join(sorted(known))}")
    chosen = [
        version
        for version in ledger(entries)
        if rung in (None, version.rung) and variant in (None, version.variant)
    ]
    if as_json:
        typer.echo(json.dumps([asdict(version) for version in chosen], indent=1))
    else:
        print_ledger(chosen, silent)
