"""Many climbs of one ladder at once: their laws are fitted together, and the ladder's rule judges each.

How sure a climb is, that is how wide its intervals get, is not found by its own bootstrap but lent by one of
a few climbs that were analysed whole.

Shapes: B climbs, M cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.decision.axis_fit import AxisFit, HeldOutPrediction
from stepladder.decision.cells import Cells
from stepladder.decision.comparison import Outcome, SeedTest
from stepladder.decision.efficiency import AxisGain, Gain, LargestGain, TargetGain
from stepladder.decision.extrapolate import one_rung_up, target_cost
from stepladder.decision.heldout import by_size, fit_cells
from stepladder.decision.noise import measure_noise
from stepladder.decision.seeds import error_of_difference, tested_steps
from stepladder.decision.verdict import decide
from stepladder.laws.distributions import t_share
from stepladder.laws.forms import Array
from stepladder.laws.invert import ComputeLaw, exp, log_invert, predict
from stepladder.laws.joint import Fits
from stepladder.laws.numbers import Interval, finite
from stepladder.schema.analysis import AnalysisConfig, Axis

Reach = tuple[float, float]
"""How far an interval reaches below and above its estimate, in logs; infinite where an end is."""

Pair = tuple[str, str]
"""Candidate, reference."""


@dataclass(frozen=True)
class Sureness:
    """How sure one climb was of one pair."""

    largest: Reach
    """Of ln EG at the largest rung."""
    target: Reach
    """Of ln EG at the target."""
    held_out: dict[int, Reach]
    """Of the predicted log loss of held-out cells, by their number."""
    error: float
    """Standard error of the seed test's difference of log loss; infinite where noise is unknown."""
    dof: float
    """Its degrees of freedom."""


def sureness(cells: Cells, law: AxisFit, gained: AxisGain, pair: Pair, config: AnalysisConfig) -> Sureness:
    """How sure one climb is of one pair."""
    noise, steps = measure_noise(cells, stated=config.noise), tested_steps(cells, *pair)
    index = [cells.variants.index(name) for name in pair]
    known = noise.known and bool(steps)
    held = law.held_out.predictions if law.held_out else ()
    keys = zip(cells.table["variant"], cells.table["rung"], cells.table["budget"], strict=True)
    number = {key: cell for cell, key in enumerate(keys)}
    return Sureness(
        largest=_reach(gained.at_largest),
        target=_reach(gained.at_target),
        held_out={
            number[row.variant, row.rung, row.budget]: _log_reach(row.predicted, row.interval) for row in held
        },
        error=error_of_difference(cells, noise, steps, index) if known else math.inf,
        dof=float(noise.dof()[steps[-1], index].min()) if known else 0.0,
    )


def _reach(gained: Gain | None) -> Reach:
    """How far the interval of a gain reaches from it."""
    if gained is None or gained.gain is None:
        return math.inf, math.inf
    return _log_reach(gained.gain, gained.interval)


def _log_reach(value: float, ends: Interval | None) -> Reach:
    low, high = ends or (None, None)
    return (
        math.log(value / low) if low else math.inf,
        math.log(high / value) if high else math.inf,
    )


@dataclass(frozen=True)
class Climbs:
    """Point estimates of many climbs of one ladder."""

    cells: Cells
    axis: Axis
    log_loss: Array
    """(B, M)."""
    laws: Fits
    held: npt.NDArray[np.int64]
    """Cells that are predicted before they are used."""
    before: Fits | None
    """The laws without them; None where nothing is held out."""

    def law(self, fits: Fits, variant: str) -> ComputeLaw:
        """The law of a variant in every climb (B,)."""
        v = self.cells.variants.index(variant)
        return ComputeLaw(fits.E[:, v], fits.A[:, v], fits.alpha[:, v], fits.unit)


def estimate_climbs(
    cells: Cells, axis: Axis, log_loss: Array, expected: Array, config: AnalysisConfig
) -> Climbs:
    """Fit the laws of all climbs at once.

    Args:
        log_loss: (B, M) of the cells in each climb.
        expected: (M,) log losses about which the climbs scatter: searches start at the laws through them.
    """
    exact = expected[None]
    laws = fit_cells(cells, axis, config, log_loss, near=fit_cells(cells, axis, config, exact))
    held = by_size(cells)[-config.holdout_rungs :] if config.holdout_rungs else []
    keep = ~cells.table["rung"].isin(held).to_numpy()
    before = None
    if held:
        try:
            near = fit_cells(cells, axis, config, exact, keep)
            before = fit_cells(cells, axis, config, log_loss, keep, near=near)
        except ValueError:  # too few rungs are left: the real ladder will hold nothing out either
            pass
    return Climbs(cells, axis, log_loss, laws, np.flatnonzero(~keep), before)


def judge_climbs(
    climbs: Climbs, pair: Pair, sure: Sequence[Sureness], config: AnalysisConfig
) -> Iterator[Outcome]:
    """What the ladder's rule says of each climb, which is as sure as one of `sure`."""
    cells, (candidate, reference) = climbs.cells, pair
    mine, theirs = cells.of(candidate), cells.of(reference)
    top, flops = int(mine.index[-1]), config.target_flops or one_rung_up(cells)
    target = None if flops is None else target_cost(cells, climbs.axis, candidate, flops)
    last = mine.iloc[-1]
    cost = float(last[climbs.axis])
    ours, law = climbs.law(climbs.laws, candidate), climbs.law(climbs.laws, reference)
    gains = log_invert(law, np.exp(climbs.log_loss[:, top])) - math.log(cost)
    law_gains = log_invert(law, predict(ours, cost)) - math.log(cost)
    at_target = None if target is None else log_invert(law, predict(ours, target)) - math.log(target)
    steps = tested_steps(cells, candidate, reference)
    differences = _differences(climbs, mine, theirs, steps)
    both_at_top = all(int(cells.step.max()) in set(own["step"]) for own in (mine, theirs))
    n_rungs = len(set(mine["rung"]) & set(theirs["rung"]))
    predictions = _predictions(climbs, pair)
    for b, (eg, by_law) in enumerate(zip(gains, law_gains, strict=True)):
        one = sure[b % len(sure)]
        largest = LargestGain(
            **_gain(eg, one.largest),
            **{key: last[key] for key in ("rung", "label", "n")},
            cost=cost,
            law_gain=finite(float(exp(by_law))),
            law_interval=None,
            n_reference=1,
            held_out=False,
            extrapolated=False,
            n_rungs=len(mine),
        )
        beyond = None
        if flops is not None and target is not None and at_target is not None:
            beyond = TargetGain(
                **_gain(at_target[b], one.target), cost=target, flops=flops, beyond=target / cost
            )
        found = AxisGain(
            axis=climbs.axis,
            reason=None,
            converged=bool(climbs.laws.converged[b]),
            at_largest=largest,
            at_target=beyond,
        )
        p = t_share(float(differences[b]) / one.error, one.dof) if one.dof else None
        yield decide(
            dict.fromkeys(config.verdict.axes, found),
            n_rungs,
            both_at_top,
            SeedTest(pairs=1, rungs=len(steps), dof=one.dof, mean_log_difference=0.0, p_better=p),
            None if predictions is None else [row.of(b, one) for row in predictions],
            config.verdict,
        ).verdict


def _gain(log_gain: float, reach: Reach) -> dict[str, object]:
    """Fields of a gain whose interval reaches so far."""
    ends = (finite(float(exp(log_gain - reach[0]))), finite(float(exp(log_gain + reach[1]))))
    return {"gain": finite(float(exp(log_gain))), "interval": ends, "undefined_share": None}


def _differences(climbs: Climbs, mine: pd.DataFrame, theirs: pd.DataFrame, steps: Sequence[int]) -> Array:
    """(B,) log loss of candidate less reference, mean over the places of the seed test."""
    columns = [own.index[own["step"].isin(steps)] for own in (mine, theirs)]
    return np.asarray(np.subtract(*(climbs.log_loss[:, column].mean(axis=1) for column in columns)))


@dataclass(frozen=True)
class _Predicted:
    """A held-out cell in every climb."""

    cell: int
    fields: dict[str, object]
    predicted: Array
    """(B,) nats/token."""
    observed: Array
    """(B,) nats/token."""
    cost_ratio: Array
    """(B,)."""

    def of(self, b: int, sure: Sureness) -> HeldOutPrediction:
        """What one climb would hold against what came."""
        off = math.log(self.observed[b] / self.predicted[b])
        below, above = sure.held_out.get(self.cell, (0.0, 0.0))
        return HeldOutPrediction(
            **self.fields,
            predicted=float(self.predicted[b]),
            interval=None,
            observed=float(self.observed[b]),
            relative_error=math.expm1(off),
            cost_ratio=finite(float(self.cost_ratio[b])),
            inside=-below <= off <= above,
        )


def _predictions(climbs: Climbs, pair: Pair) -> list[_Predicted] | None:
    """The held-out cells of a pair; none of them if either has none, None where nothing is held out."""
    if climbs.before is None:
        return None
    rows, found = climbs.cells.table.to_dict("records"), []
    for cell in climbs.held:
        row = rows[cell]
        if row["variant"] not in pair:
            continue
        law, loss = climbs.law(climbs.before, row["variant"]), np.exp(climbs.log_loss[:, cell])
        found.append(
            _Predicted(
                cell=int(cell),
                fields={key: row[key] for key in ("variant", "rung", "budget", "label", "n")}
                | {"cost": row[climbs.axis]},
                predicted=predict(law, row[climbs.axis]),
                observed=loss,
                cost_ratio=np.asarray(exp(log_invert(law, loss) - math.log(row[climbs.axis]))),
            )
        )
    return found if {row.fields["variant"] for row in found} == set(pair) else []
