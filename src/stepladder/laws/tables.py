"""Anyone's table of training runs: read, renamed, and refused with a reason where it cannot be right."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

CANONICAL = {
    "loss": "nats/token",
    "flops": "FLOPs",
    "seconds": "accelerator-seconds",
    "tokens": "tokens",
    "parameters": "count",
    "active_fraction": "share of the parameters that one token uses, 1 for dense",
    "variant": "text",
    "rung": "text",
    "seed": "integer",
    "budget": "text",
}
"""Names that the analysis uses, and their units."""

TEXT = {"variant", "rung", "budget"}
IDENTITY = ["variant", "rung", "budget", "seed"]
SMALLEST = {"parameters": 1e3, "tokens": 1e3, "flops": 1e6}
"""Below these a count is probably in thousands, millions or larger units."""

LARGEST_LOSS = 30.0
"""nats/token: above it a loss is probably a perplexity or in per cent."""

FAR = 100.0
"""A row this many times off the table's median is probably in another unit."""

ODD_TABLE = 300.0
"""FLOPs this many times off 6 x parameters x tokens are in another unit: attention, embeddings and inactive
experts explain less."""

SHOWN = 5

NEAREST = 8
"""Columns of a wide table that a message names: those whose names are nearest to what was asked for."""


def read_table(path: Path) -> pd.DataFrame:
    """Read .csv, .csv.gz, .tsv or .parquet.

    Raises:
        ValueError: there is no such file, or it is not such a table, or it is empty.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            table = pd.read_parquet(path)
        elif name.endswith((".csv", ".csv.gz")):
            table = pd.read_csv(path)
        elif name.endswith(".tsv"):
            table = pd.read_csv(path, sep="\t")
        else:
            raise ValueError("not a .csv, .csv.gz, .tsv or .parquet file")
    except Exception as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from None
    if not name.endswith(".parquet") and not isinstance(table.index, pd.RangeIndex):
        raise ValueError(f"{path}: rows have more fields than the heading")
    if table.empty:
        raise ValueError(f"{path}: no rows")
    return table


def parse_columns(text: str) -> dict[str, str]:
    """ "loss=val_nll,flops=C" to {"loss": "val_nll", "flops": "C"}.

    Raises:
        ValueError: an item is malformed, or a name is unknown or there twice.
    """
    columns: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, column = (part.strip() for part in item.partition("="))
        if not equals or not column:
            raise ValueError(
                f"--columns {item}: write NAME=COLUMN, several with commas: loss=val_nll,flops=C"
            )
        if name not in CANONICAL:
            raise ValueError(f"--columns {item}: no quantity {name!r}; there are: {', '.join(CANONICAL)}")
        if name in columns:
            raise ValueError(f"--columns: {name} is there twice")
        columns[name] = column
    return columns


def select(
    table: pd.DataFrame,
    needed: Sequence[str],
    columns: Mapping[str, str],
    optional: Sequence[str] = (),
    any_units: bool = False,
) -> pd.DataFrame:
    """The columns `needed`, and those `optional` that there are, under their canonical names, checked.

    Raises:
        ValueError: a column is missing or holds what it must not; the message names column, rows and the fix.
    """
    chosen = {}
    for name in dict.fromkeys([*needed, *optional]):
        column = columns.get(name, name)
        if column in table:
            chosen[name] = table[column]
        elif name in needed or name in columns:
            raise ValueError(_missing(name, column, list(map(str, table.columns))))
    result = pd.DataFrame(chosen)
    for name in chosen:
        number = name in CANONICAL and name not in TEXT
        result[name] = _numbers(result[name], name) if number else _names(result[name], name)
    _refuse_duplicates(result, table)
    if not any_units:
        _refuse_units(result)
    return result


def drop_highest(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Without the `count` rows of highest loss, in the original order.

    Raises:
        ValueError: too few rows would remain.
    """
    if count >= len(table):
        raise ValueError(f"--drop-highest {count} leaves nothing of {len(table)} rows")
    return table.drop(table["loss"].sort_values(kind="stable").index[len(table) - count :])


def rows_of(bad: pd.Series) -> str:
    """Where a mask is true: lines of the file, the heading being line 1."""
    lines = [index + 2 if isinstance(index, int) else index for index in bad.index[bad]]
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:SHOWN]))}{more}"


def _missing(name: str, column: str, there: list[str]) -> str:
    lower = {other.lower(): other for other in there}
    ranked = difflib.get_close_matches(column.lower(), lower, n=NEAREST, cutoff=0.0)
    near = [lower[m] for m in difflib.get_close_matches(column.lower(), lower, n=2, cutoff=0.5)]
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    unit, example = CANONICAL.get(name, "as named"), near[0] if near else "COLUMN"
    listed = f"there are: {', '.join(there)}"
    if len(there) > NEAREST:
        nearest = [lower[match] for match in ranked]
        listed = f"of the {len(there)} that there are the nearest are: {', '.join(nearest)}"
    return f"no column {column!r} for {name} ({unit}); {listed}{hint} Name it with --columns {name}={example}"


def _numbers(values: pd.Series, name: str) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce")
    text = numbers.isna() & values.notna()
    if text.any():
        raise ValueError(f"{name} is not a number in {rows_of(text)}: {values[text].iloc[0]!r}")
    checks = [("missing", numbers.isna()), ("infinite", np.isinf(numbers))]
    if name != "seed":
        checks.append(("zero or negative", numbers <= 0))
    if name == "active_fraction":
        checks.append(("above 1", numbers > 1))
    if name == "seed":
        checks.append(("not a whole number", numbers != numbers.round()))
    for problem, bad in checks:
        if bad.any():
            shown = ", ".join(f"{value:g}" for value in numbers[bad].head(SHOWN))
            raise ValueError(f"{name} is {problem} in {rows_of(bad)} ({shown}): correct or remove them")
    # As floats: 6 x parameters x tokens overflows integers.
    return numbers if name == "seed" else numbers.astype(float)


def _names(values: pd.Series, name: str) -> pd.Series:
    if values.isna().any():
        raise ValueError(f"{name} is missing in {rows_of(values.isna())}: fill it in or remove the rows")
    return values.astype(str)


def _refuse_duplicates(result: pd.DataFrame, table: pd.DataFrame) -> None:
    keys = [name for name in IDENTITY if name in result]
    for repeated, what in (
        (_hashable(table).duplicated(keep=False), "in every column"),
        (
            result.duplicated(keys, keep=False)
            if {"variant", "rung", "seed"} <= set(keys)
            else pd.Series(False, result.index),
            f"in {', '.join(keys)}",
        ),
    ):
        if repeated.any():
            raise ValueError(
                f"{rows_of(repeated)} are the same {what}: a run must be there once, remove the copies"
            )


def _hashable(table: pd.DataFrame) -> pd.DataFrame:
    """The table with lists, arrays and mappings as text: a table of runs has them in columns of its own."""
    mixed = [
        name
        for name in table
        if pd.api.types.is_object_dtype(table[name])
        and not table[name].map(lambda value: value is None or isinstance(value, str)).all()
    ]
    return table.assign(**{str(name): table[name].map(str) for name in mixed})


def _refuse_units(result: pd.DataFrame) -> None:
    advice = "or pass --any-units if it is meant"
    for name, least in SMALLEST.items():
        if name in result and (bad := result[name] < least).any():
            raise ValueError(
                f"{name} is below {least:g} in {rows_of(bad)} ({result[name][bad].iloc[0]:g}): probably "
                f"in thousands, "
                f"millions or larger units; convert to {CANONICAL[name]}, {advice}"
            )
    if "loss" in result:
        bad = (result["loss"] > LARGEST_LOSS) | _off(result["loss"])
        if bad.any():
            raise ValueError(
                f"loss is {result['loss'][bad].iloc[0]:g} in {rows_of(bad)}: losses are nats per token, "
                f"not perplexities "
                f"or per cent; convert it, {advice}"
            )
    if {"flops", "parameters", "tokens"} <= set(result):
        ratio = result["flops"] / (6 * result["parameters"] * result["tokens"])
        bad = _off(ratio)
        if bad.any():
            factor = 10 ** round(float(np.log10((ratio / ratio.median())[bad].iloc[0])))
            raise ValueError(
                f"in {rows_of(bad)} flops is about {factor:g} times what 6 x parameters x tokens is in "
                f"the other rows: "
                f"flops, parameters or tokens are in another unit there; convert them, {advice}"
            )
        middle = float(ratio.median())
        if not 1 / ODD_TABLE <= middle <= ODD_TABLE:
            raise ValueError(
                f"flops is about {10 ** round(float(np.log10(middle))):g} times 6 x parameters x tokens "
                f"in the whole table: "
                f"one of these columns is in thousands, millions or billions; convert it, {advice}"
            )


def _off(values: pd.Series) -> pd.Series:
    """Rows more than FAR times off the median."""
    off: pd.Series = np.log(values / values.median()).abs() > np.log(FAR)
    return off
