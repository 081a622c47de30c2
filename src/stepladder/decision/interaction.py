"""Does a recipe save as much on another architecture? The ratio of its gains there and here.

With a0 and r0 the baseline's architecture and recipe: EG of a-r over a-r0, divided by EG of a0-r over a0-r0.
A ratio of 1 means that the savings of the two ideas multiply.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.cells import Cells, kinds_of
from stepladder.decision.comparison import Interaction
from stepladder.decision.efficiency import PlacedGain, PooledGain
from stepladder.decision.gain import LogGains, log_gains
from stepladder.laws.forms import Array
from stepladder.schema.analysis import AnalysisConfig, Axis


def interactions(
    cells: Cells,
    replicates: Mapping[Axis, Array | None],
    fits: Mapping[Axis, AxisFit],
    config: AnalysisConfig,
) -> list[Interaction]:
    """One row per recipe, architecture and axis for which the ladder has all four variants.

    All gains come from the same replicates, so that what the four variants share cancels.
    """
    rows = []
    for recipe, architecture, names in squares(cells, config.baseline):
        for axis, fit in fits.items():
            there, there_plain, here, here_plain = names
            head = {"recipe": recipe, "architecture": architecture, "variants": names, "axis": axis}
            if reason := fit.why_not(there_plain, here_plain):
                rows.append(Interaction(**head, reason=reason))
                continue
            first = log_gains(cells, replicates[axis], fit, there, there_plain)
            second = log_gains(cells, replicates[axis], fit, here, here_plain)
            found = ratio(first, second, config.confidence)
            if found is None:
                rows.append(Interaction(**head, reason="the two gains share no rung"))
                continue
            rows.append(Interaction(**head, reason=None, pooled=found[0], at_largest=found[1]))
    return rows


def squares(cells: Cells, baseline: str) -> list[tuple[str, str, list[str]]]:
    """(recipe, architecture, [a-r, a-r0, a0-r, a0-r0]) wherever each of the four is exactly one variant; of
    several corpora on the baseline's."""
    a0, r0, corpus = kinds_of(cells)[baseline]
    kinds: dict[tuple[str, str], list[str]] = {}
    for name, kind in kinds_of(cells).items():
        if kind.corpus == corpus:
            kinds.setdefault((kind.architecture, kind.recipe), []).append(name)
    found = []
    for a, r in kinds:
        four = [kinds.get(kind, []) for kind in ((a, r), (a, r0), (a0, r), (a0, r0))]
        if a != a0 and r != r0 and all(len(names) == 1 for names in four):
            found.append((r, a, [names[0] for names in four]))
    return found


def ratio(first: LogGains, second: LogGains, confidence: float) -> tuple[PooledGain, PlacedGain] | None:
    """Ratio of two gains over the places of the ladder (rung and budget) that both have: pooled, and at the
    largest of them; None where they have none in common."""
    places = [list(gains.cells["step"]) for gains in (first, second)]
    steps = sorted(set(places[0]) & set(places[1]))
    if not steps:
        return None
    i, j = ([place.index(step) for step in steps] for place in places)
    draws = means = top = None
    with np.errstate(invalid="ignore"):  # infinite over infinite: NaN
        point = first.point[i] - second.point[j]
        if first.draws is not None and second.draws is not None:
            draws = first.draws[:, i] - second.draws[:, j]
            means, top = draws.mean(axis=1), draws[:, -1]
        pooled = PooledGain.of_logs(point.mean(), means, confidence, n_rungs=len(steps))
    label = first.cells["label"].iloc[i[-1]]
    return pooled, PlacedGain.of_logs(point[-1], top, confidence, label=label)
