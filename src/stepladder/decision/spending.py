"""How surely two laws tell the gain at the target, and how much surer more runs would make it.

The laws are linearised around their fit. Cells carry seed noise, which more seeds average out, and misfit,
which they do not: with F = J' W J the information of all cells, the variance of ln EG at the target is g'
F^-1 g (c-optimal design; Atkinson, Donev & Tobias 2007, "Optimum Experimental Designs", chapter 10).

Shapes: M cells, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.cells import Cells
from stepladder.decision.extrapolate import target_cost
from stepladder.decision.linearised import LawPair
from stepladder.decision.noise import SeedNoise
from stepladder.decision.run_options import MOST, ChosenRun, RunOption, SpendingPlan
from stepladder.laws.forms import Array

LEAST_MISFIT = 1 / 3
"""Misfit is taken to be at least this share of seed noise, however small the residuals: without it a thousand
seeds of the smallest rung would seem to settle what happens at the target."""

PRIOR = 2.0
"""Standard deviation of a vague prior on log A and log alpha and, in nats/token, on E: keeps what few rungs
leave open from being infinite."""

HOUR = 3600.0
"""Seconds."""


@dataclass(frozen=True)
class LadderPlace:
    """One rung and budget, there or new, with the runs of the two variants."""

    label: str
    flops: float
    runs: tuple[int, int]
    """Runs of the reference and of the candidate."""
    both: int = 0
    """Seeds that both ran."""
    new: bool = False


@dataclass(frozen=True)
class Problem:
    """The linearised comparison of two variants."""

    places: tuple[LadderPlace, ...]
    laws: LawPair
    names: tuple[str, str]
    """Reference, candidate."""
    covariance: Array
    """(2, 2) of one seed's log losses."""
    misfit: float
    """Standard deviation of a cell's log loss that no number of seeds averages out."""
    hours_law: dict[str, tuple[float, float]]
    """Variant to (slope, intercept) of log hours on log FLOPs."""
    _known: dict[LadderPlace, Array] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls, cells: Cells, noise: SeedNoise, fit: AxisFit, candidate: str, reference: str, target: float
    ) -> Problem:
        """The problem of these two variants of a ladder, by the laws of `fit`."""
        names = (reference, candidate)
        index = [cells.variants.index(name) for name in names]
        table = cells.table[cells.table["variant"].isin(names)]
        wide = table.pivot_table(index="step", columns="variant", values="n", aggfunc="sum").fillna(0)
        flops = table.groupby("step")["flops"].mean()
        labels = table.drop_duplicates("step").set_index("step")["label"]
        seeds: dict[str, dict[int, set[int]]] = {name: {} for name in names}
        for cell, owner, step in zip(table.index.to_list(), table["variant"], table["step"], strict=True):
            seeds[owner][step] = set(cells.seeds[cell].tolist())
        empty: set[int] = set()
        places = tuple(
            LadderPlace(
                labels[step],
                float(flops[step]),
                (int(wide.loc[step, reference]), int(wide.loc[step, candidate])),
                len(seeds[reference].get(step, empty) & seeds[candidate].get(step, empty)),
            )
            for step in flops.index
        )
        covariance = noise.covariance(0.0)[np.ix_(index, index)]
        hours_law = {}
        for name in names:
            mine = cells.of(name)
            seconds = [target_cost(cells, "seconds", name, f) for f in mine["flops"]]
            slope, intercept = np.polyfit(np.log(mine["flops"]), np.log(np.array(seconds) / HOUR), 1)
            hours_law[name] = (float(slope), float(intercept))
        return cls(
            places=places,
            laws=LawPair((fit.law(reference), fit.law(candidate)), fit.floor, target),
            names=names,
            covariance=covariance,
            misfit=max(fit.sd_off_law, LEAST_MISFIT * float(np.diag(covariance).mean()) ** 0.5),
            hours_law=hours_law,
        )

    def hours(self, place: LadderPlace, added: tuple[int, int]) -> float:
        """Accelerator-hours of `added` runs at a place."""
        total = 0.0
        for name, count in zip(self.names, added, strict=True):
            slope, intercept = self.hours_law[name]
            total += count * float(np.exp(intercept + slope * np.log(place.flops)))
        return total

    def sd(self, places: tuple[LadderPlace, ...]) -> float:
        """Standard deviation of ln EG at the target, were these the ladder's runs."""
        prior = np.eye(len(self.laws.point)) / PRIOR**2
        information = sum((self.information(place) for place in places), start=prior)
        g = self.laws.gain_slope
        return float(np.sqrt(g @ np.linalg.solve(information, g)))

    def information(self, place: LadderPlace) -> Array:
        """(P, P) what the runs of a place say about the parameters: J' omega^-1 J."""
        if place not in self._known:
            present = [v for v in (0, 1) if place.runs[v] > 0]
            counts = np.array([place.runs[v] for v in present], dtype=float)
            overlap = np.full((len(present), len(present)), float(place.both))
            np.fill_diagonal(overlap, counts)
            seeds = self.covariance[np.ix_(present, present)] * overlap / np.outer(counts, counts)
            omega = seeds + (self.misfit**2 + 1e-16) * np.eye(len(present))
            J = self.laws.loss_slopes(place.flops)[present]
            self._known[place] = J.T @ np.linalg.solve(omega, J)
        return self._known[place]

    def options(self, target: float) -> list[tuple[LadderPlace, tuple[int, int]]]:
        """One more seed of either variant or of both at every place, and at new rungs: between the two
        largest, above the largest by the ladder's own ratio, and at the target."""
        sizes = sorted({place.flops for place in self.places})
        ratio = float(np.exp(np.mean([np.log(b / a) for a, b in pairwise(sizes)]))) if len(sizes) > 1 else 4.0
        top = sizes[-1]
        new = [("between the two largest", float(np.sqrt(sizes[-2] * top)))] if len(sizes) > 1 else []
        new.append(("one rung up", top * ratio))
        if target > top * 1.5 and abs(np.log(target / (top * ratio))) > 0.2:
            new.append(("at the target", target))
        fresh = [LadderPlace(label, flops, (0, 0), new=True) for label, flops in new]
        return [
            (place, added)
            for place in [*self.places, *fresh]
            for added in ((1, 1), (1, 0), (0, 1))
            if not place.new or added == (1, 1)
        ]

    def with_runs(self, place: LadderPlace, added: tuple[int, int]) -> tuple[LadderPlace, ...]:
        """All places after `added` runs at one of them."""
        # A single run takes a seed that the other variant has already, where there is one left.
        unpaired = place.runs[added.index(0)] > place.both if 0 in added else True
        runs = (place.runs[0] + added[0], place.runs[1] + added[1])
        more = replace(place, runs=runs, both=place.both + int(unpaired), new=False)
        others = tuple(p for p in self.places if p is not place)
        return (*others, more)

    def describe(self, option: tuple[LadderPlace, tuple[int, int]], now: float, quantile: float) -> RunOption:
        """What one option costs and brings."""
        place, added = option
        after = self.sd(self.with_runs(place, added))
        hours = self.hours(place, added)
        narrowing = 1 - after / now
        return RunOption(
            rung=place.label,
            flops=place.flops,
            new=place.new,
            runs={name: count for name, count in zip(self.names, added, strict=True) if count},
            accelerator_hours=hours,
            interval_factor_after=float(np.exp(quantile * after)),
            narrowing=narrowing,
            narrowing_per_hour=narrowing / hours,
        )

    def fill(self, target: float, hours: float, quantile: float) -> SpendingPlan:
        """The best option per hour, again and again, while the budget lasts and the interval gets
        narrower."""
        problem, spent = self, 0.0
        chosen: list[ChosenRun] = []
        start = self.sd(self.places)
        while len(chosen) < MOST:
            now = problem.sd(problem.places)
            rows = [(problem.describe(option, now, quantile), option) for option in problem.options(target)]
            left = hours - spent
            rows = [r for r in rows if r[0].accelerator_hours <= left and r[0].worthwhile]
            if not rows:
                break
            row, (place, added) = max(rows, key=lambda pair: pair[0].narrowing_per_hour)
            problem = replace(problem, places=problem.with_runs(place, added))
            spent += row.accelerator_hours
            chosen.append(ChosenRun(rung=row.rung, flops=row.flops, runs=row.runs))
        after = problem.sd(problem.places)
        return SpendingPlan(
            steps=chosen,
            accelerator_hours=spent,
            interval_factor_after=float(np.exp(quantile * after)),
            narrowing=1 - after / start,
        )
