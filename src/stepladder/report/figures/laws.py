"""What the ladder says: loss against compute with laws, and the gain along the ladder."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stepladder.report.evidence import Gain, HeldOut, Law
from stepladder.report.style import (
    GREY,
    INK,
    VariantStyle,
    compute_scale,
    log_axis,
    log_ticks,
    new_figure,
    padded,
    styled,
)

Styles = dict[str, VariantStyle]


def loss_figure(
    runs: pd.DataFrame, laws: Sequence[Law], held_out: Sequence[HeldOut], styles: Styles, reference: str
) -> Figure:
    """Target loss of every run against training FLOPs, and below it the distance to the reference's law.

    Args:
        runs: one row per run: variant, rung, flops, loss (nats/token).
        laws: fitted curves on the FLOPs axis with 95 % bands; variants without one show points only.
        held_out: predictions made without the largest rung; its runs are drawn hollow.
        styles: look of each variant.
        reference: variant whose law is the zero line below.
    """
    with styled():
        by_variant = {law.variant: law for law in laws if law.curve is not None}
        base = by_variant.get(reference)
        rows = 2 if base else 1
        figure, grid = new_figure(
            4.1 if base else 3.2,
            nrows=rows,
            sharex=True,
            squeeze=False,
            gridspec_kw={"height_ratios": [1.75, 1][:rows]},
        )
        divisor, unit = compute_scale(runs["flops"])
        top: Axes = grid[0, 0]
        hidden = {(h.variant, h.rung) for h in held_out}
        for i, (variant, style) in enumerate(styles.items()):
            mine = runs[runs["variant"] == variant]
            hollow = np.array([(variant, rung) in hidden for rung in mine["rung"]], dtype=bool)
            _points(top, mine["flops"] / divisor, mine["loss"], hollow, style, variant)
            predictions = [h for h in held_out if h.variant == variant]
            # Side by side, so that the intervals of several variants do not hide each other.
            shift = math.exp(0.035 * (i - (len(styles) - 1) / 2))
            for axes, offset in zip(grid[:, 0], (None, base), strict=False):
                for h in predictions:
                    _prediction(axes, h, offset, divisor, shift, style)
            if variant in by_variant:
                curve = by_variant[variant].curve
                top.plot(curve.x / divisor, curve.middle, color=style.colour, linestyle=style.line)
                top.fill_between(
                    curve.x / divisor, curve.low, curve.high, color=style.colour, alpha=0.13, linewidth=0
                )
            if base is not None:
                below: Axes = grid[1, 0]
                gap = mine["loss"].to_numpy() - base.at(mine["flops"].to_numpy())
                _points(below, mine["flops"] / divisor, gap, hollow, style, None)
                if variant in by_variant:
                    curve = by_variant[variant].curve
                    zero = base.at(curve.x)
                    below.plot(
                        curve.x / divisor, curve.middle - zero, color=style.colour, linestyle=style.line
                    )
                    if variant == reference:
                        below.fill_between(
                            curve.x / divisor,
                            curve.low - zero,
                            curve.high - zero,
                            color=style.colour,
                            alpha=0.13,
                            linewidth=0,
                        )
        log_axis(top, "x", *padded(list(runs["flops"] / divisor), 0.07))
        spread = [runs["loss"].min(), runs["loss"].max()] + [v for h in held_out for v in (h.low, h.high)]
        room = 0.06 * (max(spread) - min(spread))
        top.set_ylim(min(spread) - room, max(spread) + room)
        top.set_ylabel("Held-out loss (nats/token)")
        _rung_labels(top, runs, {h.rung for h in held_out}, divisor)
        if base is not None:
            grid[1, 0].set_ylabel(f"Loss minus law of\n{reference} (nats/token)")
        grid[-1, 0].set_xlabel(f"Training compute ({unit}, causal count)")
        figure.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=min(len(styles), 5))
        return figure


def _points(axes: Axes, x, y, hollow, style: VariantStyle, label: str | None) -> None:
    x, y = np.asarray(x), np.asarray(y)
    look = {
        "linestyle": "none",
        "color": style.colour,
        "marker": style.marker,
        "markersize": 4.5,
        "zorder": 3,
    }
    axes.plot(x[~hollow], y[~hollow], label=label, **look)
    axes.plot(x[hollow], y[hollow], markerfacecolor="white", markeredgewidth=1.1, **look)


def _prediction(
    axes: Axes, h: HeldOut, base: Law | None, divisor: float, shift: float, style: VariantStyle
) -> None:
    zero = base.at(np.array([h.x]))[0] if base else 0.0
    axes.errorbar(
        h.x / divisor * shift,
        h.predicted - zero,
        yerr=[[max(h.predicted - h.low, 0)], [max(h.high - h.predicted, 0)]],
        fmt="_",
        color=style.colour,
        elinewidth=0.8,
        capsize=2.2,
        capthick=0.8,
        markersize=5,
        zorder=2,
    )


def _rung_labels(axes: Axes, runs: pd.DataFrame, held_out: set[str], divisor: float) -> None:
    """Names of the rungs above the axes, at the middle of their runs."""
    where = np.exp(np.log(runs["flops"]).groupby(runs["rung"]).mean()) / divisor
    for rung, x in where.items():
        text = f"{rung}\nheld out" if rung in held_out else str(rung)
        axes.text(
            x,
            1.01,
            text,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=7.5,
            color=GREY,
            linespacing=0.95,
        )


def gain_figure(gains: Sequence[Gain], styles: Styles, titles: dict[str, str]) -> Figure | None:
    """Efficiency gain per rung with 95 % intervals against cost, one panel per axis, EG = 1 marked.

    Args:
        gains: candidates against one reference, on one or more cost axes.
        styles: look of each variant.
        titles: cost axis to (panel title).
    """
    drawn = [g for g in gains if g.rungs]
    axes_names = [a for a in titles if any(g.axis == a for g in drawn)]
    if not axes_names:
        return None
    with styled():
        figure, grid = new_figure(2.75, ncols=len(axes_names), sharey=True, squeeze=False)
        for axes, axis in zip(grid[0], axes_names, strict=True):
            mine = [g for g in drawn if g.axis == axis]
            costs = [r.cost for g in mine for r in g.rungs]
            divisor, unit = compute_scale(costs, "FLOP") if axis == "flops" else (1.0, "s")
            axes.axhline(1, color=INK, linewidth=0.8)
            for i, gain in enumerate(mine):
                style = styles[gain.candidate]
                shift = math.exp(0.05 * (i - (len(mine) - 1) / 2))
                x = np.array([r.cost / divisor * shift for r in gain.rungs])
                y = np.array([r.value for r in gain.rungs])
                error = [
                    [max(r.value - r.low, 0) for r in gain.rungs],
                    [max(r.high - r.value, 0) for r in gain.rungs],
                ]
                axes.errorbar(x, y, yerr=error, fmt="none", ecolor=style.colour, elinewidth=0.8, capsize=2)
                axes.plot(x, y, color=style.colour, linestyle=style.line, linewidth=0.8, alpha=0.8)
                _points(axes, x, y, np.array([r.held_out for r in gain.rungs]), style, gain.candidate)
            log_axis(axes, "x", *padded([c / divisor for c in costs], 0.12))
            axes.set_title(titles[axis])
            axes.set_xlabel(
                f"Training compute ({unit}, causal count)"
                if axis == "flops"
                else f"Accelerator time ({unit})"
            )
        _gain_scale(grid[0, 0], [v for g in drawn for r in g.rungs for v in (r.value, r.low, r.high)])
        grid[0, 0].set_ylabel("Efficiency gain (×)")
        handles = {}
        for axes in grid[0]:
            handles |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        figure.legend(
            handles.values(), handles.keys(), loc="outside upper center", ncols=min(len(handles), 5)
        )
        return figure


def _gain_scale(axes: Axes, values: list[float]) -> None:
    """Log scale for ratios; wide intervals are cut at ten times beyond the points."""
    finite = [v for v in values if math.isfinite(v) and v > 0]
    low, high = padded([*finite, 1.0], 0.08)
    axes.set_yscale("log")
    axes.set_ylim(max(low, 0.05), min(high, 20))
    low, high = axes.get_ylim()
    steps = [0.05, 0.1, 0.2, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.6, 1.8, 2, 3, 4, 5, 10, 20]
    if high / low > 3.2:
        steps = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
    ticks = [t for t in steps if low <= t <= high] or log_ticks(low, high)
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_yticks([], minor=True)
