"""What a ladder will be able to tell: climbs are simulated, and judged by the code and the rule that will
judge the real one.

A few climbs are analysed whole, bootstrap included: they say how wide intervals will be. Of many more only
the laws are fitted, all at once; each takes the widths of one of the few, and the ladder's rule decides.
Costs are FLOPs: on time the chances are the same as far as step times do not scatter and candidate and
reference run at the same MFU.

Shapes: B climbs, R runs, M cells.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from stepladder.decision.assumptions import Truth
from stepladder.decision.cells import Cells, make_cells
from stepladder.decision.climbs import Pair, Reach, Sureness, estimate_climbs, judge_climbs, sureness
from stepladder.decision.compare import replicates_of
from stepladder.decision.comparison import Outcome
from stepladder.decision.deviations import Deviations
from stepladder.decision.fit import fit
from stepladder.decision.gain import gain
from stepladder.laws.forms import Array
from stepladder.laws.invert import predict
from stepladder.schema.analysis import AnalysisConfig

WHOLE = 6
"""Climbs that are analysed with their bootstrap."""

WHOLE_DRAWS = 200
"""Bootstrap draws of each."""

CLIMBS = 400
"""Climbs that are judged for each gain: a chance of 50 % has a standard error of 2.5 points, one of 5 % of
1.1."""

BOWL = 0.01
"""Log loss by which a size e times too small or too large is taken to be worse: any bowl has a lowest
point."""


@dataclass(frozen=True)
class Prospect:
    """What is to be expected of one pair."""

    largest: float
    """Half-width of the interval of ln EG at the largest rung, median over climbs; infinite where there is
    none."""
    target: float
    """The same at the target."""
    chances: dict[float, dict[Outcome, float]]
    """True EG to how often each verdict follows from it."""


def plan_cells(planned: pd.DataFrame) -> Cells:
    """Cells of runs that have not run: rows as in runs.parquet, without a loss.

    Profiles are taken to be lowest in their middle.
    """
    size = np.log(planned["parameters_active_non_embedding"].to_numpy(dtype=float))
    middle = pd.Series(size, planned.index).groupby([planned["variant"], planned["budget"]]).transform("mean")
    return make_cells(planned.assign(loss=np.exp(BOWL * (size - middle) ** 2)))


@dataclass(frozen=True)
class Simulation:
    """Climbs of one ladder under one truth."""

    cells: Cells
    truth: Truth
    config: AnalysisConfig
    pairs: tuple[Pair, ...]
    whole: int = WHOLE
    climbs: int = CLIMBS

    def prospect(self, pair: Pair, gains: Sequence[float]) -> Prospect:
        """What is to be expected of a pair, whose candidate has one of `gains` in truth."""
        sure = self.sureness[pair]
        return Prospect(
            largest=_half(one.largest for one in sure),
            target=_half(one.target for one in sure),
            chances={eg: self._chances(pair, eg) for eg in gains},
        )

    @cached_property
    def sureness(self) -> dict[Pair, list[Sureness]]:
        """How sure a few climbs, in which nothing gains anything, are of each pair."""
        losses = self.run_losses(self.whole, np.ones(len(self.cells.table)), 0)
        return analyse_whole(self.cells, losses, self.pairs, self.config)

    def _chances(self, pair: Pair, eg: float) -> dict[Outcome, float]:
        """How often each verdict follows where the pair's candidate has this gain."""
        sure = self.sureness[pair]
        if not sure:
            return {"promote": 0.0, "hold": 1.0, "reject": 0.0}
        gains = np.where(self.cells.variant == self.cells.variants.index(pair[0]), eg, 1.0)
        runs = self.run_losses(self.climbs, gains, 1 + int(1e6 * eg))
        climbs = estimate_climbs(
            self.cells, "flops", runs @ self.deviations.means, self.expected(1.0), self.config
        )
        verdicts = Counter(judge_climbs(climbs, pair, sure, self.config))
        outcomes: tuple[Outcome, ...] = ("promote", "hold", "reject")
        return {outcome: verdicts[outcome] / self.climbs for outcome in outcomes}

    def expected(self, gains: Array | float) -> Array:
        """(M,) log losses of the cells, by the law."""
        return np.asarray(np.log(predict(self.truth.law, gains * self.cells.cost("flops"))))

    def run_losses(self, climbs: int, gains: Array, stream: int) -> Array:
        """Log losses (B, R) of all runs.

        Args:
            gains: (M,) true EG of each cell.
            stream: of random numbers.
        """
        off = self.deviations.draw(climbs, (self.config.seed, stream))
        return np.asarray(self.expected(gains)[self.deviations.cell] + off)

    @cached_property
    def deviations(self) -> Deviations:
        """What moves runs off the law."""
        return Deviations(self.cells, self.truth.noise, self.config.misfit)


def analyse_whole(
    cells: Cells, run_losses: Array, pairs: Sequence[Pair], config: AnalysisConfig
) -> dict[Pair, list[Sureness]]:
    """How sure each of a few climbs is of each pair. One whose laws cannot be inverted is left out.

    Args:
        run_losses: log losses (B, R).
    """
    quick = config.model_copy(
        update={"leave_one_out": False, "bootstrap_draws": min(WHOLE_DRAWS, config.bootstrap_draws)}
    )
    found: dict[Pair, list[Sureness]] = {pair: [] for pair in pairs}
    for losses in run_losses:
        drawn = make_cells(cells.runs.assign(loss=np.exp(losses)))
        law = fit(drawn.runs, "flops", quick, other_floors=False)
        if law.reason:
            continue
        replicates = replicates_of(drawn, law, quick)
        for pair in pairs:
            gained = gain(drawn, replicates, law, *pair, quick)
            if gained.at_largest is not None:
                found[pair].append(sureness(drawn, law, gained, pair, quick))
    return found


def _half(reaches: Iterable[Reach]) -> float:
    """Median half-width of intervals; infinite without any."""
    halves = [(low + high) / 2 for low, high in reaches]
    return float(np.median(halves)) if halves else math.inf
