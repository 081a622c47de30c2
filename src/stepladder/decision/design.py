"""Ladders for a budget: which rungs and how many seeds would decide a gain, for so many accelerator-hours.

Three to five rungs are tried, at even steps of log depth, from the ladder's smallest depth or half of it up
to several depths; each with as many seeds as the budget allows, and below the two largest rungs twice as many
where they fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

import numpy as np

from stepladder.decision.assumptions import assume
from stepladder.decision.chances import Simulation, plan_cells
from stepladder.decision.compare import comparisons
from stepladder.decision.plan_power import TRIED_CLIMBS, TRIED_WHOLE, describe_pair, planned_table
from stepladder.decision.power import Design, DesignedRung
from stepladder.decision.seeds import TESTED_RUNGS
from stepladder.ladder.climb import Climb
from stepladder.ladder.expand import expand
from stepladder.ladder.read import LadderError
from stepladder.schema.accelerators import Accelerator
from stepladder.schema.ladder import Rung

RUNGS = (3, 4, 5)
"""Numbers of rungs that are tried."""

DEEPEST, TOPS = 6, 5
"""The largest rung is at most so many times as deep as the smallest; so many depths of it are tried."""

MOST_SEEDS = 8
"""More seeds of a rung are dearer than a rung more."""


def designs(climb: Climb, table: Mapping[str, Accelerator], decide: float, hours: float) -> list[Design]:
    """Ladders like this one that cost no more, the surest first.

    Args:
        climb: gives everything but rungs and seeds: variants, shapes, budgets, rule.
        table: devices of configs/hardware.yaml.
        decide: the true gain that should be promoted.
        hours: accelerator-hours that may be spent.

    Raises:
        ValueError: nothing fits into the budget, or there is nothing to compare.
    """
    if climb.ladder.profiles or climb.ladder.design:
        raise ValueError(
            f"{climb.path}: what is proposed are rungs of one size and budget each, and this ladder has a "
            "design or profiles of its own"
        )
    if climb.ladder.analysis.verdict.kind == "equivalent":
        raise ValueError(
            f"{climb.path}: its rule asks for equal losses, and designs are for gains: `stepladder plan` "
            "tells how surely it shows equal losses, and how many seeds would"
        )
    found = [_judged(option, table, decide) for option in affordable(climb, table, hours)]
    if not found:
        raise ValueError(
            f"--hours {hours:g}: three rungs with two seeds each do not fit, whatever their depth: give "
            "more, or drop variants or budgets from the ladder"
        )
    return sorted(found, key=lambda row: (-row.weakest.chances[-1].promote, row.accelerator_hours))


def affordable(climb: Climb, table: Mapping[str, Accelerator], hours: float) -> Iterator[Climb]:
    """For each number of rungs and largest depth, the ladder with the most seeds that the budget allows."""
    cost = _costs(climb, table, hours)
    if not cost:
        return
    there, tried = np.array(sorted(cost)), set()
    for start in sorted({int(there[0]), min(rung.depth for rung in climb.ladder.rungs)}):
        tops = np.geomspace(start + 2, max(DEEPEST * start + 2, start + 2), TOPS)
        for count, top in product(RUNGS, tops[tops <= there[-1] + 1]):
            # Of what the shape rule allows, the nearest to even steps of log depth.
            steps = np.geomspace(start, top, count)
            depths = tuple(sorted({int(there[np.abs(np.log(there / step)).argmin()]) for step in steps}))
            if len(depths) < count or depths in tried:
                continue
            tried.add(depths)
            if seeds := _seeds([cost[depth] for depth in depths], hours):
                yield _with_rungs(climb, dict(zip(depths, seeds, strict=True)))


def _costs(climb: Climb, table: Mapping[str, Accelerator], hours: float) -> dict[int, float]:
    """Depths that the ladder's rules allow to the accelerator-hours of one seed there, of all
    variants; up to the first that is too dear."""
    smallest, cost = min(rung.depth for rung in climb.ladder.rungs), {}
    for depth in range(max(smallest // 2, 1), DEEPEST * smallest + 3):
        try:
            one = _with_rungs(climb, {depth: 1}).price(dict(table)).totals.accelerator_hours
        except LadderError:  # widths or heads that do not fit together at this depth
            continue
        if one > hours:
            break
        cost[depth] = one
    return cost


def _seeds(cost: list[float], hours: float) -> tuple[int, ...] | None:
    """Seeds of each rung; None where two of each cost more than `hours`, since one tells no noise."""
    top = len(cost) - TESTED_RUNGS
    for most in range(MOST_SEEDS, 1, -1):
        for below in (min(2 * most, MOST_SEEDS), most):
            seeds = (below,) * top + (most,) * TESTED_RUNGS
            if sum(n * one for n, one in zip(seeds, cost, strict=True)) <= hours:
                return seeds
    return None


def _with_rungs(climb: Climb, seeds: Mapping[int, int]) -> Climb:
    """The same ladder with rungs of these depths and numbers of seeds, and no sweep."""
    known = {rung.depth: rung for rung in climb.ladder.rungs}
    rungs = tuple(
        known.get(depth, Rung(depth=depth)).model_copy(update={"seeds": tuple(range(count))})
        for depth, count in seeds.items()
    )
    ladder = climb.ladder.model_copy(update={"rungs": rungs, "sweep": None})
    runs = {run.id: run for run in expand(ladder, climb.path)}
    return replace(climb, ladder=ladder, runs=runs, sweep={})


def _judged(climb: Climb, table: Mapping[str, Accelerator], decide: float) -> Design:
    plan, config = climb.price(dict(table)), climb.ladder.analysis
    planned = planned_table(plan, climb.runs)
    cells = plan_cells(planned)
    pairs = tuple(comparisons(cells, config.baseline, config.references))
    if not pairs:
        raise ValueError(f"{climb.path}: the ladder has one variant, {config.baseline}: nothing is compared")
    truth, _ = assume(cells, config, None)
    simulation = Simulation(cells, truth, config, pairs, TRIED_WHOLE, TRIED_CLIMBS)
    rows = [describe_pair(planned, pair, simulation.prospect(pair, (1.0, decide))) for pair in pairs]
    return Design(
        rungs=tuple(
            DesignedRung(depth=rung.depth, seeds=len(rung.seeds or climb.ladder.seeds))
            for rung in climb.ladder.rungs
        ),
        runs=plan.totals.runs,
        accelerator_hours=plan.totals.accelerator_hours,
        price=plan.totals.price,
        climbs=TRIED_CLIMBS,
        weakest=min(rows, key=lambda row: row.chances[-1].promote),
    )
