"""A ladder before it is climbed: check, price, plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stepladder.cli.files import ready, roomy
from stepladder.cli.words import LadderName, Out


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
    hardware: Annotated[Path, typer.Option(help="Peaks (FLOP/s) and prices of accelerators, YAML.")] = Path(
        "configs/hardware.yaml"
    ),
    table: Annotated[
        Path | None, typer.Option(help="Also write one row per run, as TSV.", show_default="no table")
    ] = None,
    pdf: Annotated[Path | None, typer.Option(help="Also typeset it.", show_default="no PDF")] = None,
) -> None:
    """Count parameters, tokens, FLOPs, accelerator-hours and money of every run. Runs nothing.

    Reads the ladder file and HARDWARE; writes the plan as JSON to OUT.

    Example: stepladder price smoke --out plan.json --table plan.tsv --pdf plan.pdf
    """
    from stepladder.ladder.climb import Climb
    from stepladder.schema.accelerators import accelerators

    ready(out, table, pdf)
    plan = Climb.open(ladder).price(accelerators(hardware))
    plan.write(out)
    if table:
        plan.write_table(roomy(table))
    if pdf:
        from stepladder.report.render.plan import build_plan_pdf

        build_plan_pdf(plan, pdf)


def plan(
    path: Annotated[Path, typer.Argument(help="The plan.json that `stepladder price` wrote.")],
) -> None:
    """Print what a ladder would cost, by rung and variant.

    Reads a plan.json; prints a table. `snakemake plan` makes the file and calls this.

    Example: stepladder plan results/smoke/plan.json
    """
    from stepladder.record.plan import Plan
    from stepladder.report.render.plan import print_plan

    print_plan(Plan.read(path))
