"""What a planned ladder will tell, what that rests on, and what would make it tell more: `power.Power`."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import pandas as pd

from stepladder.decision.assumptions import assume
from stepladder.decision.cells import Cells
from stepladder.decision.chances import CLIMBS, WHOLE, Prospect, Simulation, plan_cells
from stepladder.decision.climbs import Pair
from stepladder.decision.compare import comparisons
from stepladder.decision.equivalence_chances import Chances, EquivalenceSimulation
from stepladder.decision.power import DECISIVE, Chance, Change, PairPower, Power, SameChance
from stepladder.decision.seeds import TESTED_RUNGS
from stepladder.decision.undertuning import CHECKED_RUNGS, LEAST
from stepladder.laws.numbers import finite
from stepladder.record.plan import Plan
from stepladder.record.spec import RunSpec
from stepladder.schema.analysis import AnalysisConfig
from stepladder.schema.metric import metric

MOST = 700.0
"""Logarithm that no factor is printed beyond."""

MORE_SEEDS = (1, 2, 4, 8)
"""Seeds that are tried beside what is planned."""

GAINS = (1.0, 1.1, 1.3)
"""True gains whose verdicts are simulated."""

TRIED_WHOLE = 3
TRIED_CLIMBS = 200
"""Climbs for each change that is tried."""

Way = tuple[str, pd.DataFrame, Callable[[], float]]
"""A change in words, the runs that it adds, and what simulates the chance of the pair in question then."""


def planned_table(plan: Plan, specs: Mapping[str, RunSpec]) -> pd.DataFrame:
    """The runs of a plan that laws will rest on, with the columns of runs.parquet but for their losses."""
    rows = []
    for run in plan.runs:
        if not run.proper:
            continue
        spec = specs[run.id]
        rows.append(
            run.model_dump(include={"id", "variant", "rung", "depth", "budget", "seed", "tokens", "flops"})
            | {
                "architecture": spec.model.architecture,
                "recipe": spec.recipe.name,
                "corpus": spec.data.corpus,
                "budget_multiple": spec.budget_multiple,
                "learning_rate_factor": spec.learning_rate_factor,
                "parameters_active_non_embedding": run.parameters_active_non_embedding,
                "accelerator_seconds": 3600 * run.accelerator_hours,
                "price": run.price,
            }
        )
    return pd.DataFrame(rows)


def plan_power(
    plan: Plan,
    planned: pd.DataFrame,
    config: AnalysisConfig,
    earlier: pd.DataFrame | None = None,
    gains: Sequence[float] = GAINS,
) -> Power:
    """Simulate the ladder.

    Args:
        planned: `planned_table` of the plan.
        earlier: runs of this ladder that are there already, as in runs.parquet: noise and law are theirs.
    """
    cells = plan_cells(planned)
    pairs = tuple(comparisons(cells, config.baseline, config.references))
    reason = why_nothing(cells, config)
    same = config.verdict.kind == "equivalent"
    head = Power(
        ladder=plan.ladder,
        confidence=config.confidence,
        climbs=CLIMBS,
        climbs_whole=0 if same else WHOLE,
        margin=config.verdict.margin if same else None,
        reason=reason,
        assumed=None,
        pairs=(),
        goal=None,
        weakest=None,
        changes=(),
    )
    if reason or not pairs:
        return head
    truth, assumed = assume(cells, config, earlier)
    if isinstance(config.floor, float) and assumed.law_unit != metric(config.metric).unit:
        config = config.model_copy(update={"floor": "shared"})  # it says nothing of a law in another unit
    if same:
        told = _of_equal_losses(planned, EquivalenceSimulation(cells, truth.noise, config), pairs)
    else:
        told = _of_gains(planned, Simulation(cells, truth, config, pairs), gains)
    changes = [*_drops(planned, {reference for _, reference in pairs}), *told.changes]
    changes.sort(key=lambda change: change.accelerator_hours)
    return head.model_copy(
        update={
            "assumed": assumed,
            "pairs": told.pairs,
            "goal": told.goal,
            "weakest": told.weakest,
            "changes": tuple(changes),
        }
    )


class _Told(NamedTuple):
    """What simulation finds: fields of `Power`."""

    pairs: tuple[PairPower, ...]
    goal: float | None
    weakest: Pair | None
    changes: Sequence[Change]


def _of_gains(planned: pd.DataFrame, simulation: Simulation, gains: Sequence[float]) -> _Told:
    rows = tuple(describe_pair(planned, pair, simulation.prospect(pair, gains)) for pair in simulation.pairs)
    goal, weakest = _goal(rows)
    if goal is None or weakest is None:
        return _Told(rows, goal, weakest, ())
    return _Told(rows, goal, weakest, _additions(_ways_to_promote(planned, simulation, weakest, goal)))


def _of_equal_losses(
    planned: pd.DataFrame, simulation: EquivalenceSimulation, pairs: Sequence[Pair]
) -> _Told:
    found = simulation.chances(pairs)
    rows = tuple(_describe_same(planned, pair, chances) for pair, chances in found.items())
    least = min(rows, key=lambda row: row.same[0].equivalent)
    if least.shows_same:
        return _Told(rows, None, None, ())
    weakest = least.candidate, least.reference
    return _Told(rows, None, weakest, _additions(_ways_to_equivalence(planned, simulation, weakest)))


def why_nothing(cells: Cells, config: AnalysisConfig) -> str | None:
    """Why this ladder can decide nothing, whatever comes; None if it can."""
    if cells.table["n"].max() < 2 and config.noise is None:
        verdict = "unknown" if config.verdict.kind == "equivalent" else "hold"
        return (
            "This ladder cannot decide: no seed is repeated and analysis.noise states none. Without seed "
            f"noise there are no intervals, and every verdict is {verdict}. Repeat the seeds of the smallest "
            "rung, or set analysis.noise: {sd: …}."
        )
    return None


def describe_pair(planned: pd.DataFrame, pair: Pair, prospect: Prospect) -> PairPower:
    """What is to be expected of a pair, with the price of its runs."""
    mine = planned[planned["variant"].isin(pair)]
    return PairPower(
        candidate=pair[0],
        reference=pair[1],
        accelerator_hours=_hours(mine),
        price=_price(mine),
        factor_largest=finite(math.exp(prospect.largest)) if prospect.largest < MOST else None,
        factor_target=finite(math.exp(prospect.target)) if prospect.target < MOST else None,
        chances=tuple(Chance(gain=eg, **shares) for eg, shares in prospect.chances.items()),
    )


def _describe_same(planned: pd.DataFrame, pair: Pair, chances: Chances) -> PairPower:
    """How often a pair is found equivalent, with the price of its runs."""
    mine = planned[planned["variant"].isin(pair)]
    return PairPower(
        candidate=pair[0],
        reference=pair[1],
        accelerator_hours=_hours(mine),
        price=_price(mine),
        factor_largest=None,
        factor_target=None,
        chances=(),
        same=tuple(
            SameChance(
                margins=margins,
                equivalent=shares["equivalent"],
                unknown=shares["unknown"],
                not_equivalent=shares["not equivalent"],
            )
            for margins, shares in chances.items()
        ),
    )


def _hours(runs: pd.DataFrame) -> float:
    return float(runs["accelerator_seconds"].sum()) / 3600


def _price(runs: pd.DataFrame) -> float | None:
    return None if runs["price"].isna().any() else float(runs["price"].sum())


def _goal(pairs: Iterable[PairPower]) -> tuple[float | None, Pair | None]:
    """The largest simulated gain that some pair fails to show, and the pair that shows it least."""
    weak = []
    for row in pairs:
        missed = [chance for chance in row.chances if chance.gain > 1 and chance.promote < DECISIVE]
        if missed:
            weak.append((-missed[-1].gain, missed[-1].promote, (row.candidate, row.reference)))
    if not weak:
        return None, None
    gain, _, pair = min(weak)
    return -gain, pair


def _drops(planned: pd.DataFrame, references: Collection[str]) -> list[Change]:
    """What each variant costs that nothing is compared with."""
    return [
        _change(f"drop {name}", runs, -1, None)
        for name, runs in planned.groupby("variant", sort=False)
        if name not in references and planned["variant"].nunique() > len(references) + 1
    ]


def _additions(ways: Iterable[Way]) -> list[Change]:
    """Runs that could be added, from the cheapest on until they suffice, and the chance then."""
    found = []
    for words, added, chance in sorted(ways, key=lambda way: _hours(way[1])):
        promote = chance()
        found.append(_change(words, added, 1, promote))
        if promote >= DECISIVE:
            break
    return found


def _ways_to_promote(planned: pd.DataFrame, simulation: Simulation, pair: Pair, goal: float) -> Iterator[Way]:
    def chance(changed: Simulation) -> float:
        tried = replace(changed, pairs=(pair,), whole=TRIED_WHOLE, climbs=TRIED_CLIMBS)
        return tried.prospect(pair, [goal]).chances[goal]["promote"]

    tuned = replace(simulation, config=well_tuned(simulation.config))
    yield *_rate_check(planned, _rungs(planned)[:CHECKED_RUNGS]), partial(chance, tuned)
    for words, added, cells in _with_seeds(planned, simulation.cells):
        yield words, added, partial(chance, replace(simulation, cells=cells))


def _ways_to_equivalence(
    planned: pd.DataFrame, simulation: EquivalenceSimulation, pair: Pair
) -> Iterator[Way]:
    def chance(cells: Cells) -> float:
        tried = replace(simulation, cells=cells, climbs=TRIED_CLIMBS)
        return tried.chances([pair])[pair][0.0]["equivalent"]

    for words, added, cells in _with_seeds(planned, simulation.cells):
        yield words, added, partial(chance, cells)


def _with_seeds(planned: pd.DataFrame, cells: Cells) -> Iterator[tuple[str, pd.DataFrame, Cells]]:
    """More seeds, in words and as runs, and the ladder with them."""
    whole = cells.has_profiles  # a seed has a curve of its own, and needs all sizes for it
    for count in MORE_SEEDS:
        for words, where in _places(_rungs(planned), count, whole):
            added = _more_seeds(planned, where, count)
            yield words, added, plan_cells(pd.concat([planned, added], ignore_index=True))


def _rungs(planned: pd.DataFrame) -> list[str]:
    """Labels, smallest first."""
    return list(planned.groupby("rung")["flops"].mean().sort_values().index)


def _rate_check(planned: pd.DataFrame, rungs: Sequence[str]) -> tuple[str, pd.DataFrame]:
    """Two further learning rates at the smallest rungs, in words and as runs."""
    one = planned[planned["rung"].isin(rungs)].drop_duplicates(["variant", "rung", "budget"])
    words = f"a sweep of three learning rates at {' and '.join(rungs)}"
    return words, pd.concat([one, one], ignore_index=True)


def well_tuned(config: AnalysisConfig) -> AnalysisConfig:
    """The analysis with a prior that a sweep has narrowed as far as one can."""
    by = min(config.misfit.by, LEAST)
    return config.model_copy(update={"misfit": config.misfit.model_copy(update={"by": by})})


def _places(rungs: Sequence[str], count: int, whole: bool) -> list[tuple[str, Sequence[str]]]:
    """Where seeds could be added, in words; with `whole` everywhere alone."""
    seeds = "one more seed" if count == 1 else f"{count} more seeds"
    top = rungs[-TESTED_RUNGS:]
    places = [(f"{seeds} at {' and '.join(top)}", top)] if len(rungs) > len(top) and not whole else []
    return [*places, (f"{seeds} at every rung", rungs)]


def _more_seeds(planned: pd.DataFrame, rungs: Sequence[str], count: int) -> pd.DataFrame:
    """Runs of so many new seeds of every variant at these rungs."""
    here = planned[planned["rung"].isin(rungs)].drop_duplicates(["variant", "rung", "budget"])
    first = int(planned["seed"].max()) + 1
    return pd.concat(
        [
            here.assign(seed=first + k, id=here["id"].str.rpartition("/")[0] + f"/seed{first + k}")
            for k in range(count)
        ],
        ignore_index=True,
    )


def _change(what: str, runs: pd.DataFrame, sign: int, promote: float | None) -> Change:
    price = _price(runs)
    return Change(
        what=what,
        accelerator_hours=sign * _hours(runs),
        price=None if price is None else sign * price,
        promote=promote,
    )
