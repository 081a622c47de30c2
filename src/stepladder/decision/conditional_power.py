"""Conditional power: at a gate, the chance that the ladder, climbed to its end, promotes a candidate.

Climbs are judged by the ladder's own rule. Their runs so far are what they are; runs to come are drawn about
the laws as they seem now (conditional power under the current trend; Lan & Wittes 1988, Biometrics 44:579).
These have seed noise and the small misfit of all cells. None is undertuned: a candidate shall not go on in
the hope that its reference fails at the top, nor stop for fear that it fails itself. A few climbs are
analysed whole, and lend the others how sure they are.

Shapes: B climbs, R runs, M cells.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.decision.assumptions import LEAST_DOF, NoiseLine, noise_line
from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.cells import Cells, make_cells
from stepladder.decision.chances import analyse_whole
from stepladder.decision.climbs import Pair, Sureness, estimate_climbs, judge_climbs
from stepladder.decision.deviations import Deviations
from stepladder.decision.extrapolate import target_cost
from stepladder.decision.noise import measure_noise
from stepladder.laws.forms import Array
from stepladder.laws.invert import predict
from stepladder.schema.analysis import AXES, AnalysisConfig, Axis

CLIMBS = 400
"""That are judged: a chance of 10 % has a standard error of 1.5 points."""

WHOLE = 3
"""Of these, that are analysed with their bootstrap."""

STREAM = 2
"""Of random numbers."""


def chances_of_promotion(
    done: pd.DataFrame,
    rest: pd.DataFrame,
    config: AnalysisConfig,
    fits: Mapping[Axis, AxisFit],
    pairs: Sequence[Pair],
) -> dict[Pair, float | None]:
    """Chance that the rule promotes each pair's candidate, on the axis where it is least; None where laws are
    not known, or noise by less than `LEAST_DOF`: then the end would hardly be sure of any gain, which says
    nothing of this candidate.

    Args:
        done: runs up to the gate, as in runs.parquet.
        rest: runs of the same variants at larger rungs, as planned.
        config: the rule of the end, with `target_flops` of the whole ladder.
        fits: of the runs up to the gate, on FLOPs and on the axes of the rule.
    """
    so_far = make_cells(done)
    noise = measure_noise(so_far, stated=config.noise)
    if not noise.known or float(noise.dof(0.0).max()) < LEAST_DOF:
        return dict.fromkeys(pairs)
    told = [pair for pair in pairs if not any(fit.why_not(*pair) for fit in fits.values())]
    whole, line = whole_ladder(done, rest, config.verdict.axes), noise_line(so_far, noise)
    ahead = _Ahead(whole, set(done["rung"]), line, config, fits)
    return dict.fromkeys(pairs) | ahead.chances(told)


def whole_ladder(done: pd.DataFrame, rest: pd.DataFrame, axes: Sequence[Axis]) -> Cells:
    """Cells of all runs; those to come have no loss of their own, and cost what runs so far let expect."""
    so_far = make_cells(done)
    rest = rest.assign(loss=1.0).astype({AXES[axis].column: float for axis in axes})
    for axis in axes:
        for name in so_far.variants:
            mine = rest["variant"] == name
            costs = [target_cost(so_far, axis, name, flops) for flops in rest.loc[mine, "flops"]]
            rest.loc[mine, AXES[axis].column] = np.array(costs, dtype=float)
    return make_cells(pd.concat([done, rest], ignore_index=True))


@dataclass(frozen=True)
class _Ahead:
    """How a ladder may go on."""

    cells: Cells
    """Of the whole ladder."""
    rungs: Collection[str]
    """Labels of those that have run."""
    noise: NoiseLine
    config: AnalysisConfig
    fits: Mapping[Axis, AxisFit]
    """Of the runs so far."""

    def chances(self, pairs: Sequence[Pair]) -> dict[Pair, float | None]:
        """Of promotion, for pairs whose laws are known."""
        sureness = analyse_whole(self.cells, self._run_losses(WHOLE), pairs, self.config) if pairs else {}
        axes = self.config.verdict.axes
        return {
            pair: min(self._chance(pair, axis, sure) for axis in axes) if sure else None
            for pair, sure in sureness.items()
        }

    def _chance(self, pair: Pair, axis: Axis, sure: Sequence[Sureness]) -> float:
        """Of promotion by a rule that asks for this axis alone."""
        rule = self.config.verdict.model_copy(update={"axes": (axis,)})
        config = self.config.model_copy(update={"verdict": rule})
        expected = self._expected(axis)
        to_come = expected + self._off @ self._deviations.means
        drawn = np.where(self._there, self._observed(axis), to_come)
        climbs = estimate_climbs(self.cells, axis, drawn, expected, config)
        return float(np.mean([verdict == "promote" for verdict in judge_climbs(climbs, pair, sure, config)]))

    def _run_losses(self, climbs: int) -> Array:
        """Log losses (B, R) of all runs in the first climbs."""
        cell = self._deviations.cell
        to_come = self._expected("flops")[cell] + self._off[:climbs]
        return np.where(self._there[cell], self.cells.runs["log_loss"].to_numpy(dtype=float), to_come)

    @cached_property
    def _off(self) -> Array:
        """(B, R) by how much runs to come are off their law."""
        return self._deviations.draw(CLIMBS, (self.config.seed, STREAM))

    @cached_property
    def _deviations(self) -> Deviations:
        return Deviations(self.cells, self.noise, self.config.misfit.model_copy(update={"share": 0.0}))

    @cached_property
    def _there(self) -> npt.NDArray[np.bool_]:
        """(M,) whether a cell has run."""
        return np.asarray(self.cells.table["rung"].isin(self.rungs))

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
