"""A ladder before it is climbed: check, price, plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepladder.cli.files import ready, roomy
from stepladder.cli.words import LadderName, Out

if TYPE_CHECKING:
    from stepladder.record.plan import Plan

HARDWARE = Path("configs/hardware.yaml")
"""Peaks and prices of accelerators, unless told otherwise."""


def check(ladder: LadderName) -> None:
    """Validate a ladder file and print its runs, one id a line.

    Reads the ladder file; what is wrong with it is said with line, key, value and fix.

    Example: stepladder check smoke
    """
    from stepladder.ladder.climb import Climb

    climb = Climb.open(ladder)
    for run in climb.every_run:
        typer.echo(run)


def price(
    ladder: LadderName,
    out: Out,
    hardware: Annotated[
        Path, typer.Option(help="Peaks (FLOP/s) and prices of accelerators, YAML.")
    ] = HARDWARE,
    table: Annotated[
        Path | None, typer.Option(help="Also write one row per run, as TSV.", show_default="no table")
    ] = None,
    pdf: Annotated[Path | None, typer.Option(help="Also typeset it.", show_default="no PDF")] = None,
) -> None:
    """Count parameters, tokens, FLOPs, accelerator-hours and money of every run. Runs nothing.

    Reads the ladder file, HARDWARE and, if the data are prepared, their manifest in results/NAME, which tells
    how often each run reads its text; writes the plan as JSON to OUT.

    Example: stepladder price smoke --out plan.json --table plan.tsv --pdf plan.pdf
    """
    ready(out, table, pdf)
    plan = _priced(ladder, hardware)
    plan.write(out)
    if table:
        plan.write_table(roomy(table))
    if pdf:
        from stepladder.report.render.plan import build_plan_pdf

        build_plan_pdf(plan, pdf)


def plan(
    ladder: Annotated[
        str,
        typer.Argument(
            help="Name of a file in configs/ladders, or a path; or a plan.json of `stepladder price`."
        ),
    ],
) -> None:
    """Print what a ladder would cost, by rung and variant. Runs and writes nothing.

    Reads the ladder file and configs/hardware.yaml, or a plan.json, and if the data are prepared, their
    manifest, which tells how often each run reads its text; prints a table. `snakemake plan` makes plan.json
    and calls this with it; while the same ladder is climbed Snakemake locks the folder, and the ladder's
    name is what to give: stepladder plan laptop.

    Example: stepladder plan smoke
    """
    from stepladder.report.render.plan import print_plan

    print_plan(_read_plan(Path(ladder)) if ladder.endswith(".json") else _priced(ladder))


def _priced(name: str, hardware: Path = HARDWARE) -> Plan:
    """The plan of a ladder as its file is now, with passes if its data are prepared."""
    from stepladder.data.manifest import training_tokens
    from stepladder.ladder.climb import Climb
    from stepladder.record.paths import LadderFolder
    from stepladder.schema.accelerators import accelerators

    climb = Climb.open(name)
    tokens = training_tokens(LadderFolder.of(climb.ladder.name).manifest, climb.ladder.data)
    return climb.price(accelerators(hardware)).with_passes(tokens)


def _read_plan(path: Path) -> Plan:
    """A plan.json, with passes if there are data beside it."""
    from stepladder.data.manifest import parse
    from stepladder.record.paths import LadderFolder
    from stepladder.record.plan import Plan

    plan, manifest = Plan.read(path), LadderFolder(path.parent).manifest
    return plan.with_passes(parse(manifest).training_tokens) if manifest.exists() else plan
