"""A table in the terminal: the cells of the page, and details left out where there is no room."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from stepladder.display.table import table
from stepladder.display.terminal import Shown, fitting, show

COSTS = table(
    ["<Variant", "~Active", "FLOPs", "~FLOPs", "<<Note"],
    [
        ["dense [0]", "12.0k", "5.70 TFLOP", "1", "a note of many words " * 4],
        ["all", "", "5.70 TFLOP", "", ""],
    ],
    total=True,
    title="What it costs",
    note="FLOPs of one run.",
)


def printed(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(Shown(COSTS))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_a_row_must_fit_its_columns() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 2 columns"):
        table(["<Rung", "Runs"], [["d2"]])


def test_titles_say_how_a_column_is_set() -> None:
    first, detail, *_, wide = COSTS.columns
    assert (first.title, first.align, first.wide, first.detail) == ("Variant", "left", False, False)
    assert (detail.title, detail.align, detail.detail) == ("Active", "right", True)
    assert wide.wide and wide.align == "left" and not wide.detail


def test_everything_is_printed_where_there_is_room() -> None:
    lines = printed(120)
    assert lines[0].strip() == "What it costs" and lines[-1] == "FLOPs of one run."
    assert lines[1].split() == ["Variant", "Active", "FLOPs", "FLOPs", "Note"]
    assert set(lines[2].strip()) == {"─"}
    assert lines[3].startswith("dense [0]   "), "brackets are no markup"
    assert lines[-2].startswith("all") and set(lines[-3].strip()) == {"─"}, "a line above the total"


@pytest.mark.parametrize(
    ("width", "kept"),
    [
        (200, [0, 1, 2, 3, 4]),
        (66, [0, 1, 2, 3, 4]),
        (65, [0, 1, 2, 4]),
        (58, [0, 1, 2, 4]),
        (57, [0, 2, 4]),
        (10, [0, 2, 4]),
    ],
)
def test_details_go_last_first(width: int, kept: list[int]) -> None:
    """9, 6, 10 and 5 characters, 24 that a wide column needs, and 3 between two; figures that are no detail
    stay."""
    assert fitting(COSTS, width) == kept


def test_wide_columns_take_several_lines() -> None:
    lines = printed(66)
    assert max(map(len, lines)) <= 66
    assert " ".join(" ".join(lines).split()).count("a note of many") >= 3


def test_figures_are_not_cut_where_there_is_no_room(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"a variant of a long name, {i}" for i in range(8)]
    show(table([f"<{name}" for name in names], [names]))
    assert capsys.readouterr().out.count("a variant of a long name, 7") == 2
