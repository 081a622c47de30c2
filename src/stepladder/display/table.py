"""A table as people see it, whoever prints it: columns with titles and alignment, rows of strings.

`stepladder.report.render.typst` sets it on a page, `stepladder.display.terminal` prints it in a terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stepladder.display.visible import visible


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    total: bool = False,
    title: str = "",
    note: str = "",
) -> Table:
    """A table of cells that are strings already.

    Args:
        columns: titles. A leading "<" aligns left, "<<" left and as wide as there is room; default right. A
            "~" before that marks a detail: a terminal that is too narrow leaves it out.
        rows: cells as strings.
        total: whether the last row is a total.
        title: a line above.
        note: what a reader must know to read it, below.

    Raises:
        ValueError: a row has another number of cells than there are columns.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(columns)} columns: {row}")
    cells = tuple(tuple(map(visible, row)) for row in rows)
    return Table(tuple(map(_column, columns)), cells, total, title, note)


@dataclass(frozen=True)
class Column:
    """How one column is headed and set."""

    title: str
    align: Literal["left", "right"] = "right"
    wide: bool = False
    """Whether it takes what room the others leave, on as many lines as that needs."""
    detail: bool = False
    """Whether it can be left out where there is no room."""


@dataclass(frozen=True)
class Table:
    """Rows of strings below the columns' titles; see `table`."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    total: bool = False
    title: str = ""
    note: str = ""

    @property
    def headed(self) -> bool:
        """Whether any column has a title."""
        return any(column.title for column in self.columns)


def _column(text: str) -> Column:
    bare = text.removeprefix("~")
    title = bare.lstrip("<")
    align: Literal["left", "right"] = "right" if title == bare else "left"
    return Column(title, align, wide=bare.startswith("<<"), detail=bare != text)
