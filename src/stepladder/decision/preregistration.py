"""Predictions on record: made from the smaller rungs before the largest run, and judged when these have."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from stepladder.decision.axis_fit import CellPrediction
from stepladder.decision.cells import make_cells
from stepladder.decision.heldout import by_size, predict_rungs
from stepladder.decision.prediction_record import CheckedPrediction, PredictionRecord, RecordCheck, RestsOn
from stepladder.decision.rule_record import changes
from stepladder.record.plan import Plan
from stepladder.schema.analysis import AnalysisConfig

SAME_COST = 0.01
"""Relative difference up to which a run is at the compute that was predicted."""


def planned_runs(plan: Plan, ids: Collection[str]) -> pd.DataFrame:
    """The runs `ids` of a plan, with the columns of runs.parquet that a prediction needs."""
    rows = pd.DataFrame([run.model_dump() for run in plan.runs if run.id in ids])
    rows = rows.assign(learning_rate_factor=1.0, budget_multiple=1.0)
    # In a sweep a cell keeps its best factor: one run a seed is what will be compared.
    return rows.drop_duplicates(["variant", "rung", "budget", "seed"])


def preregister(
    done: pd.DataFrame,
    planned: pd.DataFrame,
    config: AnalysisConfig,
    code: str,
    results: Mapping[str, Path],
) -> PredictionRecord:
    """A record of what the smaller rungs predict for the held-out ones, made before those run.

    Args:
        done: runs of the smaller rungs, as in runs.parquet.
        planned: runs of the held-out rungs, with their planned `flops` and no loss.
        code: fingerprint of the analysis code.
        results: run id to the result.json that the prediction rests on.

    Raises:
        ValueError: the smaller rungs cannot identify the laws.
    """
    # The loss of a rung that is left out is not looked at; it must only be a number.
    blank = planned.assign(loss=1.0, accelerator_seconds=1.0, tokens=1.0)
    cells = make_cells(pd.concat([done, blank], ignore_index=True))
    rungs = [rung for rung in by_size(cells) if rung in set(planned["rung"])]
    found = predict_rungs(cells, "flops", config, rungs, config.bootstrap_draws)
    if found.reason:
        raise ValueError(f"nothing to pre-register: {found.reason}")
    losses = dict(zip(done["id"], done["loss"].astype(float), strict=True))
    inputs = {
        run: RestsOn(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), loss=losses[run])
        for run, path in sorted(results.items())
    }
    # What "came" of the held-out rungs here is the blank loss: it is not part of the record.
    came = {"observed", "relative_error", "cost_ratio", "inside"}
    record = PredictionRecord(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        rungs=rungs,
        confidence=config.confidence,
        settings=config.model_dump(mode="json"),
        analysis_code=code,
        n_runs=len(done),
        inputs=inputs,
        predictions=[CellPrediction(**row.model_dump(exclude=came)) for row in found.predictions],
        sha256="",
    )
    return record.model_copy(update={"sha256": record.digest()})


def check_record(
    record: PredictionRecord, runs: pd.DataFrame, config: AnalysisConfig, code: str
) -> RecordCheck:
    """Whether a prediction record is as it was made, rests on the runs, settings and code that there are, was
    made before the predicted runs began, and came true.

    Args:
        runs: as in runs.parquet.
        config: the analysis section of now.
        code: fingerprint of the analysis code of now.

    The record's own sha256 shows accidents. Against a forger only a copy of it elsewhere helps.
    """
    held = runs[runs["rung"].isin(record.rungs)]
    rows = [_check_prediction(row, held) for row in record.predictions]
    losses = dict(zip(runs["id"], runs["loss"], strict=True))
    started = _times(held["lineage_started"]) if "lineage_started" in held else None
    first = min(started) if started else None
    judged = [row.inside for row in rows]
    known = bool(judged) and None not in judged
    return RecordCheck(
        made_at=record.made_at,
        sha256=record.sha256,
        whole=record.digest() == record.sha256,
        inputs_changed=[run for run, made in record.inputs.items() if losses.get(run) != made.loss],
        settings_changed=changes(record.settings, config),
        code_changed=record.analysis_code != code,
        first_run_started=first.isoformat() if first else None,
        before=None if first is None else _time(record.made_at) <= first,
        n_runs=record.n_runs,
        rungs=record.rungs,
        predictions=rows,
        came_true=all(judged) if known else None,
    )


def _check_prediction(row: CellPrediction, held: pd.DataFrame) -> CheckedPrediction:
    """A prediction with what came: `reason` where they cannot be compared."""

    def checked(**found: float | str) -> CheckedPrediction:
        return CheckedPrediction(**dict(row), **found)

    mine = held[
        (held["variant"] == row.variant) & (held["rung"] == row.rung) & (held["budget"] == row.budget)
    ]
    if mine.empty:
        return checked(reason="has not run")
    cells = make_cells(mine).table
    n, cost = int(cells["n"].iloc[0]), float(cells["flops"].iloc[0])
    if n != row.n:
        return checked(reason=f"{n} seeds ran, {row.n} were predicted")
    if abs(cost / row.cost - 1) > SAME_COST:
        return checked(reason=f"ran at {cost:.3g} FLOPs, predicted at {row.cost:.3g}")
    observed = float(cells["loss"].iloc[0])
    error = observed / row.predicted - 1
    if row.interval is None:
        return checked(observed=observed, relative_error=error, reason="no interval was predicted")
    low, high = row.interval
    inside = (low is None or low <= observed) and (high is None or observed <= high)
    return checked(observed=observed, relative_error=error, inside=inside)


def _times(texts: pd.Series) -> list[datetime] | None:
    """None where any is missing: what is not known did not begin later."""
    if texts.empty or texts.isna().any():
        return None
    return [_time(str(text)) for text in texts]


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
