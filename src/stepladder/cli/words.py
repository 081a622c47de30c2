"""Arguments and options that several commands share, and how their text is read."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from stepladder.cli.errors import Misuse, naming
from stepladder.cli.files import json_argument

if TYPE_CHECKING:
    import pandas as pd

    from stepladder.schema.analysis import AnalysisConfig, Axis

T = TypeVar("T")


def finite(value: T) -> T:
    """An option's number as it is: nan and inf, which a terminal can say too, are refused.

    Raises:
        typer.BadParameter: naming the option.
    """
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, float) and not math.isfinite(number):
            raise typer.BadParameter(f"{number} is not a finite number.")
    return value


Out = Annotated[Path, typer.Option(help="File to write; its folder is made.")]
AlsoJson = Annotated[Path | None, typer.Option(help="Also write it as JSON, to this file.")]
LadderName = Annotated[str, typer.Argument(help="Name of a file in configs/ladders, or a path.")]
Folder = Annotated[Path, typer.Option(help="The ladder's folder, results/NAME.")]
Columns = Annotated[
    str,
    typer.Option(
        help="What the columns are called, for instance loss=val_nll,flops=C,parameters=N,tokens=D.",
        show_default="their own names",
    ),
]
AnyUnits = Annotated[
    bool, typer.Option("--any-units", help="Do not object to numbers that look a thousandfold off.")
]
Settings = Annotated[
    str,
    typer.Option(
        help="A ladder's analysis section as JSON. Other options that say the same count instead.",
        show_default="the section's own defaults",
    ),
]
Table = Annotated[
    Path, typer.Argument(help="CSV, TSV or Parquet, one row per run; a ladder's runs.parquet, say.")
]
Baseline = Annotated[str, typer.Option(help="Variant to compare with.", show_default="that of --settings")]

Rates = Annotated[
    str,
    typer.Option(
        help="What a sweep of this ladder found, learning_rates.json, as for `fit`; '' for none.",
        show_default="none",
    ),
]

MetricChoice = Annotated[
    str | None,
    typer.Option(
        "--metric",
        help="What it is about: target_loss, bits_per_byte or domain:<name>.",
        show_default="metric of --settings, target_loss",
    ),
]

TargetFlops = Annotated[
    float | None,
    typer.Option(
        min=1.0,
        callback=finite,
        help="FLOPs of the training run that the decision is about.",
        show_default="target_flops of --settings",
    ),
]


def analysis(settings: str, **instead: object) -> AnalysisConfig:
    """The analysis section that --settings gives, with fields from other options where they are not None.

    Raises:
        Misuse: --settings is no JSON object.
        ValueError: a field is missing or impossible; the message names it.
    """

    from stepladder.schema.analysis import AnalysisConfig

    given = settings_object(settings) | {name: value for name, value in instead.items() if value is not None}
    with naming("analysis settings"):
        return AnalysisConfig.model_validate_json(json.dumps(given))


def tuned(config: AnalysisConfig, rates: str | Path) -> AnalysisConfig:
    """The analysis after what a sweep showed, learning_rates.json at `rates`; as it is if that is empty."""
    if not rates:
        return config
    from stepladder.decision.undertuning import narrowed
    from stepladder.record.learning_rates import Tuning

    return narrowed(config, Tuning.read(Path(rates)))


def settings_object(settings: str) -> dict[str, Any]:
    """What --settings says, as it is."""
    return json_argument("--settings", settings, '{"confidence": 0.9}')


def read_runs(path: Path, columns: str, any_units: bool) -> pd.DataFrame:
    """Runs of a ladder: a runs.parquet as it is, or anyone's table with what it lacks filled in.

    Raises:
        Misuse: columns of a runs.parquet are named, or its units not to be looked at: it has names and units
            of its own.
        ValueError: the table cannot be used.
    """
    from stepladder.decision.foreign import as_runs
    from stepladder.laws.tables import parse_columns, read_table
    from stepladder.record.tables import read_table as check_table

    named, table = parse_columns(columns), read_table(path)
    if path.name == "runs.parquet" and path.with_name("plan.json").exists():  # where nobody else has written
        check_table(path)
    with naming(path):
        runs = as_runs(table, named, any_units)
    if runs is table:
        for option, given in (("--columns", named), ("--any-units", any_units)):
            if given:
                raise Misuse(f"{option} does not apply to {path}: it is the runs.parquet of a ladder")
    return runs


def axes_there(runs: pd.DataFrame, path: Path, usual: Sequence[Axis]) -> tuple[tuple[Axis, ...], str]:
    """The cost axes to use where none is named, and what to say about it.

    Args:
        usual: those that are used if the table has them all.

    Returns:
        Those of `usual` that the table has, or as many others if it has none of them; and a sentence that
        says which are missing, empty if none is.
    """
    from stepladder.schema.analysis import AXES

    there = [name for name, axis in AXES.items() if axis.column in runs]
    found = tuple(name for name in usual if name in there) or tuple(there[: len(usual)])
    missing = ", ".join(name for name in usual if name not in there)
    return found, f"{path} has no {missing}: only {', '.join(found)} counted" if missing else ""


def names(text: str) -> list[str]:
    """ "rung, seed" to ["rung", "seed"]."""
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str, option: str) -> dict[str, float]:
    """ "E=1.7,alpha=0.3" to {"E": 1.7, "alpha": 0.3}.

    Raises:
        Misuse: an item is malformed or not finite, or a name is there twice.
    """
    found: dict[str, float] = {}
    for item in names(text):
        name, _, value = (part.strip() for part in item.partition("="))
        try:
            number = float(value)
        except ValueError:
            raise Misuse(f"{option} {item}: write NAME=NUMBER, several with commas") from None
        if not math.isfinite(number):
            raise Misuse(f"{option} {item}: {name} must be a finite number")
        if name in found:
            raise Misuse(f"{option} {text}: {name} is there twice")
        found[name] = number
    return found


def one_of(option: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is none of `choices`.

    Raises:
        Misuse: naming them.
    """
    if value not in choices:
        raise Misuse(f"{option} {value}: there are {', '.join(choices)}")
