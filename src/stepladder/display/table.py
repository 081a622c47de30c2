"""Small tables for the template: columns with titles and alignment, rows of strings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Table = dict[str, Any]


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], note: str | None = None, *, total: bool = False
) -> Table:
    """A table that look.typ's `data-table` draws.

    Args:
        columns: titles; a leading "<" aligns left, "<<" left and as wide as there is room; default right.
        rows: cells as strings.
        total: whether the last row is a total.

    Raises:
        ValueError: a row has another number of cells than there are columns.
    """
    heads: list[dict[str, Any]] = []
    for title in columns:
        bare = title.lstrip("<")
        heads.append(
            {"title": bare, "align": "left" if title != bare else "right", "wide": title.startswith("<<")}
        )
    for row in rows:
        if len(row) != len(heads):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(heads)} columns: {row}")
    return {"columns": heads, "rows": [list(row) for row in rows], "total": total}
