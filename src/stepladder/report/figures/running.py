"""How the runs ran: training curves, MFU, where the time went."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stepladder.display.numbers import duration
from stepladder.report.figures.style import (
    GREY,
    PARTS,
    TALLEST,
    Styles,
    compute_scale,
    legend_above,
    new_figure,
    shortened,
    styled,
    variant_legend,
)

NEXT_TOKEN = "next_token"
"""Name of the phase whose loss is the ordinary one, by convention of the recipes (docs/extending.md)."""


def training_figure(steps: pd.DataFrame, rungs: list[str], styles: Styles) -> Figure:
    """Training loss against FLOPs, one panel per rung: each variant's first seed at its largest budget.

    A phase whose loss is on another scale (any but `next_token`) is drawn thin, and a switch marked.
    """
    with styled():
        columns = 2 if len(rungs) in (2, 4) else min(3, len(rungs))
        rows = math.ceil(len(rungs) / columns)
        figure, grid = new_figure(0.35 + 1.6 * rows, nrows=rows, ncols=columns, squeeze=False)
        for axes in grid.flat[len(rungs) :]:
            axes.set_axis_off()
        others: list[str] = []
        switched = False
        for axes, rung in zip(grid.flat, rungs, strict=False):
            axes.set_title(rung)
            here = steps[steps["rung"] == rung]
            if here.empty:
                axes.text(0.5, 0.5, "no steps were logged", transform=axes.transAxes, ha="center", color=GREY)
                continue
            divisor, unit = compute_scale([here["flops"].max()])
            settled: list[pd.Series] = []
            for variant, style in styles.items():
                curve = _one_run(here[here["variant"] == variant])
                phases = list(dict.fromkeys(curve["phase"]))
                window = max(1, len(curve) // 20)
                for phase in phases:
                    part = curve[curve["phase"] == phase]
                    x, y = part["flops"] / divisor, part["loss"].rolling(window, min_periods=1).mean()
                    usual = phase == NEXT_TOKEN
                    axes.plot(
                        x,
                        y,
                        color=style.colour,
                        linestyle=style.line if usual else "-",
                        linewidth=1.1 if usual else 0.6,
                        alpha=1 if usual else 0.6,
                    )
                    settled.append(y.iloc[len(y) // 10 :])
                    if not usual:
                        others.append(str(phase))
                    if phase != phases[-1]:
                        switched = True
                        axes.axvline(x.iloc[-1], color=style.colour, linewidth=0.6, linestyle=(0, (2, 2)))
                        axes.plot(x.iloc[-1], y.iloc[-1], "|", color=style.colour, markersize=7)
            values = pd.concat(settled)
            low, high = values.min(), values.quantile(0.97)
            axes.set_ylim(low - 0.05 * (high - low), high + 0.12 * (high - low))
            axes.set_xlim(left=0)
            axes.set_xlabel(f"Training compute ({unit})")
        for axes in grid[:, 0]:
            axes.set_ylabel("Loss (nats/token)")
        handles = [Line2D([], [], color=s.colour, linestyle=s.line, label=v) for v, s in styles.items()]
        if others:
            names = ", ".join(dict.fromkeys(others))
            handles.append(Line2D([], [], color=GREY, linewidth=0.8, label=f"{names} phase"))
        if switched:
            handles.append(Line2D([], [], color=GREY, linewidth=0.6, linestyle=(0, (2, 2)), label="switch"))
        legend_above(figure, handles)
        return figure


def _one_run(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows of the longest run of the lowest seed."""
    first = curves[curves["seed"] == curves["seed"].min()]
    longest = first.loc[first["flops"].idxmax(), "id"] if len(first) else None
    rows: pd.DataFrame = first[first["id"] == longest].sort_values("step")
    return rows


def mfu_figure(runs: pd.DataFrame, rungs: list[str], styles: Styles) -> Figure | None:
    """Median MFU of each run with its 10th to 90th percentile of steps, by rung; None when no run has one."""
    if "mfu_median" not in runs or runs["mfu_median"].isna().all():
        return None
    with styled():
        figure, axes = new_figure(1.75)
        offsets = _dodge(len(styles))
        for (variant, style), offset in zip(styles.items(), offsets, strict=True):
            known = runs[(runs["variant"] == variant) & runs["mfu_median"].notna()]
            rank = known.groupby("rung")["mfu_median"].cumcount()
            x = known["rung"].map(rungs.index) + offset + 0.03 * rank
            middle = 100 * known["mfu_median"]
            spread = [middle - 100 * known["mfu_p10"], 100 * known["mfu_p90"] - middle]
            axes.errorbar(
                x,
                middle,
                yerr=spread,
                fmt=style.marker,
                color=style.colour,
                label=variant,
                markersize=4,
                elinewidth=0.7,
                linestyle="none",
            )
        axes.set_xticks(range(len(rungs)), rungs)
        axes.set_xlabel("Rung")
        axes.set_ylabel("MFU (% of peak)")
        axes.set_ylim(bottom=0)
        axes.grid(visible=False, axis="x")
        variant_legend(figure, styles, lines=False)
        return figure


def time_figure(runs: pd.DataFrame, rungs: list[str], variants: list[str]) -> Figure:
    """Share of wall time by cause, one bar per rung and variant (means over its runs), total at the right."""
    with styled():
        present = {
            part: look for part, look in PARTS.items() if part == "other" or f"seconds_{part}" in runs.columns
        }
        means = runs.groupby(["rung", "variant"]).mean(numeric_only=True).to_dict("index")
        bars = [(rung, variant) for rung in rungs for variant in variants if (rung, variant) in means]
        row = min(0.14, (TALLEST - 0.7 - 0.08 * len(rungs)) / len(bars))
        size = 7.5 * row / 0.14
        figure, axes = new_figure(0.7 + row * len(bars) + 0.08 * len(rungs))
        y, labels, previous = 0.0, [], None
        shown: set[str] = set()
        for rung, variant in bars:
            y -= 1.0 if rung == previous or previous is None else 1.6
            previous = rung
            seconds = means[rung, variant]
            total, left = seconds["seconds_total"], 0.0
            known = {p: seconds[f"seconds_{p}"] for p in present if p != "other"}
            known["other"] = max(0.0, total - sum(v for v in known.values() if not math.isnan(v)))
            for part, value in known.items():
                share = 100 * value / total
                if math.isnan(share) or share <= 0:
                    continue
                label, colour, hatch = present[part]
                axes.barh(
                    y,
                    share,
                    left=left,
                    height=0.78,
                    color=colour,
                    hatch=hatch,
                    edgecolor="white",
                    linewidth=0.3,
                    label=None if part in shown else label,
                )
                shown.add(part)
                left += share
            axes.text(101, y, duration(total), va="center", fontsize=size)
            labels.append((y, shortened(f"{rung}  {variant}", 36)))
        axes.set_yticks([at for at, _ in labels], [text for _, text in labels], fontsize=size)
        axes.set_xlim(0, 100)
        axes.set_ylim(y - 0.6, -0.4)
        axes.set_xlabel("Share of the run's wall time (%)")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        figure.legend(loc="outside upper center", ncols=4)
        return figure


def _dodge(n: int) -> list[float]:
    """Offsets that spread n series around a category."""
    return [(i - (n - 1) / 2) * 0.7 / max(n, 1) for i in range(n)]
