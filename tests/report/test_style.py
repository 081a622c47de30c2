"""Axes and styles: sparse plain ticks, distinct looks, reproducible files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.lines import Line2D

from stepladder.report.figures.running import time_figure
from stepladder.report.figures.style import (
    TALLEST,
    legend_above,
    log_ticks,
    new_figure,
    save_svg,
    shortened,
    styled,
    variant_styles,
)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.04, 8, [0.05, 0.1, 0.2, 0.5, 1, 2, 5]),
        (1, 320, [1, 3, 10, 30, 100, 300]),
        (1e18, 1e22, [1e18, 1e19, 1e20, 1e21, 1e22]),
    ],
)
def test_ticks(low: float, high: float, expected: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(expected)


@given(st.floats(1e-9, 1e9), st.floats(1.3, 1e12))
def test_ticks_are_few_and_inside(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert len(ticks) <= 8
    assert all(low <= tick <= low * ratio for tick in ticks)


def test_variants_differ_in_colour_and_marker() -> None:
    styles = variant_styles([f"v{i}" for i in range(14)])
    assert len({(s.colour, s.marker) for s in styles.values()}) == 14
    first = list(styles.values())[:6]
    assert len({s.marker for s in first}) == len({str(s.line) for s in first}) == 6


def test_same_figure_same_bytes(tmp_path: Path) -> None:
    def draw(name: str) -> bytes:
        figure, axes = new_figure(2)
        axes.plot([1, 2], [3, 4])
        axes.set_xlabel("Training compute")
        return save_svg(figure, tmp_path / name).read_bytes()

    assert draw("a.svg") == draw("b.svg")
    assert b"Training compute" in draw("c.svg"), "text stays text"


@pytest.mark.parametrize("length", [12, 60, 129])
@pytest.mark.parametrize("height", [1.75, 4.7])
def test_twenty_long_names_do_not_crush_a_figure(length: int, height: float) -> None:
    def panel(count: int) -> float:
        """Height of the axes in inches, under a legend of so many names."""
        with styled():
            figure, axes = new_figure(height)
            names = [f"{i:02}".ljust(length, "m") for i in range(count)]
            legend_above(figure, [Line2D([], [], label=name) for name in names])
            figure.draw_without_rendering()
            width = figure.legends[0].get_window_extent().width / figure.bbox.width
            assert width < 1.0 or length > 90
            return float(axes.get_window_extent().height / figure.dpi)

    assert panel(20) > 0.85 * panel(2)


def test_a_shortened_text_keeps_its_ends() -> None:
    assert shortened("short", 10) == "short"
    found = shortened("beginning-middle-end", 11)
    assert len(found) == 11 and found.startswith("begin") and found.endswith("e-end") and "…" in found


def test_many_bars_fit_on_a_page() -> None:
    runs = pd.DataFrame(
        [
            {"rung": rung, "variant": f"v{i}".ljust(100, "x"), "seconds_total": 2.0, "seconds_forward": 1.0}
            for rung in ("d2", "d3", "d4", "d5")
            for i in range(20)
        ]
    )
    figure = time_figure(runs, ["d2", "d3", "d4", "d5"], list(dict.fromkeys(runs["variant"])))
    with styled():
        figure.draw_without_rendering()
    assert figure.get_figheight() <= TALLEST + 0.01
    assert figure.axes[0].get_window_extent().width > 0.6 * figure.bbox.width, "labels leave room for bars"


@pytest.mark.parametrize("count", [2, 6, 9])
def test_a_legend_stays_inside_the_figure(count: int) -> None:
    """However many variants, with names as long as `sliding-multi_token`."""
    with styled():
        figure, _ = new_figure(3.0)
        handles = [Line2D([], [], label=f"sliding-multi_token-{i}") for i in range(count)]
        legend_above(figure, handles)
        figure.draw_without_rendering()
        [legend] = figure.legends
        box = legend.get_window_extent()
    assert len(legend.get_texts()) == count
    assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
