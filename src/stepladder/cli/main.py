"""The `stepladder` command: thin shells around the library. The workflow's rules call it; so may you.

Imports of heavy libraries are inside the commands, so that each starts quickly.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from stepladder.cli import decision, evaluate, export, ladder, laws, look, prepare, runs
from stepladder.cli.errors import Commands

app = typer.Typer(
    cls=Commands,
    help="Scaling ladders: does an idea save compute, how much, and how surely?\n\n"
    "Most people run `snakemake`, which calls these commands in the right order; those under “Used by the "
    "workflow” are rarely typed. Exit status: 0 done, 1 with a sentence on stderr that says why not, 2 wrong "
    "arguments. STEPLADDER_TRACEBACK=1 shows where an error came from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Plan and climb": {
        "check": ladder.check,
        "price": ladder.price,
        "plan": ladder.plan,
        "design": ladder.design,
        "train": runs.train,
        "export": export.export,
        "export-data": export.export_data,
    },
    "Score": {
        "evaluate": evaluate.evaluate,
        "sample": evaluate.sample,
    },
    "Look": {
        "status": look.status,
        "report": look.report,
        "mfu": look.mfu,
        "lineage": look.lineage,
    },
    "Laws for any table": {
        "fit": laws.fit,
        "laws": laws.size_laws,
        "predict": laws.predict,
        "compare": decision.compare,
        "metrics": decision.metrics,
        "signal": decision.signal,
        "next": decision.next_runs,
    },
    "Used by the workflow": {
        "power": ladder.power,
        "data": prepare.data,
        "task": evaluate.task,
        "evaluate-rung": evaluate.evaluate_rung,
        "calibrate": runs.calibrate,
        "coordinates": runs.coordinates,
        "collect": runs.collect,
        "tune": decision.tune,
        "gate": decision.gate,
        "top": decision.top,
        "swarm": decision.swarm,
        "preregister": decision.preregister,
    },
}
"""Heading in `stepladder --help` to its commands."""

for heading, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=heading)(command)
