"""IsoFLOP profiles: loss against size, a panel per variant and a curve per budget."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stepladder.decision.size_laws import SizeLaws
from stepladder.display.numbers import flops
from stepladder.laws.forms import Array
from stepladder.laws.isoflop import IsoflopFit
from stepladder.laws.profiles import ProfileFit
from stepladder.report.figures.style import INK, Styles, legend_above, log_axis, new_figure, padded, styled
from stepladder.schema.metric import metric

WIDEST = 3
"""Panels side by side."""


def profiles_figure(runs: pd.DataFrame, found: SizeLaws, styles: Styles) -> Figure | None:
    """All profiles of all variants; None where there are none.

    Args:
        runs: one row per run: variant, budget, rung, flops, loss and active non-embedding parameters.
    """
    fits = {name: found.isoflop[name].fit for name in styles if name in found.isoflop}
    drawn = {name: fit for name, fit in fits.items() if fit is not None}
    if not drawn:
        return None
    columns = min(len(drawn), WIDEST)
    deep = -(-len(drawn) // columns)
    budgets = sorted({profile.flops for fit in drawn.values() for profile in fit.profiles})
    groups = np.cumsum(np.diff(np.log(budgets), prepend=np.log(budgets[0])) > 0.1)
    colours = {
        c: colormaps["viridis"](0.9 * g / max(groups[-1], 1)) for c, g in zip(budgets, groups, strict=True)
    }
    sizes = runs["parameters_active_non_embedding"]
    unit, word = _unit(sizes)  # one for all panels, which share the axis
    with styled():
        figure, grid = new_figure(
            0.5 + 2.6 * deep, nrows=deep, ncols=columns, squeeze=False, sharex=True, sharey=True
        )
        for axes in grid.flat[len(drawn) :]:
            axes.set_axis_off()
        for axes, (name, fit) in zip(grid.flat, drawn.items(), strict=False):
            axes.set_title(name)
            for profile in fit.profiles:
                _profile(axes, runs[runs["variant"] == name], fit, profile, colours[profile.flops], unit)
        log_axis(grid[0, 0], "x", *padded((sizes / unit).tolist(), 0.06))
        for axes in grid[-1, :]:
            axes.set_xlabel(f"Parameters N ({word})")
        for axes in grid[:, 0]:
            axes.set_ylabel(metric(found.metric).label)
        first = [c for k, c in enumerate(budgets) if k == 0 or groups[k] != groups[k - 1]]
        legend_above(
            figure,
            [Line2D([], [], color=colours[c], marker="o", markersize=3.2, label=flops(c)) for c in first],
        )
        return figure


def _unit(sizes: pd.Series) -> tuple[float, str]:
    """Divisor and its word that bring most sizes above 1."""
    for divisor, word in ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands")):
        if sizes.median() >= divisor:
            return divisor, word
    return 1.0, "count"


def _profile(
    axes: Axes,
    runs: pd.DataFrame,
    fit: IsoflopFit,
    profile: ProfileFit,
    colour: tuple[float, ...],
    unit: float,
) -> None:
    low, high = profile.flops_range
    mine = runs[runs["flops"].between(low * 0.999, high * 1.001)]
    means = mine["loss"].groupby(mine["parameters_active_non_embedding"]).mean()
    axes.plot(
        means.index.to_numpy() / unit,
        means,
        linestyle="none",
        marker="o",
        color=colour,
        markersize=3.2,
        zorder=3,
    )
    if not profile.usable or profile.parameters is None or profile.loss is None:
        return
    first, last = profile.parameters_range
    size = np.geomspace(min(first, profile.parameters), max(last, profile.parameters), 80)
    axes.plot(size / unit, curve(fit, profile, size), color=colour, linewidth=1)
    axes.plot(
        profile.parameters / unit, profile.loss, "D", markersize=4.5, markerfacecolor="white",
        markeredgecolor=INK, markeredgewidth=0.9, zorder=4,
    )  # fmt: skip


def curve(fit: IsoflopFit, profile: ProfileFit, size: Array) -> Array:
    """Losses of a profile's curve at sizes N: of the shape that all profiles have (`laws.valley`), with the
    lowest point and the curvature of this one."""
    if profile.parameters is None or profile.loss is None or profile.curvature is None:
        raise ValueError("a profile without a lowest point has no curve")
    t = np.log(size / profile.parameters)
    bowl = t**2
    if fit.shape is not None:
        alpha, beta = fit.shape
        bowl = 2 * (np.expm1(beta * t) / beta + np.expm1(-alpha * t) / alpha) / (alpha + beta)
    rise = profile.curvature * bowl
    return np.asarray(profile.loss * np.exp(rise) if fit.log_loss else profile.loss + rise)
