"""What the ladder says: loss against compute with its laws, and the gain along the ladder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stepladder.decision.axis_fit import AxisFit, Curve, HeldOutPrediction, VariantLaw
from stepladder.decision.comparison import PairComparison
from stepladder.decision.efficiency import RungGain
from stepladder.laws.forms import Array
from stepladder.laws.numbers import Interval
from stepladder.report.figures.style import (
    GREY,
    INK,
    TALLEST,
    Styles,
    VariantStyle,
    clipped,
    compute_scale,
    log_axis,
    new_figure,
    padded,
    shortened,
    styled,
    variant_legend,
)
from stepladder.schema.analysis import AXES, Axis

GAIN_AXES: tuple[Axis, ...] = ("flops", "seconds")
"""Cost axes that the gain is drawn on."""

Zero = Callable[[Any], Array]
"""Cost, a number or an array, to the loss that is subtracted there."""


def loss_figure(runs: pd.DataFrame, fit: AxisFit, styles: Styles, reference: str) -> Figure:
    """Held-out loss of every run against training FLOPs; below it, the distance to the reference's law.

    Args:
        runs: one row per run: variant, rung, flops, loss (of the metric that the laws are of).
        fit: on FLOPs; where it has no laws the points stand alone.
        styles: look of each variant.
        reference: variant whose law is the zero line of the lower panel.
    """
    laws, predictions = fit.laws, fit.held_out.predictions if fit.held_out else ()
    base = laws.get(reference)
    with styled():
        figure, grid = new_figure(
            4.7 if base else 3.4, nrows=2 if base else 1, sharex=True, squeeze=False,
            gridspec_kw={"height_ratios": [1.6, 1] if base else [1]},
        )  # fmt: skip
        divisor, unit = compute_scale(runs["flops"].tolist())
        panels: list[Axes] = list(grid[:, 0])
        hidden = {(p.variant, p.rung) for p in predictions}
        for axes in panels:
            zero = _zero(None if axes is panels[0] else base)
            above = runs["loss"].to_numpy() - zero(runs["flops"].to_numpy())
            limits = _limits(list(above), predictions, zero)
            axes.set_ylim(*limits)
            for i, (variant, style) in enumerate(styles.items()):
                mine = runs[runs["variant"] == variant]
                x, hollow = mine["flops"].to_numpy(), [(variant, rung) in hidden for rung in mine["rung"]]
                _points(axes, x / divisor, mine["loss"].to_numpy() - zero(x), hollow, style)
                # Side by side, so that the intervals of several variants do not hide each other.
                shift = math.exp(_step(0.045, len(styles)) * (i - (len(styles) - 1) / 2))
                for p in predictions:
                    if p.variant == variant:
                        _prediction(axes, p, zero, limits, divisor, shift, style)
                if variant in laws:
                    # Below, one band is enough: four would hide each other.
                    banded = axes is panels[0] or variant == reference
                    _curve(axes, laws[variant].curve, zero, limits, divisor, style, banded)
        log_axis(panels[0], "x", *padded((runs["flops"] / divisor).tolist(), 0.07))
        panels[0].set_ylabel(fit.metric.label)
        _rung_labels(panels[0], runs["flops"] / divisor, runs["rung"], {rung for _, rung in hidden})
        if base:
            panels[1].set_ylabel(f"Loss above law of\nreference ({fit.metric.unit})")
        panels[-1].set_xlabel(AXES["flops"].label.format(unit=unit))
        extra = [_hollow_handle("held-out rung, with its prediction")] if hidden else []
        variant_legend(figure, styles, lines=bool(laws), extra=extra)
        return figure


def _step(usual: float, variants: int) -> float:
    """Distance in log cost between variants side by side; many of them stay at their rung all the same."""
    return min(usual, 0.3 / max(variants, 1))


def _zero(law: VariantLaw | None) -> Zero:
    """What is subtracted from losses: a law's, or nothing."""
    if law is None:
        return lambda x: np.zeros_like(np.asarray(x, dtype=float))
    cost, loss = np.array(law.curve.cost), np.array(law.curve.loss)
    # The stored curve is dense and smooth in log cost, so interpolating there is exact to the eye.
    return lambda x: np.interp(np.log(x), np.log(cost), loss)


def _points(axes: Axes, x: Array, y: Array, hollow: Sequence[bool], style: VariantStyle) -> None:
    mask = np.array(hollow, dtype=bool)
    look: dict[str, Any] = {
        "linestyle": "none", "color": style.colour, "marker": style.marker, "zorder": 3,
    }  # fmt: skip
    axes.plot(x[~mask], y[~mask], **look)
    axes.plot(x[mask], y[mask], markerfacecolor="white", markeredgewidth=1.1, **look)


def _curve(
    axes: Axes,
    curve: Curve,
    zero: Zero,
    limits: tuple[float, float],
    divisor: float,
    style: VariantStyle,
    banded: bool,
) -> None:
    cost = np.array(curve.cost)
    base = zero(cost)
    loss = clipped(np.array(curve.loss) - base, limits)
    axes.plot(cost / divisor, loss, color=style.colour, linestyle=style.line)
    if banded and curve.low is not None and curve.high is not None:
        low, high = (clipped(np.array(end) - base, limits) for end in (curve.low, curve.high))
        axes.fill_between(cost / divisor, low, high, color=style.colour, alpha=0.13, linewidth=0)


def _prediction(
    axes: Axes,
    p: HeldOutPrediction,
    zero: Zero,
    limits: tuple[float, float],
    divisor: float,
    shift: float,
    style: VariantStyle,
) -> None:
    base = float(zero(p.cost))
    ends = (*_ends(p.interval, p.predicted), p.predicted)
    low, high, predicted = (float(clipped(value - base, limits)) for value in ends)
    error = [[max(predicted - low, 0)], [max(high - predicted, 0)]]
    axes.errorbar(
        p.cost / divisor * shift, predicted, yerr=error,
        fmt="_", color=style.colour, elinewidth=0.8, capsize=2.2, capthick=0.8, markersize=5, zorder=2,
    )  # fmt: skip


def _ends(interval: Interval | None, instead: float) -> tuple[float, float]:
    """Ends to draw an interval by: `instead` of those that are infinite, or where there is none."""
    low, high = (instead if end is None else end for end in interval or (None, None))
    return low, high


WIDEST = 3.0
"""Intervals that reach this many times the points' range beyond them leave the panel: all would look flat."""


def _limits(values: list[float], predictions: Sequence[HeldOutPrediction], zero: Zero) -> tuple[float, float]:
    """Room for the points and the predicted intervals; bands may leave the panel."""
    ends = [end - float(zero(p.cost)) for p in predictions for end in p.interval or () if end is not None]
    points = (min(values), max(values) + 1e-3)
    ends = [float(clipped(end, points, WIDEST)) for end in ends]
    low, high = min(values + ends), max(values + ends)
    room = 0.08 * max(high - low, 1e-3)
    return low - room, high + room


def _rung_labels(axes: Axes, x: pd.Series, rungs: pd.Series, held_out: set[str]) -> None:
    """Names of the rungs above the axes, at the middle of their points."""
    middle = np.exp(np.log(x).groupby(rungs).mean())
    for rung, at in middle.items():
        text = f"{rung} (held out)" if rung in held_out else str(rung)
        axes.text(
            at,
            1.015,
            text,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=7.5,
            color=GREY,
        )


def _hollow_handle(label: str) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker="o", markerfacecolor="white", color=GREY,
        label=label,
    )  # fmt: skip


MOST_LABELS = 8
"""Places that can be named above a panel; where there are more, the rungs alone are."""


def gain_figure(comparisons: Sequence[PairComparison], styles: Styles) -> Figure | None:
    """Efficiency gain per rung against cost with intervals: a row per reference, a column per cost axis.

    Returns:
        None when no comparison has a gain on any axis.
    """
    usable = [c for c in comparisons if any(c.gains[axis].rungs for axis in GAIN_AXES)]
    references = list(dict.fromkeys(c.reference for c in usable))
    if not references:
        return None
    with styled():
        figure, grid = new_figure(
            0.5 + min(2.15, TALLEST / len(references)) * len(references),
            nrows=len(references),
            ncols=len(GAIN_AXES),
            sharey="row",
            squeeze=False,
        )
        for row, reference in zip(grid, references, strict=True):
            group = [c for c in usable if c.reference == reference]
            limits = _gain_limits([r for c in group for axis in GAIN_AXES for r in c.gains[axis].rungs])
            for axes, axis in zip(row, GAIN_AXES, strict=True):
                _gain_panel(axes, {c.candidate: c.gains[axis].rungs for c in group}, axis, styles, limits)
            _gain_ticks(row[0], *limits)
            row[0].set_ylabel(f"Efficiency gain over\n{shortened(reference, 28)} (×)")
        candidates = {c.candidate for c in usable}
        held = any(r.held_out for c in usable for r in c.gains["flops"].rungs)
        shown = {name: style for name, style in styles.items() if name in candidates}
        variant_legend(figure, shown, lines=True, extra=[_hollow_handle("held-out rung")] if held else [])
        return figure


def _gain_panel(
    axes: Axes,
    rungs_of: Mapping[str, Sequence[RungGain]],
    axis: Axis,
    styles: Styles,
    limits: tuple[float, float],
) -> None:
    every = [r for rungs in rungs_of.values() for r in rungs]
    if not every:
        axes.text(0.5, 0.5, "no law on this axis", transform=axes.transAxes, ha="center", color=GREY)
        return
    divisor, unit = compute_scale([r.cost for r in every]) if axis == "flops" else (1.0, "s")
    axes.axhline(1, color=INK, linewidth=0.8)
    for i, (candidate, rungs) in enumerate(rungs_of.items()):
        style = styles[candidate]
        shift = math.exp(_step(0.06, len(rungs_of)) * (i - (len(rungs_of) - 1) / 2))
        x = np.array([r.cost / divisor * shift for r in rungs])
        # A gain that is infinite, or beyond the panel, sits at its edge.
        y = np.clip([limits[1] if r.gain is None else r.gain for r in rungs], *limits)
        for at, value, r in zip(x, y, rungs, strict=True):
            if r.interval:
                low, high = np.clip(_ends(r.interval, limits[1]), limits[0] / 10, 10 * limits[1])
                axes.errorbar(
                    at, value, yerr=[[max(value - low, 0)], [max(high - value, 0)]],
                    fmt="none", ecolor=style.colour, elinewidth=0.8, capsize=2,
                )  # fmt: skip
        axes.plot(x, y, color=style.colour, linestyle=style.line, linewidth=0.8)
        _points(axes, x, y, [r.held_out for r in rungs], style)
    costs = pd.Series([r.cost / divisor for r in every])
    log_axis(axes, "x", *padded(costs.tolist(), 0.1))
    axes.set_xlabel(AXES[axis].label.format(unit=unit))
    labels = pd.Series([r.label for r in every])
    if labels.nunique() > MOST_LABELS:  # a place for every budget of every rung would be a smear
        labels = pd.Series([r.rung for r in every])
    _rung_labels(axes, costs, labels, set())


def _gain_limits(rungs: Sequence[RungGain]) -> tuple[float, float]:
    """Limits that hold 1, all gains and their intervals, cut at a factor of 20."""
    ends = [v for r in rungs for v in (r.gain, *(r.interval or ())) if v is not None and v > 0]
    low, high = padded([*ends, 1.0], 0.08)
    return max(low, 0.05), min(high, 20)


def _gain_ticks(axes: Axes, low: float, high: float) -> None:
    """Log scale for ratios, with plain labels."""
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    ladders = {
        2.5: [0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.6, 1.8, 2],
        20: [0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10],
        math.inf: [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20],
    }
    steps = next(steps for widest, steps in ladders.items() if high / low < widest)
    ticks = [t for t in steps if low <= t <= high]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_yticks([], minor=True)
