"""Anyone's table of training runs: renamed, and refused with a reason where it cannot be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import pandas as pd

from stepladder.laws.table_file import read_table

__all__ = ["drop_highest", "parse_columns", "read_table", "refuse_steps", "rows_of", "select"]

CANONICAL = {
    "loss": "nats/token",
    "flops": "FLOPs",
    "seconds": "accelerator-seconds",
    "tokens": "tokens",
    "parameters": "count",
    "compute": "any unit, the same in every row",
    "reward": "any, higher is better",
    "accuracy": "share, 0 to 1",
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

_THOUSANDS = ("k", "m", "b", "t", "bn", "mn", "thousands", "millions", "billions", "trillions")
_SHORT = ("ns", "us", "ms", "msec", "milliseconds", "min", "mins", "minute", "minutes")
_LONG = ("h", "hr", "hrs", "hour", "hours", "day", "days")
OTHER_UNITS = {
    "loss": ("ppl", "perplexity", "bit", "bits", "bpb", "bpc", "bpt", "acc", "accuracy", "percent", "pct"),
    "flops": ("mflops", "gflops", "tflops", "pflops", "eflops", "zflops", "petaflops", "exaflops", "days"),
    "seconds": (*_SHORT, *_LONG),
    "tokens": _THOUSANDS,
    "parameters": _THOUSANDS,
}
"""Words in a column's name that say that it holds something else than what it is taken for."""

RUN_NAMES = ("id", "run", "run_id", "run_name")
STEP_NAMES = ("step", "_step", "global_step", "iteration", "iter", "update", "epoch", "trainer/global_step")
"""What columns are called that say which run a row is of, and which step of it."""

DURATION = re.compile(
    r"(?:(?P<days>\d+)(?: days?,? |-))?(?P<hours>\d+):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d(\.\d*)?)"
)
"""1-02:03:04 as Slurm writes it, 1 day, 2:03:04 as Python does."""

NO_NUMBERS = (
    pd.api.types.is_bool_dtype,
    pd.api.types.is_complex_dtype,
    pd.api.types.is_datetime64_any_dtype,
)
"""Types of columns that pandas would make numbers of."""

SHOWN = 5

NEAREST = 8
"""Columns of a wide table that a message names: those whose names are nearest to what was asked for."""


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
    curves: bool = False,
) -> pd.DataFrame:
    """The columns `needed`, and those `optional` that there are, under their canonical names, checked.

    Args:
        curves: whether several steps of a run may be there.

    Raises:
        ValueError: a column is missing or holds what it must not; the message names column, rows and the fix.
    """
    chosen = {}
    for name in dict.fromkeys([*needed, *optional]):
        column = columns.get(name, name)
        if column in table:
            chosen[name] = table[column]
            if not any_units:
                _refuse_other_unit(name, column)
        elif name in needed or name in columns:
            raise ValueError(_missing(name, column, list(map(str, table.columns))))
    _refuse_shared([name for name in chosen if name not in TEXT], columns)
    result = pd.DataFrame(chosen)
    counted = table.attrs.get("counted", "line")
    if not curves:
        refuse_steps(table, columns)
    for name in chosen:
        number = name in CANONICAL and name not in TEXT
        if number and (column := columns.get(name, name)) in table.attrs.get("unclear", ()):
            raise ValueError(
                f"{column} has points, and other columns have decimal commas: write all numbers with points, "
                "and without anything between thousands"
            )
        read = _numbers if number else _names
        result[name] = read(result[name], name, counted)
    _refuse_duplicates(result, table, counted)
    if not any_units:
        _refuse_units(result, counted)
    return result


def refuse_steps(table: pd.DataFrame, columns: Mapping[str, str]) -> None:
    """Refuse a log of training: a law is of what runs came to, not of what they passed through.

    Raises:
        ValueError: a run has several rows, which a column of steps tells apart.
    """
    named = {str(name).lower(): name for name in table.columns}
    step = next((named[name] for name in STEP_NAMES if name in named), None)
    run = [named[name] for name in RUN_NAMES if name in named][:1]
    if not run:  # a seed alone names no run, nor does a size: each may have many
        told = [name for name in IDENTITY if columns.get(name, name) in table]
        run = [columns.get(name, name) for name in told] if {"variant", "rung"} <= {*told} else []
    if step is None or not run or step in run:
        return
    texts = table[[*run, step]].astype(str)
    several = texts.duplicated(run, keep=False) & ~texts.duplicated(keep=False)
    if several.any():
        which = " ".join(texts.loc[several, run].iloc[0])
        counted = table.attrs.get("counted", "line")
        raise ValueError(
            f"{rows_of(several, counted)} are steps of runs (column {step!r}; the first of {which}): "
            "a run has one row, what it came to; keep the last of each"
        )


def drop_highest(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Without the `count` rows of highest loss, in the original order.

    Raises:
        ValueError: too few rows would remain.
    """
    if count >= len(table):
        raise ValueError(f"--drop-highest {count} leaves nothing of {len(table)} rows")
    return table.drop(table["loss"].sort_values(kind="stable").index[len(table) - count :])


def rows_of(bad: pd.Series, counted: str = "line") -> str:
    """Where a mask is true: lines of the file, the heading being line 1; or rows of Parquet, from 1."""
    first = 2 if counted == "line" else 1
    lines = [index + first if isinstance(index, int) else index for index in bad.index[bad]]
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"{counted}{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:SHOWN]))}{more}"


def _refuse_other_unit(name: str, column: str) -> None:
    """Refuse a column whose own name says that it is in another unit."""
    words = re.findall("[a-z]+", column.lower())
    if column != name and (said := [word for word in words if word in OTHER_UNITS.get(name, ())]):
        raise ValueError(
            f"--columns {name}={column}: its name says {said[-1]!r}, and {name} is in {CANONICAL[name]}: "
            "convert it, or pass --any-units if it is meant"
        )


def _refuse_shared(numbers: Sequence[str], columns: Mapping[str, str]) -> None:
    """Refuse one column that is taken for two quantities."""
    taken: dict[str, str] = {}
    for name in numbers:
        column = columns.get(name, name)
        if column in taken:
            raise ValueError(
                f"column {column!r} is taken for both {taken[column]} and {name}: name a column for each "
                "with --columns"
            )
        taken[column] = name


def _missing(name: str, column: str, there: list[str]) -> str:
    lower = {other.lower(): other for other in there}
    ranked = difflib.get_close_matches(column.lower(), lower, n=NEAREST, cutoff=0.0)
    free = [other for other in lower if other not in CANONICAL]  # those stand for what they are called
    close = [other for other in free if re.search(rf"\b{re.escape(column.lower())}\b", other)]
    close += difflib.get_close_matches(column.lower(), free, n=2, cutoff=0.5)
    near = [lower[other] for other in dict.fromkeys(close)][:2]
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    unit, example = CANONICAL.get(name, "as named"), near[0] if near else "COLUMN"
    listed = f"there are: {', '.join(there)}"
    if len(there) > NEAREST:
        nearest = [lower[match] for match in ranked]
        listed = f"of the {len(there)} that there are the nearest are: {', '.join(nearest)}"
    return f"no column {column!r} for {name} ({unit}); {listed}{hint} Name it with --columns {name}={example}"


def _numbers(values: pd.Series, name: str, counted: str) -> pd.Series:
    numbers = _as_numbers(values, name)
    text = numbers.isna() & ~(values.isna() | _is_blank(values))
    if text.any():
        first = _plain(values[text].iloc[0])
        raise ValueError(
            f"{name} is not a number in {rows_of(text, counted)}: {first!r:.80}; write it in "
            f"{CANONICAL[name]}, with a decimal point and nothing else"
        )
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
            raise ValueError(
                f"{name} is {problem} in {rows_of(bad, counted)} ({shown}): correct or remove them"
            )
    # As floats: 6 x parameters x tokens overflows integers.
    return numbers if name == "seed" else numbers.astype(float)


def _as_numbers(values: pd.Series, name: str) -> pd.Series:
    """Numbers, nan for what is none. Durations are seconds where seconds are asked for, and no numbers
    elsewhere: as integers they would be nanoseconds."""
    kind = values.dtype
    if pd.api.types.is_timedelta64_dtype(kind):
        return values.dt.total_seconds() if name == "seconds" else pd.Series(np.nan, values.index)
    if any(is_kind(kind) for is_kind in NO_NUMBERS):
        return pd.Series(np.nan, values.index)
    if pd.api.types.is_numeric_dtype(kind):
        # Of numpy's types: pandas' own have another missing value.
        return (
            values
            if isinstance(kind, np.dtype)
            else pd.Series(values.to_numpy(float, na_value=np.nan), values.index)
        )
    return values.astype(object).map(lambda value: _number(value, name)).astype(float)


def _number(value: object, name: str) -> float:
    """One cell as a number, nan if it is none."""
    value = _plain(value)
    if isinstance(value, bool | np.bool_) or value is None or value is pd.NA:
        return float("nan")
    if isinstance(value, pd.Timedelta):
        return float(value.total_seconds()) if name == "seconds" else float("nan")
    if isinstance(value, str):
        if name == "seconds" and (found := DURATION.fullmatch(value.strip())):
            days, hours, minutes = (int(found[part] or 0) for part in ("days", "hours", "minutes"))
            return ((days * 24 + hours) * 60 + minutes) * 60 + float(found["seconds"])
        if "_" in value:  # Python's 1_000
            return float("nan")
    elif not hasattr(value, "__float__") or isinstance(value, np.ndarray | complex):
        return float("nan")
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError):
        return float("nan")


def _plain(value: object) -> object:
    """A cell as it would be typed."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _is_blank(values: pd.Series) -> pd.Series:
    """Where there is a text without any letter."""
    return values.map(lambda value: isinstance(value, str) and not value.strip()).astype(bool)


def _names(values: pd.Series, name: str, counted: str) -> pd.Series:
    plain = values.astype(object).map(_plain)
    missing = values.isna() | _is_blank(plain)
    if missing.any():
        raise ValueError(f"{name} is missing in {rows_of(missing, counted)}: fill it in or remove the rows")
    odd = ~plain.map(lambda value: isinstance(value, str | Real | np.bool_)).astype(bool)
    if odd.any():
        raise ValueError(
            f"{name} is no name in {rows_of(odd, counted)}: {plain[odd].iloc[0]!r:.80}; write a text or a "
            "number"
        )
    return plain.map(lambda value: value.strip() if isinstance(value, str) else f"{value}")


def _refuse_duplicates(result: pd.DataFrame, table: pd.DataFrame, counted: str) -> None:
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
                f"{rows_of(repeated, counted)} are the same {what}: a run must be there once, "
                "remove the copies"
            )


def _hashable(table: pd.DataFrame) -> pd.DataFrame:
    """The table with lists, arrays and mappings as text: a table of runs has them in columns of its own."""
    mixed = [
        name
        for name in table
        if pd.api.types.is_object_dtype(table[name])
        and not table[name].map(lambda value: value is None or isinstance(value, str)).all()
    ]
    plain = table.copy(deep=False)
    for name in mixed:
        plain[name] = table[name].map(str)
    return plain


def _refuse_units(result: pd.DataFrame, counted: str) -> None:
    advice = "or pass --any-units if it is meant"
    for name, least in SMALLEST.items():
        if name in result and (bad := result[name] < least).any():
            raise ValueError(
                f"{name} is below {least:g} in {rows_of(bad, counted)} ({result[name][bad].iloc[0]:g}): "
                f"probably in thousands, millions or larger units; convert to {CANONICAL[name]}, {advice}"
            )
    if "loss" in result:
        bad = (result["loss"] > LARGEST_LOSS) | _off(result["loss"])
        if bad.any():
            raise ValueError(
                f"loss is {result['loss'][bad].iloc[0]:g} in {rows_of(bad, counted)}: losses are nats per "
                f"token, not perplexities or per cent; convert it, {advice}"
            )
    if {"flops", "parameters", "tokens"} <= set(result):
        ratio = result["flops"] / (6 * result["parameters"] * result["tokens"])
        bad = _off(ratio)
        if bad.any():
            off = np.clip(np.log10((ratio / ratio.median())[bad].iloc[0]), -300, 300)  # 0 and infinite too
            factor = 10.0 ** round(float(off))
            raise ValueError(
                f"in {rows_of(bad, counted)} flops is about {factor:g} times what 6 x parameters x tokens is "
                f"in the other rows: flops, parameters or tokens "
                f"are in another unit there; convert them, {advice}"
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
