"""Does a recipe save as much on another architecture? The ratio of its gains there and here.

With a0 and r0 the baseline's architecture and recipe: EG of a-r over a-r0, divided by EG of a0-r over a0-r0.
A ratio of 1 means that the savings of the two ideas multiply.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stepladder.decision.cells import Cells
from stepladder.decision.gain import LogGains, log_gains
from stepladder.laws.forms import Array
from stepladder.laws.invert import summarize
from stepladder.schema.analysis import AnalysisConfig


def interactions(
    cells: Cells, replicates: dict[str, Array | None], fits: dict[str, dict[str, Any]], config: AnalysisConfig
) -> list[dict[str, Any]]:
    """One row per recipe, architecture and axis for which the ladder has all four variants.

    All gains come from the same replicates, so that what the four variants share cancels.
    """
    rows = []
    for recipe, architecture, names in squares(cells, config.baseline):
        for axis, fit in fits.items():
            head = {"recipe": recipe, "architecture": architecture, "variants": names, "axis": axis}
            there, there_plain, here, here_plain = names
            inverted = [there_plain, here_plain]
            reason = fit["reason"] or next(filter(None, (fit["laws"][n]["reason"] for n in inverted)), None)
            if reason:
                rows.append(head | {"reason": reason, "pooled": None, "at_largest": None})
                continue
            first = log_gains(cells, replicates[axis], fit, there, there_plain)
            second = log_gains(cells, replicates[axis], fit, here, here_plain)
            rows.append(head | ratio(first, second, config.confidence))
    return rows


def squares(cells: Cells, baseline: str) -> list[tuple[str, str, list[str]]]:
    """(recipe, architecture, [a-r, a-r0, a0-r, a0-r0]) wherever each of the four is exactly one variant."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for row in cells.runs.drop_duplicates("variant").to_dict("records"):
        kinds.setdefault((row["architecture"], row["recipe"]), []).append(row["variant"])
    a0, r0 = next(kind for kind, names in kinds.items() if baseline in names)
    found = []
    for a, r in kinds:
        four = [kinds.get(kind, []) for kind in ((a, r), (a, r0), (a0, r), (a0, r0))]
        if a != a0 and r != r0 and all(len(names) == 1 for names in four):
            found.append((r, a, [names[0] for names in four]))
    return found


def ratio(first: LogGains, second: LogGains, confidence: float) -> dict[str, Any]:
    """Ratio of two gains over the places of the ladder (rung and budget) that both have."""
    places = [list(gains.cells["step"]) for gains in (first, second)]
    steps = sorted(set(places[0]) & set(places[1]))
    if not steps:
        return {"reason": "the two gains share no rung", "pooled": None, "at_largest": None}
    i, j = ([place.index(step) for step in steps] for place in places)
    draws = means = top = None
    with np.errstate(invalid="ignore"):  # infinite over infinite: NaN
        point = first.point[i] - second.point[j]
        if first.draws is not None and second.draws is not None:
            draws = first.draws[:, i] - second.draws[:, j]
            means, top = draws.mean(axis=1), draws[:, -1]
        pooled = summarize(point.mean(), means, confidence)
    label = first.cells["label"].iloc[i[-1]]
    return {
        "reason": None,
        "pooled": pooled | {"n_rungs": len(steps)},
        "at_largest": summarize(point[-1], top, confidence) | {"label": label},
    }
