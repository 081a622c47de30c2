"""Tables and sentences in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable
from rich.text import Text

from stepladder.display.table import Table
from stepladder.display.visible import visible

MIN_WIDTH = 116
"""Columns that `show` takes for granted; a narrower terminal wraps its lines rather than lose figures."""

GAP = 3
"""Blanks between columns."""

WIDE = 24
"""Columns below which a column that is `wide` is not squeezed."""

COLOURS = {
    **{"promote": "green", "hold": "yellow", "reject": "red"},
    **{"equivalent": "green", "unknown": "yellow", "not equivalent": "red"},
}
"""Cells that are set in a colour, by what they say."""

# A line below the titles and one above a total, as on the page.
_RULES = Box("    \n    \n ── \n    \n ── \n    \n    \n    \n")


def show(*parts: RenderableType | Table) -> None:
    """Print tables, set apart by blank lines, and sentences that are neither cut nor broken (so that they can
    be searched)."""
    console = Console(highlight=False, soft_wrap=True, width=max(Console().width, MIN_WIDTH))
    for part in parts:
        console.print(Shown(part), "") if isinstance(part, Table) else console.print(part)


def plain(text: str, style: str = "") -> Text:
    """A sentence whose brackets are brackets, not markup."""
    return Text(visible(text), style)


def warn(text: str) -> Text:
    """A sentence that must not be missed."""
    return Text.assemble(("warning: ", "yellow"), visible(text))


@contextmanager
def working(on: str) -> Iterator[None]:
    """Show while the block runs what it is about and for how long already; nothing where nobody watches."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(on)
        yield


@dataclass(frozen=True)
class Shown:
    """A table for rich, as wide as the terminal that it is printed to."""

    table: Table
    colours: Mapping[str, str] = field(default_factory=lambda: COLOURS)
    """Cell to its style."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = self.table
        kept = fitting(table, options.max_width)
        printed = RichTable(
            title=table.title or None,
            title_justify="left",
            title_style="bold",
            box=_RULES,
            show_header=table.headed,
            show_edge=False,
            pad_edge=False,
            padding=(0, GAP - 1, 0, 0),  # the box adds one
            header_style="dim",
        )
        for i in kept:
            column = table.columns[i]
            printed.add_column(
                Text(column.title),
                justify=column.align,
                overflow="fold",
                no_wrap=not column.wide,
                min_width=_least(table, i) if column.wide else None,
            )
        for number, row in enumerate(table.rows, start=1):
            last = table.total and number == len(table.rows)
            if last:
                printed.add_section()
            cells = [Text(row[i], self.colours.get(row[i], "")) for i in kept]
            printed.add_row(*cells, style="bold" if last else None)
        # Where lines may be longer than the terminal, figures are not cut to fit.
        width = max(options.max_width, _needed(table, kept)) if options.no_wrap else options.max_width
        yield from console.render(printed, options.update(max_width=width))
        if table.note:
            yield Text(table.note, "dim", no_wrap=False, overflow="fold")


def fitting(table: Table, width: int) -> list[int]:
    """Indices of the columns that are printed to `width`: all, or without details, the last of them first,
    until the rest has room. What is no detail is printed in any case."""
    kept = list(range(len(table.columns)))
    for i in reversed([i for i in kept if table.columns[i].detail]):
        if _needed(table, kept) <= width:
            break
        kept.remove(i)
    return kept


def _needed(table: Table, kept: list[int]) -> int:
    return sum(_least(table, i) + GAP for i in kept) - GAP


def _least(table: Table, i: int) -> int:
    """Fewest characters that column `i` is set in."""
    texts = [table.columns[i].title, *(row[i] for row in table.rows)]
    widest = max(cell_len(line) for text in texts for line in text.split("\n"))
    return min(widest, WIDE) if table.columns[i].wide else widest
