"""A ladder before it is climbed: check, price, plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stepladder.cli.files import ready, roomy, write_json
from stepladder.cli.words import AlsoJson, LadderName, Out, tuned

if TYPE_CHECKING:
    from stepladder.decision.power import Power
    from stepladder.ladder.climb import Climb
    from stepladder.record.plan import Plan
    from stepladder.schema.analysis import AnalysisConfig

HARDWARE = Path("configs/hardware.yaml")
"""Peaks and prices of accelerators, unless told otherwise."""

Gains = Annotated[
    list[float] | None,
    typer.Option(
        help="True efficiency gain to simulate, beside 1, 1.1 and 1.3; below 1 for what costs compute. May "
        "be given several times.",
        min=0.1,
        max=100.0,
        show_default="none",
    ),
]


def check(ladder: LadderName) -> None:
    """Validate a ladder file and print its runs, one id a line.

    Reads the ladder file; what is wrong with it is said with line, key, value and fix. Whose hyperparameters
    it has, and which of them were not tuned together, is said beside the list, on stderr.

    Example: stepladder check smoke
    """
    from stepladder.ladder.climb import Climb
    from stepladder.ladder.hyperparameters import mixed

    climb = Climb.open(ladder)
    for note in mixed(climb.ladder):
        typer.echo(note, err=True)
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
    gain: Gains = None,
    power: Annotated[
        bool,
        typer.Option(help="Simulate what the ladder will be able to tell; with --no-power only price it."),
    ] = True,
) -> None:
    """Print what a ladder will be able to tell and what it would cost. Runs and writes nothing.

    Reads the ladder file and configs/hardware.yaml, or a plan.json with the power.json beside it; if the data
    are prepared, their manifest, which tells how often each run reads its text; and if the ladder ran
    before, its runs.parquet, which tells its seed noise and its law. `snakemake plan` makes plan.json and
    calls this with it; while the same ladder is climbed Snakemake locks the folder, and the ladder's name is
    what to give: stepladder plan laptop.

    Example: stepladder plan smoke --gain 1.05 --gain 1.2
    """
    from stepladder.report.render.plan import print_plan

    if ladder.endswith(".json"):
        print_plan(_read_plan(Path(ladder)), _read_power(Path(ladder)) if power else None)
        return
    planned = _priced(ladder)
    print_plan(planned, _power(ladder, planned, gain) if power else None)


def power(
    ladder: LadderName,
    plan: Annotated[Path, typer.Argument(help="Its plan.json.")],
    out: Out,
    gain: Gains = None,
    pdf: Annotated[
        Path | None, typer.Option(help="Also typeset it with the plan.", show_default="no PDF")
    ] = None,
) -> None:
    """Simulate what a ladder will be able to tell: intervals, chances of each verdict, and what would help.

    Reads the ladder file, PLAN, and if the ladder ran before, its runs.parquet in results/NAME, which tells
    its seed noise and its law; writes JSON to OUT.

    Example: stepladder power smoke results/smoke/plan.json --out power.json --pdf plan.pdf
    """
    ready(out, pdf)
    planned = _read_plan(plan)
    found = _power(ladder, planned, gain)
    found.write(out)
    if pdf:
        from stepladder.report.render.plan import build_plan_pdf

        build_plan_pdf(planned, pdf, found)


def design(
    decide: Annotated[
        float, typer.Option(help="True efficiency gain that should be promoted.", min=1.001, max=100.0)
    ],
    hours: Annotated[float, typer.Option(help="Accelerator-hours that may be spent.", min=1e-6)],
    ladder: LadderName = "laptop",
    hardware: Annotated[
        Path, typer.Option(help="Peaks (FLOP/s) and prices of accelerators, YAML.")
    ] = HARDWARE,
    json: AlsoJson = None,
) -> None:
    """Propose rungs and seeds for a budget: what would decide a gain, the surest design first.

    Reads the ladder file, which gives variants, shapes, budgets, noise and the rule, and HARDWARE; prints a
    table and the lines of the first design, to be put into a ladder file. Runs nothing.

    Example: stepladder design laptop --decide 1.2 --hours 0.5
    """
    from stepladder.decision.design import designs
    from stepladder.display.terminal import working
    from stepladder.ladder.climb import Climb
    from stepladder.report.render.plan import print_designs
    from stepladder.schema.accelerators import accelerators

    ready(json)
    climb = Climb.open(ladder)
    with working("simulating climbs of each design"):
        found = designs(climb, accelerators(hardware), decide, hours)
    print_designs(found, climb.ladder)
    if json:
        write_json(json, {"designs": [row.model_dump(mode="json") for row in found]})


def _power(name: str, plan: Plan, gains: list[float] | None) -> Power:
    """What the ladder of this name and plan will be able to tell."""
    from stepladder.decision.plan_power import GAINS, plan_power, planned_table
    from stepladder.display.terminal import working
    from stepladder.ladder.climb import Climb
    from stepladder.record.paths import LadderFolder
    from stepladder.record.tables import read_table

    climb = Climb.open(name)
    if strange := [run.id for run in plan.runs if run.id not in climb.every_job]:
        raise ValueError(
            f"the plan is of ladder {plan.ladder!r} with {strange[0]}, which {climb.path} has not (any "
            "more): plan it again"
        )
    if gains and climb.ladder.analysis.verdict.kind == "equivalent":
        raise ValueError(
            f"--gain: the rule of {climb.path} asks for equal losses, not for gains: leave it out"
        )
    before = LadderFolder.of(climb.ladder.name).runs_table
    earlier = read_table(before) if before.exists() else None
    with working("simulating climbs"):
        return plan_power(
            plan,
            planned_table(plan, climb.runs),
            _checked(climb),
            earlier,
            sorted({*GAINS, *(gains or ())}),
        )


def _checked(climb: Climb) -> AnalysisConfig:
    """The analysis with what the ladder's sweep has shown, or will if it comes out well."""
    from stepladder.decision.plan_power import well_tuned
    from stepladder.decision.undertuning import CHECKED_RUNGS

    config = climb.ladder.analysis
    if climb.learning_rates.exists() and climb.sweep:
        return tuned(config, climb.learning_rates)
    sweep = climb.ladder.sweep
    return well_tuned(config) if sweep and len(sweep.rungs) >= CHECKED_RUNGS else config


def _read_power(plan: Path) -> Power | None:
    """The power.json beside a plan.json; None where there is none."""
    from stepladder.decision.power import Power

    path = plan.with_name("power.json")
    return Power.read(path) if path.exists() else None


def _priced(name: str, hardware: Path = HARDWARE) -> Plan:
    """The plan of a ladder as its file is now, with passes if its data are prepared."""
    from stepladder.data.manifest import prepared_tokens
    from stepladder.ladder.climb import Climb
    from stepladder.ladder.provenance import provenance_notes
    from stepladder.record.paths import LadderFolder
    from stepladder.schema.accelerators import accelerators

    climb = Climb.open(name)
    tokens = prepared_tokens(LadderFolder.of(climb.ladder.name), climb.ladder)
    plan = climb.price(accelerators(hardware)).with_passes(tokens)
    notes = (*plan.notes, *provenance_notes(climb.ladder, plan, tokens))
    return plan.model_copy(update={"notes": notes})


def _read_plan(path: Path) -> Plan:
    """A plan.json, with passes if there are data beside it."""
    from stepladder.data.manifest import parse
    from stepladder.record.paths import LadderFolder
    from stepladder.record.plan import Plan

    manifests = LadderFolder(path.parent).manifests
    known = {name: parse(manifest).training_tokens for name, manifest in manifests.items()}
    return Plan.read(path).with_passes(known)
