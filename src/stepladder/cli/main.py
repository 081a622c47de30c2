"""The `stepladder` command: thin shells around the library. The workflow's rules call it; so may you.

Imports of heavy libraries are inside the commands, so that each starts quickly.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from stepladder.cli import analysis
from stepladder.cli.mfu import mfu
from stepladder.cli.shell import Out, fail, write_json
from stepladder.cli.tune import tune

app = typer.Typer(
    help="Scaling ladders: does an idea save compute, how much, and how surely?\n\n"
    "Most people run `snakemake`, which calls these commands in the right order; "
    "`stepladder check`, `lineage` and `train` are useful by hand.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]


analysis.register(app)
app.command()(tune)
app.command()(mfu)


@app.command()
def check(ladder: Annotated[str, typer.Argument(help="Name in configs/ladders, or a path.")]) -> None:
    """Validate a ladder file and print its runs, one id a line."""
    from stepladder.ladder.climb import Climb, LadderError

    try:
        climb = Climb.open(ladder)
    except LadderError as error:
        raise fail(error) from None
    for run in climb.every_run:
        typer.echo(run)


@app.command()
def price(
    ladder: Annotated[str, typer.Argument(help="Name in configs/ladders, or a path.")],
    out: Out,
    hardware: Annotated[Path, typer.Option(help="Peaks and prices.")] = Path("configs/hardware.yaml"),
    table: Annotated[Path | None, typer.Option(help="Also write one row per run as TSV.")] = None,
    pdf: Annotated[Path | None, typer.Option(help="Also typeset it.")] = None,
) -> None:
    """Count parameters, tokens, FLOPs, accelerator-hours and money of every run. Runs nothing."""
    import csv

    from stepladder.ladder.climb import Climb, LadderError
    from stepladder.schema.accelerators import accelerators

    try:
        plan = Climb.open(ladder).price(accelerators(hardware))
    except (LadderError, ValueError) as error:
        raise fail(error) from None
    write_json(out, plan)
    if table:
        with table.open("w", newline="") as file:
            rows = csv.DictWriter(file, list(plan["runs"][0]), delimiter="\t")
            rows.writeheader()
            rows.writerows(plan["runs"])
    if pdf:
        from stepladder.report.sections.plan import build_plan_pdf

        build_plan_pdf(plan, pdf)


@app.command()
def plan(path: Annotated[Path, typer.Argument(help="plan.json")]) -> None:
    """Print what a ladder would cost, by rung and variant."""
    from stepladder.report.render.plan import print_plan

    print_plan(json.loads(path.read_text()))


@app.command()
def data(
    settings: Annotated[
        str, typer.Argument(help="source, tokenizer, validation_fraction, degenerate as JSON.")
    ],
    out: Out,
) -> None:
    """Turn text into shuffled-by-index token shards with a manifest."""
    from stepladder.data.errors import DataError
    from stepladder.data.prepare import prepare

    values = json.loads(settings)
    try:
        drop = values.get("degenerate", "count") == "drop"
        prepare(values["source"], values["tokenizer"], values["validation_fraction"], out.parent, drop)
    except DataError as error:
        raise fail(error) from None


@app.command()
def calibrate(out: Out, threads: Threads = 1) -> None:
    """Measure this CPU's matrix-product rate: the peak against which MFU on CPU is stated."""
    from stepladder.training.calibrate import measure_machine

    write_json(out, measure_machine(threads))


@app.command()
def train(
    spec: Annotated[str, typer.Argument(help="A resolved run spec as JSON, or the path of a spec.json.")],
    manifest: Annotated[Path, typer.Option(help="The shards' manifest.json.")],
    out: Annotated[Path, typer.Option(help="result.json; checkpoints and logs go beside it.")],
    machine: Annotated[str, typer.Option(help="machine.json of `stepladder calibrate`; '' for none.")] = "",
    threads: Threads = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda")] = "auto",
    ranks: Annotated[
        int, typer.Option(min=1, help="Processes that train together, one per accelerator: started here.")
    ] = 1,
    engine: Annotated[
        str,
        typer.Option(
            help='Engine options that are not the defaults, as JSON: \'{"compile": "never"}\'. They are '
            "named as in a ladder's execution section."
        ),
    ] = "",
    compile_cache: Annotated[
        Path | None, typer.Option(help="Folder where compiled code is kept between runs.")
    ] = None,
    fork: Annotated[
        str, typer.Option(help="result.json of the trunk that this run goes on from; '' to start at step 0.")
    ] = "",
) -> None:
    """Train one run, evaluate it, write result.json last. Goes on from its checkpoint if it has one.

    A segment of a trunk (`stepladder check` lists runs, `snakemake plan` trunks) is trained but not
    evaluated.
    """
    from stepladder.record.fingerprint import run_fingerprint
    from stepladder.record.spec import RunSpec

    text = spec if spec.lstrip().startswith("{") else Path(spec).read_text()
    run = RunSpec.from_json(text)
    code = run_fingerprint(run.model.architecture, run.recipe.name)
    if run.code != code:
        raise fail(
            f"{run.id} was planned with training code {run.code}, and the code here is {code}: it has "
            "changed since the job was submitted. Run snakemake again to plan this run with the code as it is"
        )
    if ranks > 1:
        from stepladder.training.launch import start_ranks

        start_ranks(ranks)
    from stepladder.schema.execution import EngineOptions
    from stepladder.training.run import train as train_run

    try:
        options = EngineOptions.from_text(engine)
    except ValueError as error:
        raise fail(f"--engine: {error}") from None
    train_run(
        run,
        manifest=manifest,
        run_dir=out.parent,
        machine=Path(machine) if machine else None,
        threads=threads,
        device=device,
        options=options,
        compile_cache=compile_cache,
        fork=Path(fork) if fork else None,
    )


@app.command()
def collect(
    plan: Annotated[Path, typer.Argument(help="plan.json; results are looked for in runs/ beside it.")],
    runs: Annotated[Path, typer.Option(help="Parquet to write: one row per run.")],
    steps: Annotated[Path, typer.Option(help="Parquet to write: one row per logged step.")],
) -> None:
    """Gather the results of all planned runs into two tables. Those of a sweep stay out: `tune` has them."""
    from stepladder.record.tables import collect as collect_results

    rows = json.loads(plan.read_text())["runs"]
    planned = {run["id"]: run["flops"] for run in rows if not run["sweep"] and not run["trunk"]}
    results = [plan.parent / "runs" / run / "result.json" for run in planned]
    runs_table, steps_table = collect_results(results, planned)
    runs_table.to_parquet(runs)
    steps_table.to_parquet(steps)


@app.command()
def report(
    ladder: Annotated[str, typer.Argument(help="Name in configs/ladders, or a path.")],
    results: Annotated[Path, typer.Option(help="results/<ladder>")],
    out: Out,
) -> None:
    """Draw the figures and typeset the report."""
    from stepladder.ladder.climb import Climb
    from stepladder.report.build import build_report

    climb = Climb.open(ladder)
    plan = json.loads((results / "plan.json").read_text())
    build_report(results, out, climb.ladder.model_dump(mode="json"), plan)
    typer.echo(f"{out}")


@app.command()
def status(
    ladder: Annotated[str, typer.Argument(help="Name in configs/ladders, or a path.")] = "laptop",
    runs: Annotated[bool, typer.Option(help="A line for every run.")] = False,
    watch: Annotated[bool, typer.Option(help="Redraw until everything is done or Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks of --watch.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for machines.")] = False,
) -> None:
    """Where a ladder stands: done, running, pending, failed; accelerator-hours used against plan.

    Reads the folders of the runs, what was submitted from here, and Slurm's queue where there is one. Nothing
    needs to run for it. Exit status 1 if a run has failed.
    """
    import time

    from rich.console import Console
    from rich.live import Live

    from stepladder.ladder.climb import Climb, LadderError
    from stepladder.status.gather import plan_of, status_of
    from stepladder.status.show import as_json as to_json
    from stepladder.status.show import render

    try:
        climb = Climb.open(ladder)
        plan = plan_of(climb)
    except (LadderError, ValueError) as error:
        raise fail(error) from None
    now = status_of(climb, plan)
    if as_json:
        typer.echo(to_json(now))
    elif watch:
        with Live(render(now, runs), auto_refresh=False, console=Console(highlight=False)) as live:
            try:
                while not now.done:
                    time.sleep(every)
                    now = status_of(climb, plan)
                    live.update(render(now, runs), refresh=True)
            except KeyboardInterrupt:
                pass
    else:
        Console(highlight=False).print(render(now, runs))
    raise typer.Exit(int(now.failed))


@app.command()
def lineage(path: Annotated[Path, typer.Argument(help="A result.json or the folder of a run.")]) -> None:
    """Print what a result was made from: code, packages, hardware, data, spec, restarts."""
    from rich.console import Console
    from rich.pretty import Pretty

    file = path / "result.json" if path.is_dir() else path
    if not file.is_file():
        raise fail(f"{file}: no such file; a run has a result.json only when it is done")
    result: dict[str, Any] = json.loads(file.read_text())
    keys = ("id", "spec_sha256", "restarts", "warnings", "lineage")
    Console(soft_wrap=True).print(Pretty({key: result.get(key) for key in keys}, expand_all=True))
