"""Tasks in two steps: compute to bits per byte, bits per byte to accuracy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stepladder.decision.tasks import TaskLaw, TaskLaws
from stepladder.report.figures.style import (
    GREY,
    Styles,
    compute_scale,
    legend_above,
    new_figure,
    styled,
)

MOST = 4
"""Tasks that are drawn; tables have all."""


def has_steps(found: TaskLaws) -> bool:
    """Whether any task has laws."""
    return any(law.second is not None for law in found.tasks)


def tasks_figure(runs: pd.DataFrame, found: TaskLaws, styles: Styles) -> Figure:
    """A column for each task that has laws, the first few: means over the seeds of a variant at a rung."""
    laws = [law for law in found.tasks if law.second is not None][:MOST]
    with styled():
        figure, grid = new_figure(3.6, nrows=2, ncols=len(laws), squeeze=False)
        divisor, unit = compute_scale([runs["flops"].max()])
        for column, law in zip(grid.T, laws, strict=True):
            cells = mean_scores(runs, law.task)
            for variant, style in styles.items():
                own = cells[cells["variant"] == variant].sort_values("flops")
                x = own["flops"] / divisor
                column[0].plot(x, own["bits"], color=style.colour, linestyle=style.line, linewidth=0.8)
                for axes, across, up in (
                    (column[0], x, own["bits"]),
                    (column[1], own["bits"], own["accuracy"]),
                ):
                    axes.plot(across, up, style.marker, color=style.colour, markersize=3.5)
            draw_curve(column[1], law, cells["bits"])
            column[0].set_title(law.task)
            column[0].set_xscale("log")
            column[0].set_xlabel(f"Training compute ({unit})")
            column[1].set_xlabel("Bits per byte of the right answers")
            column[1].invert_xaxis()
        grid[0, 0].set_ylabel("Bits per byte")
        grid[1, 0].set_ylabel("Accuracy")
        handles = [
            Line2D([], [], color=s.colour, linestyle=s.line, marker=s.marker, markersize=3.5, label=v)
            for v, s in styles.items()
        ]
        handles.append(Line2D([], [], color=GREY, linewidth=0.6, linestyle=(0, (2, 2)), label="chance"))
        legend_above(figure, handles)
        return figure


def draw_curve(axes: Axes, law: TaskLaw, bits: pd.Series) -> None:
    """The second step from the smallest to the largest bits, and chance."""
    assert law.second is not None
    told = {name: estimate.value for name, estimate in law.second.parameters.items()}
    floor, slope, middle = (told[name] for name in ("R0", "k", "b_mid"))
    if law.chance is not None:
        axes.axhline(law.chance, color=GREY, linewidth=0.6, linestyle=(0, (2, 2)))
    if floor is not None and slope is not None and middle is not None:
        b = np.linspace(bits.min(), bits.max(), 100)
        axes.plot(b, floor + (1 - floor) / (1 + np.exp(slope * (b - middle))), color=GREY, linewidth=0.9)


def mean_scores(runs: pd.DataFrame, task: str) -> pd.DataFrame:
    """A row per variant, rung and budget."""
    columns = {"bits": f"task_{task}_bits_per_byte", "accuracy": f"task_{task}_accuracy", "flops": "flops"}
    grouped = runs.groupby(["variant", "rung", "budget"], as_index=False, sort=False)
    return grouped.agg(**{name: (column, "mean") for name, column in columns.items()})
