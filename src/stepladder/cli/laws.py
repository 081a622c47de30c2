"""Laws for anyone's table of runs: fit and predict."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from stepladder.cli.errors import Misuse, naming
from stepladder.cli.files import ready, roomy, write_json
from stepladder.cli.law_options import (
    FRONTIERS,
    LADDER,
    LAWS,
    OPTIONS,
    RISING,
    as_settings,
    law_option,
    refuse_foreign,
)
from stepladder.cli.words import (
    AlsoJson,
    AnyUnits,
    Baseline,
    Columns,
    MetricChoice,
    Out,
    Settings,
    Table,
    analysis,
    axes_there,
    names,
    numbers,
    one_of,
    read_runs,
    settings_object,
    tuned,
)

if TYPE_CHECKING:
    from stepladder.decision.axis_fit import AxisFit
    from stepladder.laws.envelope import EnvelopeFit
    from stepladder.laws.isoflop import IsoflopFit
    from stepladder.laws.law_fit import LawFit
    from stepladder.laws.sigmoid_fit import CurveFit, Rising
    from stepladder.laws.table_fit import Options

PLOTS = (".png", ".svg", ".pdf")
"""Suffixes of the figures that `fit --plot` draws."""

Given = dict[str, Any]
"""Options that the command line has, by their name in `OPTIONS`."""


def fit(
    table: Table,
    out: Out,
    law: Annotated[
        str,
        typer.Option(
            help="compute, chinchilla, overtraining or sparsity (formulas); isoflop or envelope "
            "(approaches 2 and 1 of Hoffmann et al. 2022); sigmoid or accuracy: what rises with compute, a "
            "reward or a share, point by point; ladder: all variants at once, as the workflow does."
        ),
    ] = LADDER,
    columns: Columns = "",
    any_units: AnyUnits = False,
    bootstrap: Annotated[int | None, law_option("bootstrap")] = None,
    confidence: Annotated[float | None, law_option("confidence")] = None,
    seed: Annotated[int | None, law_option("seed")] = None,
    delta: Annotated[float | None, law_option("delta")] = None,
    drop_highest: Annotated[int | None, law_option("drop_highest")] = None,
    by: Annotated[str | None, law_option("by")] = None,
    share: Annotated[str | None, law_option("share")] = None,
    pin: Annotated[str | None, law_option("pin")] = None,
    cluster: Annotated[str | None, law_option("cluster")] = None,
    norm: Annotated[str | None, law_option("norm")] = None,
    weight_above: Annotated[float | None, law_option("weight_above")] = None,
    plot: Annotated[Path | None, law_option("plot")] = None,
    target: Annotated[list[float] | None, law_option("target")] = None,
    log_loss: Annotated[bool | None, law_option("log_loss", "--log-loss")] = None,
    skip_below: Annotated[float | None, law_option("skip_below")] = None,
    start: Annotated[float | None, law_option("start")] = None,
    against: Annotated[str | None, law_option("against")] = None,
    axis: Annotated[str | None, law_option("axis")] = None,
    metric: Annotated[str | None, law_option("metric")] = None,
    rates: Annotated[str | None, law_option("rates")] = None,
    settings: Annotated[str | None, law_option("settings")] = None,
) -> None:
    """Fit a scaling law to a table of runs: parameters, standard errors, intervals, warnings.

    Reads TABLE; writes the fit as JSON to OUT, and prints it (a ladder's, without a terminal, as one line on
    stderr).

    Example: stepladder fit runs.csv --law chinchilla --bootstrap 4000 --out fit.json
    """
    given = {name: value for name, value in locals().items() if name in OPTIONS and value not in (None, [])}
    if law not in LAWS:
        raise Misuse(f"--law {law}: no law {law!r}; there are: {', '.join(LAWS)}")
    refuse_foreign(law, given)
    if not given.get("by", "a column").strip():
        raise Misuse("--by: name the column of variants, as --by variant")
    ready(out, plot)
    if plot and plot.suffix.lower() not in PLOTS:
        raise Misuse(f"--plot {plot}: a figure is {', '.join(PLOTS)}; name it {plot.with_suffix('.png')}")
    from stepladder.display.terminal import working
    from stepladder.report.render.console import print_axis_fit, print_fit

    if law == LADDER:
        with working("fitting the laws of all variants"):
            laws = _fit_ladder(table, columns, any_units, given)
        laws.write(out)
        print_axis_fit(laws)
        return
    fit_rows = _fit_frontier if law in FRONTIERS else _fit_rising if law in RISING else _fit_formula
    with naming(table), working(f"fitting the law {law}"):
        result = fit_rows(table, law, columns, any_units, given)
    result.write(out)
    print_fit(result)


def size_laws(
    runs: Table,
    out: Out,
    baseline: Baseline = "",
    metric: MetricChoice = None,
    settings: Settings = "{}",
    columns: Columns = "",
    any_units: AnyUnits = False,
) -> None:
    """Every law of size and data that a table identifies, for all its variants, and what follows from them.

    Profiles of equal FLOPs (at three or more sizes), Chinchilla's law and the over-training law; of a law
    that the runs do not identify, why not. Then the best size and tokens at each budget by both ways, how
    well the largest budget was foretold without it, and gains at best sizes, at equal parameters and at equal
    tokens.

    Reads RUNS, as `stepladder compare` does; writes the laws as JSON to OUT, and prints them (without a
    terminal, nothing).

    Example: stepladder laws results/laptop-isoflop/runs.parquet --baseline dense-baseline --out laws.json
    """
    given = settings_object(settings)
    if not (baseline or "baseline" in given):
        raise Misuse("name the variant to compare with: --baseline V")
    config = analysis(settings, baseline=baseline or None, metric=metric)
    ready(out)
    from stepladder.decision.fit_size_laws import fit_size_laws
    from stepladder.decision.metric import on_metric
    from stepladder.display.terminal import working

    with naming(runs):
        table = on_metric(read_runs(runs, columns, any_units), config.metric)
    with naming(runs), working("fitting the laws of size and data"):
        found = fit_size_laws(table, config)
    found.write(out)
    if sys.stdout.isatty():
        from stepladder.report.render.console import print_size_laws

        print_size_laws(found)


def predict(
    fit: Annotated[Path, typer.Argument(help="JSON that `stepladder fit` wrote.")],
    at: Annotated[
        list[str] | None,
        typer.Option(
            help="Where: flops=1e21, or parameters=7e9,tokens=1.4e11 (counts, FLOPs, accelerator-seconds). "
            "May be given several times.",
            show_default="none; at least one is needed",
        ),
    ] = None,
    variant: Annotated[
        str, typer.Option(help="Which law, where the fit has several.", show_default="the only one")
    ] = "",
    out: AlsoJson = None,
) -> None:
    """Losses that a fit predicts, with intervals: of the law, and of one new run with its noise.

    Reads FIT; prints a table, and writes it to OUT where that is given.

    Example: stepladder predict fit.json --at parameters=7e9,tokens=1.4e11
    """
    from stepladder.decision.axis_fit import AxisFit
    from stepladder.decision.prediction import predict_points, read_fit
    from stepladder.report.render.console import print_predictions

    if not at:
        raise Misuse("say where: --at flops=1e21, or --at parameters=7e9,tokens=1.4e11")
    points = [numbers(text, "--at") for text in at]
    ready(out)
    found = read_fit(fit)
    with naming(fit):
        rows = predict_points(found, points, variant or None)
    if out:
        write_json(out, [row.model_dump(mode="json") for row in rows])
    print_predictions(rows, found.metric.unit if isinstance(found, AxisFit) else "nats/token")


def _fit_ladder(path: Path, columns: str, any_units: bool, given: Given) -> AxisFit:
    """All variants' laws on one axis. Which variant is the baseline does not matter to them."""
    from stepladder.decision.fit import fit as fit_variants
    from stepladder.decision.metric import on_metric
    from stepladder.schema.analysis import Axis

    one_of("--axis", given.get("axis", "flops"), get_args(Axis))
    unnamed = {} if "baseline" in settings_object(given.get("settings", "{}")) else {"baseline": ""}
    config = analysis(given.get("settings", "{}"), **unnamed, **as_settings(given))
    config = tuned(config, given.get("rates", ""))
    with naming(path):
        runs = on_metric(read_runs(path, columns, any_units), config.metric)
    (axis, *_), said = axes_there(runs, path, ["flops"])
    if said and "axis" not in given:
        typer.echo(f"stepladder: {said}", err=True)
    with naming(path):
        return fit_variants(runs, given.get("axis", axis), config)


def _fit_formula(path: Path, law: str, columns: str, any_units: bool, given: Given) -> LawFit:
    """One of the parametric laws, and its figure."""
    from stepladder.laws.forms import LAWS as FORMS
    from stepladder.laws.table_fit import columns_of, fit_table
    from stepladder.laws.tables import drop_highest, parse_columns, read_table, select

    form, options = FORMS[law](), _options(given)
    needed = [*columns_of(form), *([options.by] if options.by else []), *options.clusters]
    known = ("flops", "parameters", "tokens", "active_fraction")
    named, table = parse_columns(columns), read_table(path)
    table = select(table, list(dict.fromkeys(needed)), named, known, any_units)
    table = drop_highest(table, given.get("drop_highest", 0))
    result = fit_table(table, form, options)
    if "plot" in given:
        from stepladder.report.figures.table_fit import draw_fit

        draw_fit(table, result, roomy(given["plot"]))
    return result


def _fit_rising(path: Path, law: str, columns: str, any_units: bool, given: Given) -> CurveFit:
    """A bounded law of what rises, for every curve."""
    from stepladder.laws.sigmoid_fit import COLUMN, fit_curves
    from stepladder.laws.tables import parse_columns, read_table, select

    kind: Rising = "accuracy" if law == "accuracy" else "sigmoid"
    needed = ["compute", COLUMN[kind], *([given["by"]] if "by" in given else [])]
    table = select(read_table(path), needed, parse_columns(columns), (), any_units, curves=True)
    renamed = {"by": "by", "against": "baseline", "skip_below": "skip_below", "start": "start"}
    renamed |= {"bootstrap": "draws", "seed": "seed", "confidence": "confidence"}
    return fit_curves(table, kind, **{renamed[name]: value for name, value in given.items()})


def _options(given: Given) -> Options:
    """The options of a formula's fit; what was not given has the library's default."""
    from stepladder.laws.solve import Norm, Robust
    from stepladder.laws.table_fit import Options

    if "norm" in given:
        one_of("--norm", given["norm"], get_args(Norm))
    counting = {"delta": "delta", "norm": "norm", "weight_above": "above"}
    drawing = {"by": "by", "bootstrap": "draws", "seed": "seed", "confidence": "confidence"}
    return Options(
        robust=Robust(**{field: given[name] for name, field in counting.items() if name in given}),
        shared=names(given.get("share", "")),
        pinned=numbers(given.get("pin", ""), "--pin"),
        clusters=names(given.get("cluster", "")),
        **{field: given[name] for name, field in drawing.items() if name in given},
    )


def _fit_frontier(
    path: Path, law: str, columns: str, any_units: bool, given: Given
) -> IsoflopFit | EnvelopeFit:
    """Compute-optimal sizes by one of the two approaches without a formula."""
    from stepladder.laws.envelope import envelope
    from stepladder.laws.isoflop import isoflop
    from stepladder.laws.tables import drop_highest, parse_columns, read_table, select

    needed = ["loss", "flops", "parameters", "tokens"]
    table = select(read_table(path), needed, parse_columns(columns), (), any_units, curves=law == "envelope")
    table = drop_highest(table, given.get("drop_highest", 0))
    fields = {"bootstrap": "draws", "seed": "seed", "confidence": "confidence", "target": "targets"}
    fields |= {"log_loss": "log_loss"}
    method = isoflop if law == "isoflop" else envelope
    return method(table, **{field: given[name] for name, field in fields.items() if name in given})
