"""The learning-rate sweep: a bowl per rung and variant, and the optimum's law over scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from stepladder.display.numbers import count
from stepladder.record.learning_rates import RungRate, SweptBowl, Tuning
from stepladder.report.figures.style import (
    FAINT,
    GREY,
    INK,
    Styles,
    VariantStyle,
    log_axis,
    new_figure,
    padded,
    styled,
    variant_legend,
)
from stepladder.report.sections.tuning import QUANTITIES

WIDEST = 4
"""Panels side by side."""

WIDEST_INTERVAL = 30.0
"""Factor beyond all rates at which an interval leaves the figure."""


def bowls_figure(tuning: Tuning, styles: Styles) -> Figure:
    """Loss against learning rate: a row per rung and batch, a panel per variant."""
    rows = list(dict.fromkeys((bowl.rung, bowl.batch_sequences) for bowl in tuning.bowls))
    variants = [v for v in styles if any(bowl.variant == v for bowl in tuning.bowls)]
    columns = min(len(variants), WIDEST)
    deep = -(-len(variants) // columns)
    used = {(row.rung, row.variant): row.used for row in tuning.rates if row.budget == tuning.budget}
    several = len({batch for _, batch in rows}) > 1
    with styled():
        figure, grid = new_figure(
            0.4 + 1.65 * len(rows) * deep, nrows=len(rows) * deep, ncols=columns, squeeze=False
        )
        for axes in grid.flat:
            axes.set_axis_off()
        for i, (rung, batch) in enumerate(rows):
            mine = {
                bowl.variant: bowl
                for bowl in tuning.bowls
                if (bowl.rung, bowl.batch_sequences) == (rung, batch)
            }
            limits = _limits(list(mine.values()))
            for j, variant in enumerate(v for v in variants if v in mine):
                axes = grid[i * deep + j // columns, j % columns]
                axes.set_axis_on()
                axes.set_title(f"{rung}, {variant}" + (f", batch {batch}" if several else ""), fontsize=8)
                _bowl(axes, mine[variant], used.get((rung, variant)), styles[variant])
                axes.set_ylim(*limits)
                if j % columns:
                    axes.set_yticklabels([])
                else:
                    axes.set_ylabel("Held-out loss\n(nats/token)")
        for axes in grid[-1, :]:
            axes.set_xlabel("Learning rate")
        figure.legend(handles=_handles(), loc="outside upper center", ncols=5)
        return figure


def _limits(bowls: list[SweptBowl]) -> tuple[float, float]:
    """Loss axis of a row: all points, but no diverged ones that would flatten the bowls."""
    losses = np.array([loss for bowl in bowls for point in bowl.points for loss in point.losses])
    low, high = float(losses.min()), float(np.quantile(losses, 0.75))
    high = min(float(losses.max()), low + 2.5 * max(high - low, 1e-3))
    return low - 0.08 * (high - low), high + 0.08 * (high - low)


def _bowl(axes: Axes, bowl: SweptBowl, used: float | None, style: VariantStyle) -> None:
    rates = np.array([point.learning_rate for point in bowl.points])
    for point in bowl.points:
        axes.plot(
            [point.learning_rate] * len(point.losses), point.losses, linestyle="none",
            marker=style.marker, color=style.colour, markersize=3.2, markeredgewidth=0, alpha=0.75, zorder=3,
        )  # fmt: skip
    low, high = bowl.window
    x = np.log(np.geomspace(low, high, 80))
    a, b, c = bowl.coefficients
    colour, width = (style.colour, 1.1) if bowl.optimum else (GREY, 0.8)
    axes.plot(bowl.base_rate * np.exp(x), a + b * x + c * x**2, color=colour, linewidth=width)
    if best := bowl.optimum:
        if best.interval:
            axes.axvspan(*best.interval, color=style.colour, alpha=0.13, linewidth=0)
        axes.plot(
            best.learning_rate, best.loss, "D", markersize=4.5, markerfacecolor="white",
            markeredgecolor=INK, markeredgewidth=0.9, zorder=4,
        )  # fmt: skip
    else:
        axes.text(
            0.5, 0.94, "no optimum inside", transform=axes.transAxes, ha="center", va="top", fontsize=7.5
        )
    if used is not None:
        axes.axvline(used, color=INK, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    log_axis(axes, "x", *padded([*rates, *([used] if used else [])], 0.06))


def _handles() -> list[Any]:
    return [
        Line2D([], [], linestyle="none", marker="o", color=GREY, markersize=3.2, label="one run"),
        Line2D([], [], color=GREY, label="parabola"),
        Line2D(
            [],
            [],
            linestyle="none",
            marker="D",
            markerfacecolor="white",
            markeredgecolor=INK,
            label="optimum",
        ),
        Patch(color=FAINT, label="its interval"),
        Line2D([], [], color=INK, linewidth=0.8, linestyle=(0, (3, 2)), label="rate trained at"),
    ]


def rates_figure(tuning: Tuning, styles: Styles) -> Figure | None:
    """Learning rate against scale: the bowls' optima, their law, and the rates that the rungs train at.

    Returns:
        None where there is no law.
    """
    if tuning.law is None:
        return None
    rows = [row for row in tuning.rates if row.budget == tuning.budget]
    shown = {v: style for v, style in styles.items() if v in tuning.law.variants}
    with styled():
        figure, axes = new_figure(2.7)
        for i, (variant, style) in enumerate(shown.items()):
            shift = np.exp(0.03 * (i - (len(shown) - 1) / 2))
            mine = sorted((r for r in rows if r.variant == variant), key=lambda row: row.quantity)
            _law(axes, mine, style)
            _optima(axes, [b for b in tuning.bowls if b.variant == variant], shift, style)
            axes.plot(
                [row.quantity for row in mine], [row.used for row in mine], linestyle="none",
                marker="_", markersize=11, markeredgewidth=1.4, color=style.colour, zorder=4,
            )  # fmt: skip
        log_axis(axes, "x", *padded([row.quantity for row in rows], 0.1))
        ticks = {}
        log_axis(axes, "y", *padded(_shown_rates(tuning, rows), 0.06))
        words = QUANTITIES[tuning.quantity]
        axes.set_xlabel(words[0].upper() + words[1:])
        axes.set_ylabel("Learning rate")
        for rung in dict.fromkeys(row.rung for row in rows):
            at = np.exp(np.mean([np.log(row.quantity) for row in rows if row.rung == rung]))
            ticks[at] = count(float(f"{at:.3g}"))
            axes.text(
                at, 1.015, rung, transform=axes.get_xaxis_transform(), ha="center", va="bottom",
                fontsize=7.5, color=GREY,
            )  # fmt: skip
        axes.set_xticks(list(ticks), list(ticks.values()))
        extra = [
            Line2D([], [], linestyle="none", marker="_", markersize=9, color=GREY, label="rate trained at")
        ]
        variant_legend(figure, shown, lines=True, extra=extra)
        return figure


def _law(axes: Axes, rows: list[RungRate], style: VariantStyle) -> None:
    """Between rungs a straight line in logs, which is exact where the ladder's rule is a power law."""
    size = [row.quantity for row in rows]
    rates = np.array([row.learning_rate for row in rows], dtype=float)
    axes.plot(size, rates, color=style.colour, linestyle=style.line)
    intervals = [row.interval for row in rows if row.interval]
    if len(intervals) == len(rows):
        low, high = zip(*intervals, strict=True)
        axes.fill_between(size, low, high, color=style.colour, alpha=0.13, linewidth=0)


def _optima(axes: Axes, bowls: list[SweptBowl], shift: float, style: VariantStyle) -> None:
    for bowl in bowls:
        best = bowl.optimum
        if best is None or bowl.batch_factor != 1:
            continue
        at, y = bowl.quantity * shift, best.learning_rate
        ends = best.interval or (y, y)
        axes.errorbar(
            at, y, yerr=[[y - ends[0]], [ends[1] - y]], fmt=style.marker, color=style.colour,
            elinewidth=0.8, capsize=2.2, capthick=0.8, zorder=3,
        )  # fmt: skip


def _shown_rates(tuning: Tuning, rows: list[RungRate]) -> list[float]:
    """What the axis must hold: predictions, used rates, optima, and their intervals where they are not so
    wide that nothing else could be seen."""
    found = [bowl.optimum for bowl in tuning.bowls if bowl.optimum]
    rates = [v for row in rows for v in (row.learning_rate, row.used) if v is not None]
    rates += [best.learning_rate for best in found]
    intervals = [row.interval for row in rows] + [best.interval for best in found]
    ends = [end for interval in intervals for end in interval or ()]
    low, high = min(rates) / WIDEST_INTERVAL, max(rates) * WIDEST_INTERVAL
    return rates + [min(max(end, low), high) for end in ends]
