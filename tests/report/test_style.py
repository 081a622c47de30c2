"""Axes and styles: sparse plain ticks, distinct looks, reproducible files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.lines import Line2D

from stepladder.report.figures.style import (
    legend_above,
    log_ticks,
    new_figure,
    save_svg,
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
