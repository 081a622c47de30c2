"""How a climb stands and what came of it: status, report, mfu, lineage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from stepladder.cli.errors import Misuse, naming
from stepladder.cli.files import ready
from stepladder.cli.words import Folder, LadderName, Out

EVERY = 10.0
"""Seconds between two looks, unless told otherwise."""


def status(
    ladder: LadderName = "laptop",
    runs: Annotated[bool, typer.Option("--runs", help="A line for every run.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Redraw until everything is done or Ctrl-C.")
    ] = False,
    every: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds between two looks of --watch.", show_default=f"{EVERY:g}"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it for programs, every run included.")
    ] = False,
) -> None:
    """Where a ladder stands: done, running, pending, failed; accelerator-hours used against plan.

    Reads the folders of the runs in results/, what was submitted from here, and Slurm's queue where there is
    one; prints a table. Nothing needs to run for it. Exit status 1 if a run has failed.

    Example: stepladder status smoke --watch --every 5
    """
    import time

    from rich.console import Console
    from rich.live import Live

    from stepladder.ladder.climb import Climb
    from stepladder.status.gather import plan_of, status_of
    from stepladder.status.show import as_json as to_json
    from stepladder.status.show import render

    if every is not None and not watch:
        raise Misuse("--every goes with --watch")
    if as_json and watch:
        raise Misuse("--json is one look and --watch many: choose one")
    climb = Climb.open(ladder)
    plan = plan_of(climb)
    now = status_of(climb, plan)
    if as_json:
        typer.echo(to_json(now))
    elif watch:
        with Live(render(now, runs), auto_refresh=False, console=Console(highlight=False)) as live:
            try:
                while not now.done:
                    time.sleep(every or EVERY)
                    now = status_of(climb, plan)
                    live.update(render(now, runs), refresh=True)
            except KeyboardInterrupt:
                pass
    else:
        Console(highlight=False).print(render(now, runs))
    raise typer.Exit(int(now.failed))


def report(ladder: LadderName, results: Folder, out: Out) -> None:
    """Draw the figures and typeset the report.

    Reads the ladder file, and plan, tables, fits and comparison in RESULTS; writes figures/ there, and the
    PDF to OUT.

    Example: stepladder report smoke --results results/smoke --out results/smoke/report.pdf
    """
    from stepladder.ladder.climb import Climb
    from stepladder.record.paths import LadderFolder
    from stepladder.record.plan import Plan
    from stepladder.report.build import build_report

    climb = Climb.open(ladder)
    ready(out)
    plan = Plan.read(LadderFolder(results).plan)
    with naming(results):
        build_report(results, out, climb.ladder, plan)
    typer.echo(f"{out}")


def mfu(
    results: Annotated[Path, typer.Argument(help="A ladder's folder, results/NAME.")],
    rung: Annotated[str | None, typer.Option(help="Only this rung, as d5.", show_default="all")] = None,
    variant: Annotated[
        str | None, typer.Option(help="Only this variant, as moe-tst.", show_default="all")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Print MFU over code versions: what each made of a rung, and what had changed.

    Runs that were trained again since are part of it: their logs stay. Versions are told apart by commit,
    training code, packages, threads, peak, engine settings, shape and batch; only runs of the same machine
    and precision are compared.

    Reads the event logs in RESULTS; prints tables.

    Example: stepladder mfu results/laptop --rung d4
    """
    import json
    from dataclasses import asdict

    from stepladder.status.show_versions import print_ledger
    from stepladder.status.versions import ledger, read_entries

    if not (results / "runs").is_dir():
        raise ValueError(
            f"{results} has no runs/: give the folder of a ladder that was climbed, as results/laptop"
        )
    with naming(results):
        entries, silent = read_entries(results)
    for option, wanted in (("rung", rung), ("variant", variant)):
        known = {str(getattr(entry, option)) for entry in entries}
        if wanted not in (None, *known):
            there = ", ".join(sorted(known)) or "none"
            raise ValueError(f"--{option} {wanted}: no run of it has ended; there are: {there}")
    chosen = [
        version
        for version in ledger(entries)
        if rung in (None, version.rung) and variant in (None, version.variant)
    ]
    if entries and not chosen:
        raise ValueError(f"--rung {rung} --variant {variant}: no run of both has ended")
    if as_json:
        typer.echo(json.dumps([asdict(version) for version in chosen], indent=1))
    else:
        print_ledger(chosen, silent)


def lineage(
    path: Annotated[
        Path,
        typer.Argument(
            help="A ladder's folder or any file of it: report.pdf, comparison.json, a fit, a run..."
        ),
    ],
) -> None:
    """Walk from a file of a ladder down to its token shards: what each was made from, and is it still so?

    Reads everything on the way, every byte of the shards included, and checks it: digests, and what a result
    says against its spec, the plan, its log and the data. Of a run it prints code, packages and hardware too.
    Exit status 1 if a link is broken.

    Example: stepladder lineage results/smoke/report.pdf
    """
    from rich.console import Console
    from rich.pretty import Pretty

    from stepladder.display.terminal import show
    from stepladder.record.paths import RunFolder
    from stepladder.record.result import Result
    from stepladder.status.lineage import ladder_of, lineage_table, walk

    ladder = ladder_of(path)
    result = (
        RunFolder(path).result
        if path.is_dir() and (ladder is None or Path(os.path.abspath(path)) != ladder.path)
        else path
    )
    if not result.exists():
        hint = (
            "a run has a result.json only when it is done"
            if result.name == "result.json"
            else ("`stepladder status` says how far its ladder is")
        )
        raise ValueError(f"{result}: no such file; {hint}")
    if result.name == "result.json":
        keys = {"id", "spec_sha256", "restarts", "warnings", "lineage"}
        Console(soft_wrap=True).print(Pretty(Result.read(result).model_dump(include=keys), expand_all=True))
        if ladder is None:  # trained by hand: nothing around it to compare it with
            return
    links = walk(result)
    show(lineage_table(links))
    raise typer.Exit(int(any(link.problem for link in links)))
