"""The look of all figures, in one place.

Colours are Okabe and Ito's (2008), which colour-blind readers can tell apart; each variant also has
its own marker and line style, so that a greyscale print can be read. Figures are as wide as the
page's text, so that their type has the size it is set in. Text stays text in the SVG: the page is
laid out with matplotlib's own STIX font and typeset in the report's font, which has like widths.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from stepladder.display.numbers import exponential, is_number, scale
from stepladder.documents.files import write_atomically

TEXT_WIDTH = 6.69
"""Width of the report's text in inches (A4 with margins of 20 mm)."""
TALLEST = 8.5
"""Height of a figure that leaves room for its caption on the page, inches."""
REPORT_FONT = "Libertinus Serif"
_LAYOUT_FONT = "STIXGeneral"
_FALLBACK_FONT = "DejaVu Sans"
INK, GREY, FAINT = "#1a1a1a", "#6b6b6b", "#d9d9d9"

_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
_MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
_LINES: list[Any] = [
    "-",
    (0, (5, 1.6)),
    (0, (6, 1.6, 1, 1.6)),
    (0, (1.2, 1.2)),
    (0, (3, 1)),
    (0, (8, 2)),
    "-",
]

PARTS = {
    "forward": ("forward", "#004C78", ""),
    "backward": ("backward", "#0072B2", ""),
    "optimizer": ("optimizer", "#56B4E9", "////"),
    "data": ("data", "#009E73", ""),
    "communication": ("communication", "#F0E442", "...."),
    "evaluation": ("evaluation", "#E69F00", "\\\\\\\\"),
    "checkpoint": ("checkpoint", "#D55E00", ""),
    "startup": ("start-up", "#CC79A7", "xxxx"),
    "lost": ("lost to restarts", "#1a1a1a", ""),
    "stall": ("stall", "#6b6b6b", "...."),
    "other": ("other", "#d9d9d9", ""),
}
"""Where a run's time goes: column suffix to label, colour and hatch, in drawing order."""


@dataclass(frozen=True)
class VariantStyle:
    """How one variant is drawn, in every figure the same."""

    colour: str
    marker: str
    line: Any


Styles = dict[str, VariantStyle]
"""Variant to its look, in the ladder's order."""


def variant_styles(variants: Sequence[str]) -> Styles:
    """One style per variant, in the ladder's order."""
    return {
        variant: VariantStyle(_COLOURS[i % 7], _MARKERS[(i + i // 7) % 7], _LINES[(i + i // 7) % 7])
        for i, variant in enumerate(variants)
    }


@contextmanager
def styled() -> Iterator[None]:
    """Draw under the report's matplotlib settings."""
    with matplotlib.rc_context(
        {
            "font.family": [_LAYOUT_FONT, _FALLBACK_FONT],
            "font.size": 8.5,
            "axes.labelsize": 8.5,
            "axes.titlesize": 8.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "legend.handlelength": 2.6,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": GREY,
            "xtick.color": GREY,
            "ytick.color": GREY,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "axes.linewidth": 0.6,
            "xtick.major.width": 0.6,
            "ytick.major.width": 0.6,
            "xtick.major.size": 3,
            "ytick.major.size": 3,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#ececec",
            "grid.linewidth": 0.5,
            "axes.axisbelow": True,
            "lines.linewidth": 1.2,
            "lines.markersize": 4.5,
            "hatch.linewidth": 0.4,
            "axes.unicode_minus": True,
            "svg.fonttype": "none",
            "svg.hashsalt": "stepladder",
        }
    ):
        yield


def new_figure(height: float, **layout: Any) -> tuple[Figure, Any]:
    """An empty figure as wide as the text, `height` inches tall, with the axes that `layout` asks for."""
    figure = Figure(figsize=(TEXT_WIDTH, height), layout="constrained")
    return figure, figure.subplots(**layout)


def variant_legend(figure: Figure, styles: Styles, *, lines: bool, extra: Sequence[Line2D] = ()) -> None:
    """One legend above all panels; `lines` when the variants are drawn with lines too."""
    handles = [
        Line2D([], [], color=s.colour, marker=s.marker, linestyle=s.line if lines else "none", label=variant)
        for variant, s in styles.items()
    ] + list(extra)
    legend_above(figure, handles)


def legend_above(figure: Figure, handles: Sequence[Line2D]) -> None:
    """One legend above all panels, in as many columns as fit into the figure's width.

    A legend of many rows makes the figure taller: what it needs is not taken from the panels.
    """
    for handle in handles:
        handle.set_label(shortened(str(handle.get_label()), LEGEND_LABEL))
    one = figure.legend(handles=handles, ncols=1)
    fitting = int(figure.bbox.width // one.get_window_extent().width)
    one.remove()
    # Columns are as wide as their own labels, so that more may fit than of the widest.
    for columns in range(min(len(handles), 2 * max(1, fitting)), 0, -1):
        legend = figure.legend(handles=handles, loc="outside upper center", ncols=columns)
        size = legend.get_window_extent()
        if columns == 1 or size.width < 0.97 * figure.bbox.width:
            height = size.height / figure.dpi
            if height > TWO_ROWS:
                figure.set_figheight(figure.get_figheight() + height - TWO_ROWS / 2)
            return
        legend.remove()


LEGEND_LABEL = 90
"""Characters of a label that the page's width holds."""
TWO_ROWS = 0.42
"""Height of a legend of two rows, inches: figures have that much room."""


def shortened(text: str, most: int) -> str:
    """A text of at most `most` characters: beginnings and ends of variants' names tell more than middles."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def save_svg(figure: Figure, path: Path) -> Path:
    """Write a vector figure whose bytes depend on nothing but its contents."""
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    write_atomically(path, buffer.getvalue().replace(_LAYOUT_FONT, REPORT_FONT))
    return path


def log_ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers between two positive limits: per decade 1-2-5, 1-3, 1, or every few."""
    decades = range(max(math.floor(math.log10(low)), -307), min(math.ceil(math.log10(high)), 307) + 1)
    ladders = [
        [m * 10.0**k for k in decades for m in mantissas] for mantissas in ((1, 2, 5), (1, 3), (1,))
    ] + [[10.0**k for k in decades if k % step == 0] for step in (2, 3, 4, 10, 50, 100)]
    inside = [[t for t in ticks if low <= t <= high] for ticks in ladders]
    return next((ticks for ticks in inside if len(ticks) <= 7), inside[-1])


def log_axis(axes: Axes, which: str, low: float, high: float) -> None:
    """Log scale from `low` to `high` with sparse, plain tick labels."""
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    axis = getattr(axes, f"{which}axis")
    ticks = log_ticks(low, high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_ticklabels([f"{t:,.10g}".replace(",", "\N{THIN SPACE}") for t in ticks])


def padded(values: Sequence[float], share: float) -> tuple[float, float]:
    """Limits that leave `share` of the range in logs free on both sides, where floats have room for it."""
    logs = [math.log(v) for v in values if is_number(v) and v > 0]
    room = share * max(max(logs) - min(logs), 0.5)
    return max(exponential(min(logs) - room), sys.float_info.min), exponential(max(logs) + room)


def clipped(values: Any, limits: tuple[float, float], room: float = 10.0) -> Any:
    """Numbers as they are drawn on a linear axis: those further off the panel than `room` times its height
    are moved there, because a page cannot hold a point at 10¹⁸."""
    low, high = limits
    return np.clip(values, low - room * (high - low), high + room * (high - low))


def compute_scale(values: Sequence[float], unit: str = "FLOP") -> tuple[float, str]:
    """Divisor and unit for an axis: (1e12, "TFLOP")."""
    divisor, prefix = scale(list(values))
    return divisor, f"{prefix}{unit}"
