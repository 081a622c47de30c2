"""Held-out loss along the runs."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from stepladder.report.figures.running import NEXT_TOKEN
from stepladder.report.figures.style import (
    GREY,
    Styles,
    compute_scale,
    legend_above,
    new_figure,
    styled,
)


def looks_figure(looks: pd.DataFrame, rungs: list[str], styles: Styles) -> Figure:
    """Next-token loss on the same held-out text against FLOPs, a panel per rung: means over seeds of each
    variant's runs at its largest budget.

    Hollow: looks within a phase that trains on another loss.
    """
    shown = [rung for rung in rungs if (looks["rung"] == rung).any()]
    with styled():
        columns = 2 if len(shown) in (2, 4) else min(3, len(shown))
        rows = math.ceil(len(shown) / columns)
        figure, grid = new_figure(0.35 + 1.6 * rows, nrows=rows, ncols=columns, squeeze=False)
        for axes in grid.flat[len(shown) :]:
            axes.set_axis_off()
        for axes, rung in zip(grid.flat, shown, strict=False):
            here = looks[looks["rung"] == rung]
            divisor, unit = compute_scale([here["flops"].max()])
            for variant, style in styles.items():
                curve = mean_curve(here[here["variant"] == variant])
                x, y = curve["flops"] / divisor, curve["loss"]
                axes.plot(x, y, color=style.colour, linestyle=style.line, linewidth=1.0)
                for usual, face in ((True, style.colour), (False, "white")):
                    part = (curve["phase"] == NEXT_TOKEN) == usual
                    axes.plot(x[part], y[part], "o", color=style.colour, markerfacecolor=face, markersize=3)
            axes.set_title(rung)
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(f"Training compute ({unit})")
        for axes in grid[:, 0]:
            axes.set_ylabel("Loss (nats/token)")
        handles = [Line2D([], [], color=s.colour, linestyle=s.line, label=v) for v, s in styles.items()]
        if (looks["phase"] != NEXT_TOKEN).any():
            names = ", ".join(dict.fromkeys(looks.loc[looks["phase"] != NEXT_TOKEN, "phase"]))
            hollow = Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linestyle="")
            hollow.set_label(f"within the {names} phase")
            handles.append(hollow)
        legend_above(figure, handles)
        return figure


def mean_curve(looks: pd.DataFrame) -> pd.DataFrame:
    """Looks of the runs with the most FLOPs, their means over seeds, in order of step."""
    if looks.empty:
        return looks
    longest = looks[looks["budget"].eq(looks.sort_values("flops")["budget"].iloc[-1])]
    whole = {"flops": ("flops", "mean"), "loss": ("loss", "mean"), "phase": ("phase", "first")}
    return longest.groupby("step", as_index=False).agg(**whole)
