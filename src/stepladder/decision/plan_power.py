"""What a planned ladder will tell, what that rests on, and what would make it tell more: `power.Power`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from stepladder.decision.assumptions import assume
from stepladder.decision.cells import Cells
from stepladder.decision.chances import CLIMBS, WHOLE, Prospect, Simulation, plan_cells
from stepladder.decision.climbs import Pair
from stepladder.decision.compare import comparisons
from stepladder.decision.power import DECISIVE, Chance, Change, PairPower, Power
from stepladder.decision.seeds import TESTED_RUNGS
from stepladder.decision.undertuning import CHECKED_RUNGS, LEAST
from stepladder.laws.numbers import finite
from stepladder.record.plan import Plan
from stepladder.record.spec import RunSpec
from stepladder.schema.analysis import AnalysisConfig

MOST = 700.0
"""Logarithm that no factor is printed beyond."""

MORE_SEEDS = (1, 2, 4, 8)
"""Seeds that are tried beside what is planned."""

GAINS = (1.0, 1.1, 1.3)
"""True gains whose verdicts are simulated."""

TRIED_WHOLE = 3
TRIED_CLIMBS = 200
"""Climbs for each change that is tried."""


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
    head = Power(
        ladder=plan.ladder,
        confidence=config.confidence,
        climbs=CLIMBS,
        climbs_whole=WHOLE,
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
    simulation = Simulation(cells, truth, config, pairs)
    found = {pair: simulation.prospect(pair, gains) for pair in pairs}
    rows = tuple(describe_pair(planned, pair, prospect) for pair, prospect in found.items())
    goal, weakest = _goal(rows)
    changes = _drops(planned, {reference for _, reference in pairs})
    if goal is not None and weakest is not None:
        changes += _additions(planned, simulation, weakest, goal)
    changes.sort(key=lambda change: change.accelerator_hours)
    return head.model_copy(
        update={
            "assumed": assumed,
            "pairs": rows,
            "goal": goal,
            "weakest": weakest,
            "changes": tuple(changes),
        }
    )


def why_nothing(cells: Cells, config: AnalysisConfig) -> str | None:
    """Why no run of this ladder can be promoted or rejected, whatever comes; None if one can."""
    if config.verdict.kind == "equivalent":
        return (
            "What this ladder will tell is not simulated: its rule asks for equal losses, and chances are "
            "known of gains only."
        )
    if cells.table["n"].max() < 2 and config.noise is None:
        return (
            "This ladder cannot decide: no seed is repeated and analysis.noise states none. Without seed "
            "noise there are no intervals, and every verdict is hold. Repeat the seeds of the smallest rung, "
            "or set analysis.noise: {sd: …}."
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


def _additions(planned: pd.DataFrame, simulation: Simulation, pair: Pair, goal: float) -> list[Change]:
    """Runs that could be added, from the cheapest on until the pair shows the goal, and its chance then."""
    rungs = list(planned.groupby("rung")["flops"].mean().sort_values().index)
    whole = simulation.cells.has_profiles  # a seed has a curve of its own, and needs all sizes for it
    tuned = replace(simulation, config=well_tuned(simulation.config))
    options = [(*_rate_check(planned, rungs[:CHECKED_RUNGS]), tuned)]
    for count in MORE_SEEDS:
        for words, where in _places(rungs, count, whole):
            added = _more_seeds(planned, where, count)
            cells = plan_cells(pd.concat([planned, added], ignore_index=True))
            options.append((words, added, replace(simulation, cells=cells)))
    found = []
    for words, added, changed in sorted(options, key=lambda option: _hours(option[1])):
        tried = replace(changed, pairs=(pair,), whole=TRIED_WHOLE, climbs=TRIED_CLIMBS)
        promote = tried.prospect(pair, [goal]).chances[goal]["promote"]
        found.append(_change(words, added, 1, promote))
        if promote >= DECISIVE:
            break
    return found


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
