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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.decision.assumptions import Truth
from stepladder.decision.axis_fit import AxisFit, HeldOutPrediction
from stepladder.decision.cells import Cells, make_cells
from stepladder.decision.compare import replicates_of
from stepladder.decision.comparison import Outcome, SeedTest
from stepladder.decision.efficiency import AxisGain, Gain, LargestGain, TargetGain
from stepladder.decision.extrapolate import one_rung_up
from stepladder.decision.fit import fit
from stepladder.decision.gain import gain
from stepladder.decision.heldout import by_size, fit_cells
from stepladder.decision.noise import measure_noise
from stepladder.decision.seeds import error_of_difference, tested_steps
from stepladder.decision.verdict import decide
from stepladder.laws.distributions import t_share
from stepladder.laws.forms import Array
from stepladder.laws.invert import ComputeLaw, exp, log_invert, predict
from stepladder.laws.joint import Fits
from stepladder.laws.numbers import Interval, finite
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
        """How sure a few climbs, in which nothing gains anything, are of each pair. A climb whose laws cannot
        be inverted is left out."""
        quick = self.config.model_copy(
            update={"leave_one_out": False, "bootstrap_draws": min(WHOLE_DRAWS, self.config.bootstrap_draws)}
        )
        found: dict[Pair, list[Sureness]] = {pair: [] for pair in self.pairs}
        for losses in self.run_losses(self.whole, np.ones(len(self.cells.table)), 0):
            drawn = make_cells(self.cells.runs.assign(loss=np.exp(losses)))
            law = fit(drawn.runs, "flops", quick, other_floors=False)
            if law.reason:
                continue
            replicates = replicates_of(drawn, law, quick)
            for candidate, reference in self.pairs:
                gained = gain(drawn, replicates, law, candidate, reference, quick)
                if gained.at_largest is not None:
                    pair = candidate, reference
                    found[pair].append(_sureness(drawn, law, gained, pair, quick))
        return found

    def _chances(self, pair: Pair, eg: float) -> dict[Outcome, float]:
        """How often each verdict follows where the pair's candidate has this gain."""
        sure = self.sureness[pair]
        if not sure:
            return {"promote": 0.0, "hold": 1.0, "reject": 0.0}
        gains = np.where(self.cells.variant == self.cells.variants.index(pair[0]), eg, 1.0)
        runs = self.run_losses(self.climbs, gains, 1 + int(1e6 * eg))
        climbs = estimate_climbs(self.cells, runs @ self._means, self.truth, self.config)
        verdicts = Counter(judge_climbs(climbs, pair, sure, self.config))
        outcomes: tuple[Outcome, ...] = ("promote", "hold", "reject")
        return {outcome: verdicts[outcome] / self.climbs for outcome in outcomes}

    def run_losses(self, climbs: int, gains: Array, stream: int) -> Array:
        """Log losses (B, R) of all runs.

        Args:
            gains: (M,) true EG of each cell.
            stream: of random numbers.
        """
        generator = np.random.default_rng([self.config.seed, stream])
        cells, prior, R = self.cells, self.config.misfit, len(self.cells.runs)
        M, flops = len(cells.table), cells.cost("flops")
        # Cells off their law as the ladder's own prior has it: neither kind averages out over seeds.
        tau = (
            prior.exactly
            if prior.exactly is not None
            else prior.scale * np.abs(generator.standard_t(4, (climbs, 1)))
        )
        off = tau * generator.standard_normal((climbs, M))
        undertuned = generator.random((climbs, M)) < prior.share
        off += undertuned * prior.by * np.abs(generator.standard_normal((climbs, M)))
        log_loss = np.log(predict(self.truth.law, gains * flops)) + off
        common, own = self.truth.noise.correlation, generator.standard_normal((climbs, R))
        seeds = generator.standard_normal((climbs, int(self._cluster.max()) + 1))[:, self._cluster]
        noise = math.sqrt(common) * seeds + math.sqrt(1 - common) * own
        return np.asarray(log_loss[:, self._cell] + self.truth.noise.sd_at(flops)[self._cell] * noise)

    @cached_property
    def _cell(self) -> npt.NDArray[np.int64]:
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
    def _means(self) -> Array:
        """(R, M) what takes runs to the means of their cells."""
        member = self._cell[:, None] == np.arange(len(self.cells.table))
        return np.asarray(member / member.sum(axis=0))


def _half(reaches: Iterable[Reach]) -> float:
    """Median half-width of intervals; infinite without any."""
    halves = [(low + high) / 2 for low, high in reaches]
    return float(np.median(halves)) if halves else math.inf


def _sureness(cells: Cells, law: AxisFit, gained: AxisGain, pair: Pair, config: AnalysisConfig) -> Sureness:
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


def estimate_climbs(cells: Cells, log_loss: Array, truth: Truth, config: AnalysisConfig) -> Climbs:
    """Fit the laws of all climbs at once."""
    exact = np.log(predict(truth.law, cells.cost("flops")))[None]
    laws = fit_cells(cells, "flops", config, log_loss, near=fit_cells(cells, "flops", config, exact))
    held = by_size(cells)[-config.holdout_rungs :] if config.holdout_rungs else []
    keep = ~cells.table["rung"].isin(held).to_numpy()
    before = None
    if held:
        try:
            near = fit_cells(cells, "flops", config, exact, keep)
            before = fit_cells(cells, "flops", config, log_loss, keep, near=near)
        except ValueError:  # too few rungs are left: the real ladder will hold nothing out either
            pass
    return Climbs(cells, log_loss, laws, np.flatnonzero(~keep), before)


def judge_climbs(
    climbs: Climbs, pair: Pair, sure: Sequence[Sureness], config: AnalysisConfig
) -> Iterator[Outcome]:
    """What the ladder's rule says of each climb, which is as sure as one of `sure`."""
    cells, (candidate, reference) = climbs.cells, pair
    mine, theirs = cells.of(candidate), cells.of(reference)
    top, target = int(mine.index[-1]), config.target_flops or one_rung_up(cells)
    cost, last = float(mine["flops"].iloc[-1]), mine.iloc[-1]
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
        if target is not None and at_target is not None:
            beyond = TargetGain(
                **_gain(at_target[b], one.target), cost=target, flops=target, beyond=target / cost
            )
        found = AxisGain(
            axis="flops",
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
                | {"cost": row["flops"]},
                predicted=predict(law, row["flops"]),
                observed=loss,
                cost_ratio=np.asarray(exp(log_invert(law, loss) - math.log(row["flops"]))),
            )
        )
    return found if {row.fields["variant"] for row in found} == set(pair) else []
