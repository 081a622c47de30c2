"""The commands that work on anyone's table of runs: fit, compare, predict, next, and preregister of a
ladder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stepladder.cli.shell import Out, fail, write_json

if TYPE_CHECKING:
    import pandas as pd

    from stepladder.decision.axis_fit import AxisFit
    from stepladder.laws.envelope import EnvelopeFit
    from stepladder.laws.isoflop import IsoflopFit
    from stepladder.laws.law_fit import LawFit

Columns = Annotated[
    str,
    typer.Option(
        help="What the columns are called, for instance loss=val_nll,flops=C,parameters=N,tokens=D."
    ),
]
AnyUnits = Annotated[
    bool, typer.Option("--any-units", help="Do not object to numbers that look a thousandfold off.")
]
Settings = Annotated[str, typer.Option(help="A ladder's analysis section as JSON.")]
Table = Annotated[Path, typer.Argument(help="CSV, TSV or Parquet, one row per run.")]
At = Annotated[
    list[str] | None,
    typer.Option(help="Where: flops=1e21, or parameters=7e9,tokens=1.4e11. May be given several times."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command, name in (
        (fit, "fit"),
        (compare, "compare"),
        (predict, "predict"),
        (next_runs, "next"),
        (preregister, "preregister"),
    ):
        app.command(name)(command)


def fit(
    table: Table,
    out: Out,
    law: Annotated[
        str,
        typer.Option(
            help="compute, chinchilla, overtraining or sparsity (parametric); isoflop or envelope "
            "(approaches 2 and 1 of Hoffmann et al. 2022); ladder: all variants of a runs.parquet "
            "at once, as the workflow does."
        ),
    ] = "ladder",
    columns: Columns = "",
    drop_highest: Annotated[int, typer.Option(min=0, help="Leave out the rows of highest loss.")] = 0,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Bootstrap draws; everything is refitted in each.")
    ] = 1000,
    cluster: Annotated[
        str, typer.Option(help="Columns whose combinations are drawn as wholes: rung,seed.")
    ] = "",
    by: Annotated[str, typer.Option(help="Column of variants that have a law each.")] = "",
    share: Annotated[str, typer.Option(help="Parameters that the variants have in common: E.")] = "",
    pin: Annotated[str, typer.Option(help="Parameters that are given: E=1.7.")] = "",
    delta: Annotated[
        float, typer.Option(min=1e-9, help="Residual of log loss from which rows count linearly.")
    ] = 1e-3,
    norm: Annotated[str, typer.Option(help="huber, log_cosh or squared.")] = "huber",
    weight_above: Annotated[
        float,
        typer.Option(
            min=0.01, max=1.0, help="Weight of rows above the law; below 1 undertuned runs pull less."
        ),
    ] = 1.0,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999)] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    target: Annotated[list[float] | None, typer.Option(help="isoflop, envelope: FLOPs to allocate.")] = None,
    axis: Annotated[str, typer.Option(help="ladder: cost axis flops, seconds or tokens.")] = "flops",
    settings: Settings = "{}",
    plot: Annotated[Path | None, typer.Option(help="Also draw the fit: .png, .svg or .pdf.")] = None,
    any_units: AnyUnits = False,
) -> None:
    """Fit a scaling law to a table of runs: parameters, standard errors, intervals, and whether to believe
    them.

    stepladder fit runs.csv --law chinchilla --bootstrap 4000 --out fit.json
    """
    with explained():
        if law == "ladder":
            result = _fit_ladder(table, axis, settings, columns, any_units)
        elif law in ("isoflop", "envelope"):
            result = _fit_frontier(
                table, law, columns, any_units, drop_highest, bootstrap, seed, confidence, target
            )
        else:
            from stepladder.laws.solve import Robust
            from stepladder.laws.table_fit import Options

            options = Options(
                robust=Robust(delta, _one_of("--norm", norm, ("huber", "log_cosh", "squared")), weight_above),
                by=by or None,
                shared=_names(share),
                pinned={key: float(value) for key, value in _pairs(pin, "--pin").items()},
                clusters=_names(cluster),
                draws=bootstrap,
                seed=seed,
                confidence=confidence,
            )
            result = _fit_law(table, law, options, columns, any_units, drop_highest, plot)
    result.write(out)
    if law != "ladder":
        from stepladder.report.render.console import print_fit

        print_fit(result)


def _fit_law(
    path: Path, name: str, options: Any, columns: str, any_units: bool, drop: int, plot: Path | None
) -> LawFit:
    from stepladder.laws.forms import LAWS
    from stepladder.laws.table_fit import columns_of, fit_table
    from stepladder.laws.tables import drop_highest, parse_columns, read_table, select

    if name not in LAWS:
        raise ValueError(f"no law {name!r}; there are: ladder, {', '.join(LAWS)}, isoflop, envelope")
    law = LAWS[name]()
    needed = [*columns_of(law), *([options.by] if options.by else []), *options.clusters]
    known = ("flops", "parameters", "tokens", "active_fraction")
    table = read_table(path)
    table = select(table, list(dict.fromkeys(needed)), parse_columns(columns), known, any_units)
    table = drop_highest(table, drop)
    result = fit_table(table, law, options)
    if plot:
        from stepladder.report.figures.table_fit import draw_fit

        draw_fit(table, result, plot)
    return result


def _fit_frontier(
    path: Path,
    name: str,
    columns: str,
    any_units: bool,
    drop: int,
    draws: int,
    seed: int,
    confidence: float,
    targets: list[float] | None,
) -> IsoflopFit | EnvelopeFit:
    from stepladder.laws.envelope import envelope
    from stepladder.laws.isoflop import isoflop
    from stepladder.laws.tables import drop_highest, parse_columns, read_table, select

    needed = ["loss", "flops", "parameters", "tokens"]
    table = drop_highest(select(read_table(path), needed, parse_columns(columns), (), any_units), drop)
    method = isoflop if name == "isoflop" else envelope
    return method(table, draws=draws, seed=seed, confidence=confidence, targets=targets or ())


def _fit_ladder(path: Path, axis: str, settings: str, columns: str, any_units: bool) -> AxisFit:
    from stepladder.decision.fit import fit as fit_variants

    config = _config(settings)
    return fit_variants(_runs(path, columns, any_units), axis, config)


def compare(
    runs: Table,
    out: Out,
    fits: Annotated[
        list[Path] | None,
        typer.Argument(help="fits/<axis>.json, one per axis; made here where none is given."),
    ] = None,
    baseline: Annotated[str, typer.Option(help="Variant to compare with.")] = "",
    candidate: Annotated[list[str] | None, typer.Option(help="Variants to judge; all by default.")] = None,
    axis: Annotated[list[str] | None, typer.Option(help="Cost axes: flops, seconds, tokens.")] = None,
    target: Annotated[float | None, typer.Option(help="FLOPs of the run that the decision is about.")] = None,
    settings: Settings = "{}",
    record: Annotated[
        str, typer.Option(help="Predictions made before the largest rungs ran, to be judged.")
    ] = "",
    columns: Columns = "",
    any_units: AnyUnits = False,
) -> None:
    """Efficiency gains with intervals and trend, seed tests, and the verdict by the written rule.

    stepladder compare runs.csv --baseline dense --candidate moe --axis flops --out cmp.json
    """
    from stepladder.decision.compare import compare as compare_variants
    from stepladder.decision.fit import fit as fit_variants

    with explained():
        table = _runs(runs, columns, any_units)
        given = _settings(settings)
        if baseline:
            given["baseline"] = baseline
        if target:
            given["target_flops"] = target
        if axis and not fits:
            given["verdict"] = given.get("verdict", {}) | {"axes": axis}
        if "baseline" not in given:
            raise ValueError("name the variant to compare with: --baseline V")
        config = _config(json.dumps(given))
        if candidate:
            if unknown := {*candidate, config.baseline} - set(table["variant"]):
                there = ", ".join(dict.fromkeys(table["variant"]))
                raise ValueError(f"no runs of {', '.join(sorted(unknown))}; there are: {there}")
            if not fits:  # fits that are given were made from all variants
                table = table[table["variant"].isin([*candidate, config.baseline])]
        if fits:
            by_axis = {fit.axis: fit for fit in map(_read_fit, fits)}
        else:
            by_axis = {name: fit_variants(table, name, config) for name in config.verdict.axes}
        result = compare_variants(table, by_axis, config)
        if candidate:
            kept = tuple(pair for pair in result.comparisons if pair.candidate in candidate)
            result = result.model_copy(update={"comparisons": kept})
        if record:
            from stepladder.decision.prediction_record import PredictionRecord
            from stepladder.decision.preregistration import check_record

            found = check_record(PredictionRecord.read(Path(record)), table)
            result = result.model_copy(update={"prediction_record": found})
    result.write(out)
    if not fits:
        from stepladder.report.render.console import print_comparison

        print_comparison(result)


def predict(
    fit: Annotated[Path, typer.Argument(help="What `stepladder fit` wrote.")],
    at: At = None,
    variant: Annotated[str, typer.Option(help="Which law, where the fit has several.")] = "",
    out: Annotated[Path | None, typer.Option(help="Also write it as JSON.")] = None,
) -> None:
    """Losses that a fit predicts, with intervals: of the law, and of one new run with its noise.

    stepladder predict fit.json --at parameters=7e9,tokens=1.4e11
    """
    from stepladder.decision.prediction import predict_points, read_fit
    from stepladder.report.render.console import print_predictions

    with explained():
        if not at:
            raise ValueError("say where: --at flops=1e21, or --at parameters=7e9,tokens=1.4e11")
        points = [{k: float(v) for k, v in _pairs(text, "--at").items()} for text in at]
        rows = predict_points(read_fit(fit), points, variant or None)
    if out:
        write_json(out, [row.model_dump(mode="json") for row in rows])
    print_predictions(rows)


def next_runs(
    runs: Table,
    fit: Annotated[Path, typer.Argument(help="fits/flops.json of these runs.")],
    hours: Annotated[float, typer.Option(min=0, help="Accelerator-hours that may be spent.")],
    baseline: Annotated[str, typer.Option(help="Variant to compare with.")],
    candidate: Annotated[str, typer.Option(help="Variant that is judged.")],
    target: Annotated[float | None, typer.Option(help="FLOPs at which the gain matters.")] = None,
    settings: Settings = "{}",
    out: Annotated[Path | None, typer.Option(help="Also write it as JSON.")] = None,
    columns: Columns = "",
    any_units: AnyUnits = False,
) -> None:
    """Which runs next: by how much each would narrow the interval of the gain at the target, per
    accelerator-hour."""
    from stepladder.decision.next_runs import rank_runs
    from stepladder.report.render.console import print_next

    with explained():
        config = _config(json.dumps({"baseline": baseline} | _settings(settings)))
        table = _runs(runs, columns, any_units)
        result = rank_runs(table, _read_fit(fit), candidate, baseline, config, hours, target)
    if out:
        write_json(out, result.model_dump(mode="json"))
    print_next(result)


def preregister(
    ladder: Annotated[str, typer.Argument(help="Name in configs/ladders, or a path.")],
    results: Annotated[Path, typer.Option(help="results/<ladder>")],
    out: Out,
) -> None:
    """Write down what the smaller rungs predict for the held-out ones, before those run."""
    from stepladder.decision.preregistration import planned_runs
    from stepladder.decision.preregistration import preregister as make_record
    from stepladder.ladder.climb import Climb
    from stepladder.ladder.plan import Plan
    from stepladder.record.tables import collect

    climb = Climb.open(ladder)
    with explained():
        held = climb.held_out_runs
        if not held:
            raise ValueError("the ladder holds out no rung: set analysis.holdout_rungs")
        if ran := [run for run in held if (results / "runs" / run / "result.json").exists()]:
            raise ValueError(
                f"{len(ran)} runs of the held-out rungs have results already ({ran[0]}): a prediction "
                f"made now would "
                "not be one. The record that there is stays as it is"
            )
        files = {run: results / "runs" / run / "result.json" for run in climb.runs if run not in held}
        done, _ = collect(files.values())
        planned = planned_runs(Plan.read(results / "plan.json"), held)
        record = make_record(done, planned, climb.ladder.analysis, climb.analysis_code, files)
    record.write(out)
    typer.echo(f"{out}: sha256 {record.sha256}")


class explained:
    """Errors that are meant for a person end the command with their message alone."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValueError | FileNotFoundError):
            raise fail(_plain(error)) from None


def _plain(error: BaseException) -> str:
    """A message; of pydantic's errors, field, value and what is wrong."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'settings'} = {e['input']!r}: {e['msg']}"
            for e in error.errors()
        )
    return str(error)


def _config(settings: str) -> Any:
    from stepladder.schema.analysis import AnalysisConfig

    return AnalysisConfig.model_validate_json(json.dumps(_settings(settings)))


def _runs(path: Path, columns: str, any_units: bool) -> pd.DataFrame:
    """Runs of a ladder: a runs.parquet as it is, or anyone's table with what it lacks filled in."""
    from stepladder.decision.foreign import as_runs
    from stepladder.laws.tables import parse_columns, read_table

    return as_runs(read_table(path), parse_columns(columns), any_units)


def _read_fit(path: Path) -> AxisFit:
    """A ladder's fit."""
    from stepladder.decision.axis_fit import AxisFit
    from stepladder.decision.prediction import read_fit

    found = read_fit(path)
    if not isinstance(found, AxisFit):
        raise ValueError(
            f"{path}: not the fit of a ladder; give what `stepladder fit RUNS` wrote, law ladder"
        )
    return found


def _settings(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ValueError(f"--settings {text}: write a JSON object, such as '{{\"confidence\": 0.9}}'")
    return given


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _pairs(text: str, option: str) -> dict[str, str]:
    pairs = {}
    for item in _names(text):
        name, equals, value = item.partition("=")
        try:
            float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise ValueError(f"{option} {item}: write NAME=NUMBER, several with commas")
        pairs[name.strip()] = value.strip()
    return pairs


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise ValueError(f"{option} {value}: there are {', '.join(choices)}")
    return value
