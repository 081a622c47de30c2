"""By how much runs to come are off their laws: misfit of their cells, and seed noise.

Shapes: B climbs, R runs, M cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.decision.assumptions import NoiseLine
from stepladder.decision.cells import Cells
from stepladder.laws.forms import Array
from stepladder.schema.analysis import MisfitPrior


@dataclass(frozen=True)
class Deviations:
    """What moves the runs of a ladder off their laws."""

    cells: Cells
    noise: NoiseLine
    prior: MisfitPrior
    """Cells are off their law as it has it: neither kind averages out over seeds."""

    def draw(self, climbs: int, stream: Sequence[int]) -> Array:
        """By how much the log losses (B, R) are off.

        Args:
            stream: what random numbers are seeded with.
        """
        generator = np.random.default_rng(stream)
        R, M = len(self.cells.runs), len(self.cells.table)
        tau = (
            self.prior.exactly
            if self.prior.exactly is not None
            else self.prior.scale * np.abs(generator.standard_t(4, (climbs, 1)))
        )
        off = tau * generator.standard_normal((climbs, M))
        undertuned = generator.random((climbs, M)) < self.prior.share
        off += undertuned * self.prior.by * np.abs(generator.standard_normal((climbs, M)))
        common, own = self.noise.correlation, generator.standard_normal((climbs, R))
        seeds = generator.standard_normal((climbs, int(self._cluster.max()) + 1))[:, self._cluster]
        noise = math.sqrt(common) * seeds + math.sqrt(1 - common) * own
        return np.asarray(off[:, self.cell] + self.noise.sd_at(self.cells.cost("flops"))[self.cell] * noise)

    @cached_property
    def cell(self) -> npt.NDArray[np.int64]:
        """(R,) the cell of each run."""
        keys = ["variant", "rung", "budget"]
        index = pd.MultiIndex.from_frame(self.cells.table[keys])
        return np.asarray(index.get_indexer(pd.MultiIndex.from_frame(self.cells.runs[keys])), dtype=np.int64)

    @cached_property
    def _cluster(self) -> npt.NDArray[np.int64]:
        """(R,) number of the rung, budget and seed of each run: variants that share it share noise."""
        return np.asarray(
            self.cells.runs.groupby(["rung", "budget", "seed"], sort=False).ngroup(), dtype=np.int64
        )

    @cached_property
    def means(self) -> Array:
        """(R, M) what takes runs to the means of their cells."""
        member = self.cell[:, None] == np.arange(len(self.cells.table))
        return np.asarray(member / member.sum(axis=0))
