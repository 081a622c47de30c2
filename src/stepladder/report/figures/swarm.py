"""The swarm of mixtures: how well its law foretells runs it has not seen, and the loss over each share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stepladder.record.foretold import Interval
from stepladder.record.swarm import DomainShare, Profile, SwarmOutcome
from stepladder.report.figures.style import GREY, INK, legend_above, new_figure, styled, variant_styles

DOTTED = (0, (1.2, 1.6))

COLUMNS = 3
"""Panels side by side."""


def swarm_figure(found: SwarmOutcome) -> Figure:
    """A panel of predicted against observed losses, then one per domain of the mixture."""
    n = 1 + len(found.profiles)
    columns = min(n, COLUMNS)
    rows = -(-n // columns)
    styles = variant_styles([row.domain for row in found.domains])
    with styled():
        figure, grid = new_figure(2.5 * rows, nrows=rows, ncols=columns, squeeze=False)
        panels: list[Axes] = list(grid.flat)
        for panel in panels[n:]:
            panel.set_axis_off()
        _ranking(panels[0], found)
        shares = {row.domain: row for row in found.domains}
        limits = _limits(found.profiles)
        for panel, profile in zip(panels[1:], found.profiles, strict=False):
            tried = [run.shares[profile.domain] for run in found.runs]
            _share(panel, profile, shares[profile.domain], tried, styles[profile.domain].colour)
            panel.set_ylim(*limits)
        handles = [
            Line2D([], [], color=INK, linewidth=0.8, linestyle=DOTTED, label="baseline"),
            Line2D([], [], color=INK, linewidth=0.8, label="best"),
            Line2D([], [], color=GREY, linestyle="none", marker="|", label="tried"),
        ]
        legend_above(figure, handles)
        return figure


def _ranking(axes: Axes, found: SwarmOutcome) -> None:
    """Observed loss against that by the law of all others."""
    mine = [run for run in found.runs if run.id.startswith(f"{found.baseline}/")]
    drawn = [run for run in found.runs if run not in mine]
    axes.plot([run.predicted for run in drawn], [run.loss for run in drawn], "o", color=GREY, markersize=3.5)
    axes.plot([run.predicted for run in mine], [run.loss for run in mine], "s", color=INK, markersize=4.5)
    every = [value for run in found.runs for value in (run.loss, run.predicted)]
    ends = (min(every), max(every))
    axes.plot(ends, ends, color=INK, linewidth=0.7, zorder=1)
    axes.set_xlabel("Expected by the others (nats/token)")
    axes.set_ylabel("Target loss (nats/token)")


def _share(axes: Axes, profile: Profile, row: DomainShare, tried: Sequence[float], colour: str) -> None:
    """Target loss over the share of one domain."""
    x, losses = 100 * np.array(profile.share), profile.loss
    low, high = zip(*map(_ends, profile.band, losses), strict=True)
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(x, losses, color=colour)
    axes.axvline(100 * row.baseline, color=INK, linewidth=0.8, linestyle=DOTTED)
    axes.axvline(100 * row.share, color=INK, linewidth=0.8)
    ticks = [0.02] * len(tried)
    at_the_foot = axes.get_xaxis_transform()
    axes.plot(100 * np.array(tried), ticks, "|", color=GREY, markersize=5, transform=at_the_foot)
    axes.set_xlabel(f"Share of {profile.domain} (%)")
    axes.set_ylabel("Target loss (nats/token)")


def _ends(band: Interval, instead: float) -> tuple[float, float]:
    """Ends to draw a band by: `instead` of those that are infinite."""
    low, high = (instead if end is None else end for end in band)
    return low, high


def _limits(profiles: tuple[Profile, ...]) -> tuple[float, float]:
    """One loss axis for all domains: all curves, but no band that would flatten them."""
    losses = np.array([loss for profile in profiles for loss in profile.loss])
    low, high = losses.min(), losses.max()
    room = 0.35 * max(high - low, 1e-3)
    return low - room, high + room
