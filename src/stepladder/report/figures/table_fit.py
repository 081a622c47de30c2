"""One fit in one figure: the law against the rows, and what is left."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stepladder.documents.files import write_atomically
from stepladder.laws.forms import LAWS
from stepladder.laws.law_fit import LawFit
from stepladder.laws.table_fit import inputs_of
from stepladder.report.figures.style import GREY, INK, TEXT_WIDTH


def draw_fit(table: pd.DataFrame, fit: LawFit, path: Path) -> None:
    """Losses over the law's first input with the prediction of every row, and residuals over predicted loss.

    Raises:
        ValueError: matplotlib cannot write the file's suffix.
    """
    law = LAWS[fit.law]()
    first = law.inputs[0]
    x, loss = inputs_of(law, table)[first], table["loss"].to_numpy(dtype=float)
    residual = np.array(fit.residuals.values)
    predicted = loss * np.exp(-residual)
    figure = Figure(figsize=(TEXT_WIDTH, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.vlines(x, loss, predicted, color=GREY, linewidth=0.5)
    left.scatter(x, loss, s=8, color="#0072B2", label="observed", linewidths=0)
    left.scatter(x, predicted, s=8, facecolors="none", edgecolors=INK, linewidths=0.5, label="predicted")
    left.set(xscale="log", xlabel=first.replace("_", " "), ylabel="loss (nats/token)")
    left.legend(frameon=False, fontsize=7)
    left.set_title(f"{fit.formula},  n = {fit.n}", fontsize=8, loc="left")
    right.axhline(0, color=GREY, linewidth=0.8)
    right.scatter(predicted, 100 * residual, s=8, color="#0072B2", linewidths=0)
    right.set(xlabel="predicted loss (nats/token)", ylabel="residual (% of loss)")
    right.set_title(f"residual sd {100 * fit.residuals.sd:.2f} %", fontsize=8, loc="left")
    for axes in (left, right):
        axes.tick_params(labelsize=7)
        axes.xaxis.label.set_size(8)
        axes.yaxis.label.set_size(8)
        axes.spines[["top", "right"]].set_visible(False)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=200, format=path.suffix.lower().removeprefix("."))
    write_atomically(path, drawn.getvalue())
