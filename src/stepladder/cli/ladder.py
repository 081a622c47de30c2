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

    Reads the ladder file, HARDWARE and, if the data are prepared, their manifest in results/NAME, which tells
    how often each run reads its text; writes the plan as JSON to OUT.

    Example: stepladder price smoke --out plan.json --table plan.tsv --pdf plan.pdf
    """
    from stepladder.data.manifest import training_tokens
    from stepladder.ladder.climb import Climb
    from stepladder.record.paths import LadderFolder
    from stepladder.schema.accelerators import accelerators

    ready(out, table, pdf)
    climb = Climb.open(ladder)
    manifest = LadderFolder.of(climb.ladder.name).manifest
    tokens = training_tokens(manifest, climb.ladder.data)
    plan = climb.price(accelerators(hardware)).with_passes(tokens)
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

    Reads a plan.json and, if the data are prepared, data/manifest.json beside it, which tells how often each
    run reads its text; prints a table. `snakemake plan` makes the file and calls this.

    Example: stepladder plan results/smoke/plan.json
    """
    from stepladder.data.manifest import parse
    from stepladder.record.paths import LadderFolder
    from stepladder.record.plan import Plan
    from stepladder.report.render.plan import print_plan

    plan, manifest = Plan.read(path), LadderFolder(path.parent).manifest
    print_plan(plan.with_passes(parse(manifest).training_tokens) if manifest.exists() else plan)
