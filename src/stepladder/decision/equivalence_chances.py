"""What a ladder whose rule asks for equal losses will be able to tell: climbs are simulated, and judged by
the tests that will judge the real one.

Only seed noise is drawn. A change that should only be faster trains by the same settings as its reference:
what is undertuned of the one is undertuned of the other, and cells off a smooth law do not matter where no
law is asked. A true difference is the same at every rung and moves the intervals of a climb along with it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stepladder.decision.assumptions import NoiseLine
from stepladder.decision.cells import Cells
from stepladder.decision.climbs import Pair
from stepladder.decision.comparison import Equivalence, Outcome
from stepladder.decision.deviations import Deviations
from stepladder.decision.equivalence import decide_equivalent, equivalence, not_shared
from stepladder.decision.noise import measure_noise
from stepladder.laws.forms import Array
from stepladder.schema.analysis import AnalysisConfig, MisfitPrior

CLIMBS = 400
"""Climbs that are judged: a chance of 50 % has a standard error of 2.5 points, one of 5 % of 1.1."""

AS_SURE = 4
"""Climbs that are as sure as one whose noise is measured: how far the means of seeds are off does not depend
on how the seeds scatter about them."""

DIFFERENCES = (0.0, 0.5, 1.0, 2.0)
"""True differences of log loss whose verdicts are simulated, in margins."""

STREAM = 3
"""Of random numbers."""

Chances = dict[float, dict[Outcome, float]]
"""True difference, in margins, to how often each verdict follows from it."""


@dataclass(frozen=True)
class EquivalenceSimulation:
    """Climbs of one ladder in which no variant differs from another."""

    cells: Cells
    noise: NoiseLine
    config: AnalysisConfig
    climbs: int = CLIMBS

    def chances(self, pairs: Sequence[Pair]) -> dict[Pair, Chances]:
        """How often each verdict follows, for each pair."""
        deviations = Deviations(self.cells, self.noise, MisfitPrior(exactly=0.0, share=0.0))
        drawn = deviations.draw(self.climbs, (self.config.seed, STREAM))
        means = drawn @ deviations.means
        judged: dict[Pair, list[Equivalence]] = {pair: [] for pair in pairs}
        for b in range(0, self.climbs, AS_SURE):
            cells = self._climbed(drawn[b], means[b])
            noise = measure_noise(cells, stated=self.config.noise)
            for pair in pairs:
                found = equivalence(cells, noise, *pair, self.config.verdict)
                off = self._differences(means[b : b + AS_SURE], pair)
                judged[pair] += [shifted(found, one - off[0]) for one in off]
        return {pair: self._shares(pair, climbs) for pair, climbs in judged.items()}

    def _climbed(self, runs: Array, means: Array) -> Cells:
        """The ladder with these log losses of runs (R,) and cells (M,)."""
        return replace(
            self.cells,
            runs=self.cells.runs.assign(log_loss=runs, loss=np.exp(runs)),
            table=self.cells.table.assign(log_loss=means, loss=np.exp(means)),
        )

    def _differences(self, means: Array, pair: Pair) -> Array:
        """(B, S) log loss of candidate less reference at the places that both run, smallest first."""
        mine, theirs = (self.cells.of(name) for name in pair)
        shared = set(mine["step"]) & set(theirs["step"])
        ours, others = (means[:, own.index[own["step"].isin(shared)]] for own in (mine, theirs))
        return np.asarray(ours - others)

    def _shares(self, pair: Pair, found: Sequence[Equivalence]) -> Chances:
        missing, margin = not_shared(self.cells, *pair), math.log1p(self.config.verdict.margin or 0.0)
        outcomes: tuple[Outcome, ...] = ("equivalent", "unknown", "not equivalent")
        shares: Chances = {}
        for margins in DIFFERENCES:
            verdicts = Counter(
                decide_equivalent(shifted(one, np.full(len(one.rungs), margins * margin)), missing).verdict
                for one in found
            )
            shares[margins] = {outcome: verdicts[outcome] / len(found) for outcome in outcomes}
        return shares


def shifted(found: Equivalence, by: Array) -> Equivalence:
    """The same climb where the candidate's log loss is higher by so much (S,) at each rung."""
    rows = tuple(
        row.model_copy(
            update={
                "difference": row.difference + off,
                "interval": (row.interval[0] + off, row.interval[1] + off),
                "sure": (row.sure[0] + off, row.sure[1] + off),
            }
        )
        for row, off in zip(found.rungs, by.tolist(), strict=True)
    )
    return found.model_copy(update={"rungs": rows})
