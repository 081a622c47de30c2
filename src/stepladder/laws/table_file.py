"""A file with anyone's table of runs, however it was exported: read, or refused with what to do.

Columns keep their names, without the blanks around them. Nothing is guessed that could change a number:
where a file can be read in two ways, it is refused.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
OTHERS = {
    b"PAR1": "is Parquet: call it .parquet",
    b"PK\x03\x04": "is an archive, perhaps a workbook: export it as CSV",
    b"\xd0\xcf\x11\xe0": "is an old workbook: export it as CSV",
    b"SQLite format 3": "is a database: export the table as CSV",
}
"""How files begin that are called .csv and are none."""

DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
WITH_POINT = re.compile(r"[-+]?\d*\.[\d.]*([eE][-+]?\d+)?")
WHOLE = re.compile(r"[-+]?\d+([eE][-+]?\d+)?")
UNNAMED = re.compile(r"(Unnamed: \d+)?")
"""Headings that pandas, R and spreadsheets give to a column of row numbers."""


def read_table(path: Path) -> pd.DataFrame:
    """Read .csv, .csv.gz, .tsv or .parquet: UTF-8 or UTF-16; commas, semicolons or tabs; decimal commas where
    commas do not separate. Columns that only number the rows are left out. An empty field alone is missing:
    NA may be a name.

    Returns:
        Rows numbered from 0; `attrs["counted"]` is what a message calls them, "line" or "row", and
        `attrs["unclear"]` lists columns whose points may separate thousands.

    Raises:
        ValueError: there is no such file, or it is not such a table, or it is empty.
        OSError: it cannot be read.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(
            f"{path}: is a folder, or no regular file; give a .csv, .csv.gz, .tsv or .parquet file"
        )
    name = path.name.lower()
    parquet = name.endswith(".parquet")
    if not parquet and not name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
        raise ValueError(f"{path}: not a .csv, .csv.gz, .tsv or .parquet file")
    content = path.read_bytes()
    try:
        table = _parquet(content) if parquet else _separated(content, "\t" if ".tsv" in name else ",")
    except Exception as error:  # of pandas and Arrow, which raise all kinds
        first = (str(error).splitlines() or [type(error).__name__])[0]
        advice = ": it is damaged, or holds what cannot be read; write it again" if _of_others(error) else ""
        raise ValueError(f"{path}: {first}{advice}") from None
    table = _without_row_numbers(table)
    if table.empty:
        raise ValueError(f"{path}: no rows")
    table.attrs["counted"] = "row" if parquet else "line"
    return table


def _of_others(error: Exception) -> bool:
    """Whether an error is one of a library, which does not say what to do."""
    return not isinstance(error, ValueError) or isinstance(error, pa.ArrowException)


def _parquet(content: bytes) -> pd.DataFrame:
    _refuse_twice(pq.read_schema(io.BytesIO(content)).names)
    table = pd.read_parquet(io.BytesIO(content))
    named = [name for name in table.index.names if name is not None and name not in table]
    unnamed = [level for level, name in enumerate(table.index.names) if name not in named]
    table = table.reset_index(level=unnamed, drop=True) if named else table.reset_index(drop=True)
    table = table.reset_index() if named else table
    return _headed(table, [str(name) for name in table.columns])


def _separated(content: bytes, usual: str) -> pd.DataFrame:
    """A table of text, whose fields are separated by `usual` if the heading does not say otherwise."""
    text = _text(content)
    heading = next(filter(str.strip, text.splitlines()), None)
    if heading is None:
        raise ValueError("is empty")
    if heading.lstrip()[:1] in ("[", "{"):
        raise ValueError("is JSON: export the table as CSV")
    if heading.lower().startswith("sep="):
        raise ValueError(f"remove its first line, {heading.strip()!r:.20}: separators are found without it")
    separator = _separator(heading, usual)
    names = next(csv.reader([heading], delimiter=separator, skipinitialspace=True))
    if len(names) < 2:
        raise ValueError(
            f"its first line is {heading.strip()!r:.60}, one column: begin it with the names of the columns, "
            "and separate fields by commas, semicolons or tabs"
        )
    decimal_commas = separator != "," and any(
        DECIMAL_COMMA.fullmatch(field.strip())
        for line in text.splitlines()
        for field in line.split(separator)
    )
    try:
        table = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            skipinitialspace=True,
            keep_default_na=False,
            na_values=[""],
            dtype=str,
        )
    except pd.errors.ParserError as error:
        found = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        if found.startswith("EOF inside string"):
            raise ValueError("a quotation mark is opened and never closed: close or remove it") from None
        advice = f"put texts that hold {SEPARATORS[separator]} in quotes"
        raise ValueError(f"{found}: {advice}") from None
    if not isinstance(table.index, pd.RangeIndex):
        raise ValueError(
            f"rows have more fields than the heading, {heading.strip()!r:.60}: give every column a name, "
            "and remove what stands above their names"
        )
    table = _headed(table, names)
    if decimal_commas:
        table = table.apply(_decimal_commas)
        texts = table.select_dtypes(exclude="number")
        table.attrs["unclear"] = [
            name for name in texts if any(map(WITH_POINT.fullmatch, texts[name].dropna().str.strip()))
        ]
        return table
    return table.apply(_as_numbers)


def _as_numbers(column: pd.Series) -> pd.Series:
    """A column of texts as numbers, if all are and none would be lost: 1 and 01 are two names."""
    numbers = pd.to_numeric(column, errors="coerce")
    all_are = numbers.notna().equals(column.notna())
    return numbers if all_are and numbers.nunique() == column.nunique() else column


def _text(data: bytes) -> str:
    """The file as text.

    Raises:
        ValueError: it is none.
    """
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    for mark, what in OTHERS.items():
        if data.startswith(mark):
            raise ValueError(what)
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    if encoding is None and b"\0" in data[:1000]:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be" if data[:1] == b"\0" else None
    try:
        text = data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line} is not {(encoding or 'utf-8').upper()} text: save it as UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError("holds zero bytes: not a table of text")
    return text


def _separator(heading: str, usual: str) -> str:
    """What separates the fields: what the heading has most of outside of quotes."""
    counts = Counter(re.sub(r'"[^"]*"', "", heading))
    most = max(SEPARATORS, key=lambda mark: (counts[mark], mark == usual))
    return most if counts[most] else usual


def _refuse_twice(names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise ValueError(f"two columns are called {twice[0]!r}: rename or remove one")


def _headed(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """With names that have no blanks around them."""
    stripped = [name.strip() for name in names]
    _refuse_twice(stripped)
    if len(stripped) == table.shape[1]:
        table.columns = pd.Index([name or f"Unnamed: {i}" for i, name in enumerate(stripped)])
    return table


def _decimal_commas(column: pd.Series) -> pd.Series:
    """A column of texts as numbers, if all are. What has a point stays text: where one column has decimal
    commas it may separate thousands."""
    given = column.dropna().str.strip()
    if not all(DECIMAL_COMMA.fullmatch(text) or WHOLE.fullmatch(text) for text in given):
        return column
    return _as_numbers(column.str.strip().str.replace(",", "."))


def _without_row_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Without columns that have no name and count the rows: they make copies of a row look different."""
    counts = [
        name
        for name in table.columns
        if UNNAMED.fullmatch(str(name))
        and pd.api.types.is_integer_dtype(table[name])
        and any((table[name] == pd.RangeIndex(start, start + len(table))).all() for start in (0, 1))
    ]
    return table.drop(columns=counts)
