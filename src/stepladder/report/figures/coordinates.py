"""The coordinate check: the scale of activations over width and depth."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stepladder.record.coordinates import Axis, CoordinateCheck
from stepladder.report.figures.style import GREY, legend_above, log_axis, new_figure, padded, styled

COLOURS = {"embedding": "#0072B2", "middle layer": "#E69F00", "last layer": "#D55E00"}
LABELS: dict[Axis, str] = {"width": "Width d_model (features)", "depth": "Layers"}


def coordinates_figure(found: CoordinateCheck) -> Figure:
    """A panel for width, and one for depth where that was checked."""
    axes_there: list[Axis] = [axis for axis in LABELS if any(row.axis == axis for row in found.rows)]
    with styled():
        figure, grid = new_figure(2.6, ncols=max(len(axes_there), 2), squeeze=False, sharey=True)
        for panel in grid[0, len(axes_there) :]:
            panel.set_axis_off()
        for panel, axis in zip(grid[0], axes_there, strict=False):
            mine = [row for row in found.rows if row.axis == axis]
            sizes = [row.d_model if axis == "width" else row.n_layers for row in mine]
            for place, colour in COLOURS.items():
                rows = [(s, row) for s, row in zip(sizes, mine, strict=True) if row.place == place]
                x = [size for size, _ in rows]
                panel.plot(
                    x, [row.before for _, row in rows], color=colour, linestyle=(0, (1.2, 1.2)), linewidth=1
                )
                panel.plot(x, [row.after for _, row in rows], color=colour, marker="o", markersize=4)
            log_axis(panel, "x", *padded(sizes, 0.08))
            panel.set_xticks(sorted(set(sizes)), [str(size) for size in sorted(set(sizes))])
            panel.set_xlabel(LABELS[axis])
            panel.set_ylim(0, 1.15 * max(row.after for row in found.rows))
        grid[0, 0].set_ylabel("Root mean square of activations")
        handles = [Line2D([], [], color=colour, marker="o", label=place) for place, colour in COLOURS.items()]
        handles.append(Line2D([], [], color=GREY, linestyle=(0, (1.2, 1.2)), label="before training"))
        legend_above(figure, handles)
        return figure
