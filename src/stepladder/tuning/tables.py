"""A ladder's sweep for `tune`: its finished runs as a table, and the sizes that rates are wanted for."""

from __future__ import annotations

import pandas as pd

from stepladder.data.manifest import fingerprints
from stepladder.ladder.climb import Climb
from stepladder.ladder.sweep import quantity, quantity_name, rule_rate
from stepladder.record.paths import LadderFolder
from stepladder.record.tables import read_runs
from stepladder.tuning.tune import Target


def sweep_table(climb: Climb, results: LadderFolder) -> pd.DataFrame:
    """One row per run of the sweep: result.json as in runs.parquet, and what `tune` needs of the design.

    Raises:
        FileNotFoundError: a run has no result yet.
        ValueError: a result is of another spec than the ladder asks for.
    """
    shards = fingerprints(results)
    found = read_runs(results, climb.sweep, shards=shards)
    name = quantity_name(climb.ladder)
    for (run, planned), sha in zip(climb.sweep.items(), found["spec_sha256"], strict=True):
        if planned.spec.sha256 != sha:
            raise ValueError(f"the result of {run} is of another spec: run snakemake, which trains it again")
    planned_runs = climb.sweep.values()
    return found.assign(
        factor=[run.factor for run in planned_runs],
        batch_factor=[run.batch_factor for run in planned_runs],
        batch_sequences=[run.spec.recipe.phases[-1].sequences for run in planned_runs],
        base_rate=[run.spec.optimizer.learning_rate / run.factor for run in planned_runs],
        rule_rate=[rule_rate(climb.ladder, run.spec) for run in planned_runs],
        quantity=[quantity(run.spec, name) for run in planned_runs],
    )


def targets(climb: Climb) -> list[Target]:
    """Every variant, rung and budget of the ladder, for which `tune` is to find a rate."""
    name = quantity_name(climb.ladder)
    found = {
        (run.variant, run.rung, run.budget): Target(
            variant=run.variant,
            rung=run.rung,
            budget=run.budget,
            quantity=quantity(run, name),
            rule_rate=rule_rate(climb.ladder, run),
            ruled_rate=run.optimizer.learning_rate,
            applied=run.id in climb.tuned,
        )
        for run in climb.runs.values()
    }
    return list(found.values())
