"""Conditional power: at a gate, the chance that the ladder, climbed to its end, promotes a candidate.

Climbs are judged by the ladder's own rule. Their runs so far are what they are; runs to come are drawn about
the laws as they seem now (conditional power under the current trend; Lan & Wittes 1988, Biometrics 44:579).
These have seed noise and the small misfit of all cells. None is undertuned: a candidate shall not go on in
the hope that its reference fails at the top, nor stop for fear that it fails itself.

Shapes: B climbs, M cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from stepladder.decision.assumptions import Truth, assume
from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.cells import Cells, make_cells
from stepladder.decision.chances import Simulation
from stepladder.decision.climbs import Pair, estimate_climbs, judge_climbs
from stepladder.decision.extrapolate import target_cost
from stepladder.laws.forms import Array
from stepladder.laws.invert import predict
from stepladder.schema.analysis import AXES, AnalysisConfig, Axis

CLIMBS = 400
"""That are judged: a chance of 10 % has a standard error of 1.5 points."""

WHOLE = 3
"""That are analysed with their bootstrap and say how sure climbs are."""

STREAM = 2
"""Of random numbers."""


@dataclass(frozen=True)
class Prospects:
    """A ladder at a gate, and how it may go on."""

    done: pd.DataFrame
    """Runs up to the gate, as in runs.parquet."""
    rest: pd.DataFrame
    """Runs of the same variants at larger rungs, as planned."""
    config: AnalysisConfig
    fits: Mapping[Axis, AxisFit]
    """Of the runs up to the gate, on FLOPs and on the axes of the rule."""
    pairs: Sequence[Pair]

    def promotion(self, pair: Pair) -> float | None:
        """Chance that the rule promotes the pair's candidate, on the axis where it is least; None where laws
        or noise are not known."""
        axes = self.config.verdict.axes
        if any(self.fits[axis].why_not(*pair) or self.fits[axis].draws is None for axis in axes):
            return None
        sure = self.simulation.sureness[pair]
        if not sure:
            return None
        chances = []
        for axis in axes:
            rule = self.config.verdict.model_copy(update={"axes": (axis,)})
            config = self.config.model_copy(update={"verdict": rule})
            expected = self._expected(axis)
            drawn = np.where(self._there, self._observed(axis), expected + self._off)
            climbs = estimate_climbs(self.cells, axis, drawn, expected, config)
            promoted = [verdict == "promote" for verdict in judge_climbs(climbs, pair, sure, config)]
            chances.append(float(np.mean(promoted)))
        return min(chances)

    @cached_property
    def cells(self) -> Cells:
        """Of the whole ladder; those to come have no loss of their own, and cost what the runs so far let
        expect."""
        so_far, rest = make_cells(self.done), self.rest.assign(loss=1.0)
        for axis in self.config.verdict.axes:
            for name in so_far.variants:
                mine = rest["variant"] == name
                costs = [target_cost(so_far, axis, name, flops) for flops in rest.loc[mine, "flops"]]
                rest.loc[mine, AXES[axis].column] = np.array(costs, dtype=float)
        return make_cells(pd.concat([self.done, rest], ignore_index=True))

    @cached_property
    def simulation(self) -> Simulation:
        """Climbs of the whole ladder under the noise and the baseline's law of the runs so far."""
        truth: Truth = assume(self.cells, self.config, self.done)[0]
        return Simulation(self.cells, truth, self.config, tuple(self.pairs), WHOLE, CLIMBS)

    @cached_property
    def _off(self) -> Array:
        """(B, M) by how much cells to come are off their law."""
        sound = self.config.misfit.model_copy(update={"share": 0.0})
        drawn = replace(self.simulation, config=self.config.model_copy(update={"misfit": sound}))
        return np.asarray(drawn.run_deviations(CLIMBS, STREAM) @ self.simulation.means)

    @cached_property
    def _there(self) -> Array:
        """(M,) whether a cell has run."""
        return np.asarray(self.cells.table["rung"].isin(set(self.done["rung"])).to_numpy())

    def _expected(self, axis: Axis) -> Array:
        """(M,) log losses by the laws of now."""
        cost, expected = self.cells.cost(axis), np.empty(len(self.cells.table))
        for v, name in enumerate(self.cells.variants):
            mine = self.cells.variant == v
            expected[mine] = np.log(predict(self.fits[axis].law(name), cost[mine]))
        return expected

    def _observed(self, axis: Axis) -> Array:
        """(M,) log losses that the laws of now were fitted to: undertuned cells put back."""
        excess = {
            (name, cell.rung, cell.budget): cell.excess
            for name, law in self.fits[axis].laws.items()
            for cell in law.cells
        }
        keys = zip(*(self.cells.table[key] for key in ("variant", "rung", "budget")), strict=True)
        return np.asarray(self.cells.log_loss - [excess.get(key, 0.0) for key in keys])
