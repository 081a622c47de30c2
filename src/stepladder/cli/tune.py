"""The command that turns a ladder's sweep into learning rates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stepladder.cli.analysis import explained
from stepladder.cli.shell import Out


def tune(
    ladder: Annotated[str, typer.Argument(help="Name in configs/ladders, or a path; it needs a `sweep:`.")],
    results: Annotated[Path, typer.Option(help="results/<ladder>, where the sweep's runs are done.")],
    out: Out,
    table: Annotated[Path | None, typer.Option(help="Also write one row per run of the sweep.")] = None,
) -> None:
    """Find each swept rung's best learning rate, its law over scale, and the rates of all rungs.

    stepladder tune smoke-sweep --results results/smoke-sweep --out learning_rates.json

    A parabola of loss over log rate goes through the points around the lowest, so the lowest must lie inside
    the sweep: where it is at an edge, you are told which factors to add. `snakemake` runs the sweep, calls
    this, and trains the other rungs at the rates; only those whose rate comes out differently train again.
    """
    from stepladder.ladder.climb import Climb
    from stepladder.ladder.sweep import quantity_name
    from stepladder.report.render.console import print_tuning
    from stepladder.tuning.tables import sweep_table, targets
    from stepladder.tuning.tune import tune as tune_sweep

    with explained():
        climb = Climb.open(ladder)
        if climb.ladder.sweep is None:
            raise ValueError(f"{climb.path}: this ladder has no sweep; add a section `sweep:`")
        runs = sweep_table(climb, results)
        found = tune_sweep(
            runs,
            targets(climb),
            quantity_name(climb.ladder),
            climb.ladder.analysis.confidence,
            climb.ladder.sweep.max_uncertainty,
            climb.sweep_digest,
        )
        print_tuning(found)
        if found.problems:
            advice = "`sweep.apply: none` trains every rung at its ruled rate and reports the bowls"
            raise ValueError("no rates to train at. " + "; ".join([*found.problems, advice]))
        if table:
            runs.to_parquet(table)
        found.write(out)
