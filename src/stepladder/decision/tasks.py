"""task_laws.json: from compute to the accuracy of every task in two steps (`laws.two_step`), what noise of
seeds and of items leaves of it, and how well the smaller rungs foretold the largest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd

from stepladder.decision.cells import DECISIVE, make_cells
from stepladder.decision.metric import tasks_of
from stepladder.documents.document import Document, Part
from stepladder.laws.clusters import Index, Runs
from stepladder.laws.forms import Array
from stepladder.laws.numbers import Interval, finite, percentile_interval
from stepladder.laws.two_step import (
    CURVE,
    KINDS,
    LEAST_RUNGS,
    Foretold,
    Kind,
    Scores,
    TwoStep,
    draw_noise,
    fit_two_step,
    foretell,
    gaps,
)
from stepladder.schema.analysis import AnalysisConfig

DRAWS = 400
"""Bootstrap draws of each kind of noise, at most: nothing is decided by them."""

CURVE_FORMULA = "R0 + (1 - R0) / (1 + exp(k (b - b_mid)))"


class TaskEstimate(Part):
    """A number, and what each kind of noise leaves of it."""

    value: float | None
    """Null where it is infinite."""
    seeds: Interval | None
    """By noise of training; null where no seed is repeated."""
    items: Interval | None
    """By the items being a sample; null where standard errors over items are not known."""
    both: Interval | None
    """By the two together; null unless both are known."""


class FirstStep(Part):
    """Bits per byte of the gold answers by compute, or by size and data."""

    law: str
    """compute, or chinchilla where several budgets tell size and data apart."""
    formula: str
    """The law in symbols."""
    parameters: dict[str, TaskEstimate]
    """By name; `A[moe]` is a variant's own."""
    residual_sd: float
    """Of the cells' log bits about it."""
    note: str | None
    """Why it is by compute although budgets differ, or null."""


class SecondStep(Part):
    """Accuracy by bits per byte, one curve for all variants."""

    formula: str
    """The curve in symbols."""
    parameters: dict[str, TaskEstimate]
    """R0, k (1 / bits per byte) and b_mid."""
    residual_sd: float
    """Of the cells' accuracy about it."""
    gaps: dict[str, float]
    """Variant to its cells' mean accuracy above the curve."""
    p_same: float | None
    """Chance of gaps as unequal as these were there none (F-test): small where variants turn bits into
    accuracy differently, so that one curve for all is wrong. Null where too few cells are left to tell."""


class ScoreForecast(Part):
    """One score, predicted and measured."""

    predicted: TaskEstimate
    """By the laws of the other rungs."""
    expected: Interval | None
    """Where the mean of the cell's own runs should lie, with their noise, all runs having answered the same
    items; null where no seed is repeated."""
    measured: float
    """Mean over the cell's runs."""
    hit: bool | None
    """Whether it lies there."""


class TaskForecast(Part):
    """One variant at the largest rung."""

    variant: str
    """Whose."""
    place: str
    """Rung, and budget where there are several."""
    flops: float
    """Of its runs."""
    n: int
    """Its runs."""
    bits: ScoreForecast
    """Bits per byte of the gold answers."""
    accuracy: ScoreForecast
    """Share of the items."""


class TaskLaw(Part):
    """One task."""

    task: str
    """Its name."""
    n_runs: int
    """Runs that were fitted."""
    items: int | None
    """Questions; null where the runs differ in it."""
    chance: float | None
    """Accuracy of guessing; null where the runs differ in it."""
    first: FirstStep | None
    """Compute to bits per byte."""
    second: SecondStep | None
    """Bits per byte to accuracy."""
    reason: str | None
    """Why there are no steps, or null."""
    forecasts: tuple[TaskForecast, ...]
    """Of the largest rung."""
    forecast_reason: str | None
    """Why there are none, or null."""
    left_out: dict[str, str]
    """Variants that were not fitted, and why."""


class TaskLaws(Document):
    """The laws of all tasks."""

    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "run snakemake again, or `stepladder signal RUNS --out FILE --laws FILE`"

    n_runs: int
    """Runs of the table."""
    rows_sha256: str
    """Digest of what its laws read of the runs."""
    confidence: float
    """Coverage of all intervals."""
    draws: int
    """Bootstrap draws of each kind of noise."""
    tasks: tuple[TaskLaw, ...]
    """In order of the table; empty where runs were scored on none."""


def rows_digest(runs: pd.DataFrame, columns: Iterable[str]) -> str:
    """Digest of what decides and of further columns, whatever the order of the rows."""
    names = [*(name for name in DECISIVE if name in runs), *columns]
    rows = sorted(map(repr, runs[names].itertuples(index=False, name=None)))
    return hashlib.sha256("\n".join([repr(names), *rows]).encode()).hexdigest()


def task_columns(runs: pd.DataFrame) -> list[str]:
    """All columns about tasks."""
    return [name for name in map(str, runs) if name.startswith("task_")]


def task_rows_sha256(runs: pd.DataFrame) -> str:
    """Digest of what the laws of tasks read of runs."""
    table = make_cells(runs).made_of
    return rows_digest(table, task_columns(table))


def two_step(runs: pd.DataFrame, config: AnalysisConfig) -> TaskLaws:
    """Fit both steps for every task of the table, and foretell its largest rung from the others.

    Args:
        runs: as in runs.parquet.

    Raises:
        ValueError: the table has tasks and no FLOPs, or its runs make no cells.
    """
    tasks = tasks_of(runs)
    if tasks and "flops" not in runs:
        raise ValueError("laws of tasks need FLOPs, and the table has none: give --columns flops=NAME")
    table = make_cells(runs).made_of
    draws = min(DRAWS, config.bootstrap_draws)
    return TaskLaws(
        n_runs=len(table),
        rows_sha256=task_rows_sha256(runs),
        confidence=config.confidence,
        draws=draws,
        tasks=tuple(_one(table, task, config, draws) for task in tasks),
    )


def _one(table: pd.DataFrame, task: str, config: AnalysisConfig, draws: int) -> TaskLaw:
    """Both steps of one task, or why there are none."""
    rows, left_out = _rows(table.sort_values("id"), task)
    items, chance = (_one_value(rows, f"task_{task}_{name}") for name in ("items", "chance"))
    law = TaskLaw(
        task=task,
        n_runs=len(rows),
        items=None if items is None else round(items),
        chance=chance,
        first=None,
        second=None,
        reason=None,
        forecasts=(),
        forecast_reason="there are no laws",
        left_out=left_out,
    )
    if rows.empty:
        return law.model_copy(update={"reason": f"no variant was scored at {LEAST_RUNGS} rungs"})
    if items is None or chance is None or items < 1 or not 0 <= chance < 1:
        return law.model_copy(update={"reason": "runs differ in the number of items, or in chance"})
    scores, variants = _scores(rows, task, round(items), chance)
    shared = config.floor != "free"  # a floor that is pinned is the loss's
    try:
        noise = draw_noise(scores, draws, config.seed)
        found = fit_two_step(scores, variants, noise, shared, config.huber_delta)
    except ValueError as error:
        return law.model_copy(update={"reason": str(error)})
    fitted = {"first": _first(found, config.confidence), "second": _second(found, config.confidence)}
    try:
        foretold = foretell(scores, variants, draws, config.seed, shared, config.huber_delta)
    except ValueError as error:
        return law.model_copy(update=fitted | {"forecast_reason": f"without the largest rung: {error}"})
    forecasts = tuple(_forecast(one, rows, config.confidence) for one in foretold)
    return law.model_copy(update=fitted | {"forecasts": forecasts, "forecast_reason": None})


def _rows(table: pd.DataFrame, task: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Runs that were scored, of variants with enough rungs; and the other variants, with reasons."""
    columns = [f"task_{task}_{name}" for name in ("bits_per_byte", "accuracy", "items", "chance")]
    if missing := [name for name in columns if name not in table]:
        return table[:0], {str(v): f"no column {missing[0]}" for v in table["variant"].unique()}
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    scored = table.assign(**numbers).dropna(subset=columns)
    rungs = scored.groupby("variant")["rung"].nunique()
    names = [str(name) for name in dict.fromkeys(table["variant"])]
    few = {
        name: f"scored at {n} rungs, of which {LEAST_RUNGS} are needed"
        for name in names
        if (n := int(rungs.get(name, 0))) < LEAST_RUNGS
    }
    return scored[~scored["variant"].isin(list(few))], few


def _one_value(rows: pd.DataFrame, column: str) -> float | None:
    """The value of a column that is one."""
    if column not in rows or rows[column].nunique() != 1:
        return None
    return float(rows[column].iloc[0])


def _scores(rows: pd.DataFrame, task: str, items: int, chance: float) -> tuple[Scores, list[str]]:
    """Scores of one task, and the variants' names by number."""
    variants = [str(name) for name in sorted(rows["variant"].unique())]
    columns = {"flops": "flops", "parameters": "parameters_active_non_embedding", "tokens": "tokens"}
    if (rows[columns["parameters"]] == rows["flops"]).all():  # which a table without sizes has in their place
        del columns["parameters"]
    runs = Runs(
        np.asarray(rows["variant"].map({name: v for v, name in enumerate(variants)}), dtype=np.int64),
        _ranked(rows, ["rung", "budget"]),
        rows["seed"].to_numpy(dtype=np.int64),
    )

    def column(name: str) -> Array:
        full = f"task_{task}_{name}"
        return np.asarray(rows[full] if full in rows else np.full(len(rows), np.nan), dtype=float)

    return Scores(
        runs=runs,
        rung=_ranked(rows, ["rung"]),
        inputs={key: rows[name].to_numpy(dtype=float) for key, name in columns.items() if name in rows},
        bits=column("bits_per_byte"),
        accuracy=column("accuracy"),
        bits_error=column("bits_per_byte_error"),
        accuracy_error=column("accuracy_error"),
        items=items,
        chance=chance,
    ), variants


def _ranked(rows: pd.DataFrame, keys: Sequence[str]) -> Index:
    """(M,) place of each row among those of `keys`, the least FLOPs (mean of their log) first."""
    log_flops = np.log(rows["flops"].to_numpy(dtype=float))
    mean = pd.Series(log_flops, index=rows.index).groupby([rows[key] for key in keys]).transform("mean")
    names = rows.groupby(list(keys), sort=False).ngroup().to_numpy()
    ordered = sorted({(value, name) for value, name in zip(mean, names, strict=True)})
    number = {name: i for i, (_, name) in enumerate(ordered)}
    return np.array([number[name] for name in names], dtype=np.int64)


def _estimate(values: dict[Kind | None, Array], confidence: float) -> TaskEstimate:
    """Of the estimate (1,) and the draws (B,) of each kind."""
    return TaskEstimate(
        value=finite(float(values[None][0])),
        **{kind: percentile_interval(values.get(kind), confidence) for kind in KINDS},
    )


def _estimates(
    found: TwoStep, named: Callable[[Kind | None], dict[str, Array]], confidence: float
) -> dict[str, TaskEstimate]:
    """Of all parameters of a step."""
    by_kind = {kind: named(kind) for kind in found.steps}
    return {
        name: _estimate({kind: values[name] for kind, values in by_kind.items()}, confidence)
        for name in by_kind[None]
    }


def _sd(residuals: Array, parameters: int) -> float:
    return float(np.sqrt((residuals**2).sum() / max(1, len(residuals) - parameters)))


def _first(found: TwoStep, confidence: float) -> FirstStep:
    return FirstStep(
        law=found.law.name,
        formula=found.law.formula,
        parameters=_estimates(found, found.parameters, confidence),
        residual_sd=_sd(found.residual, len(found.design.names)),
        note=found.note,
    )


def _second(found: TwoStep, confidence: float) -> SecondStep:
    apart = gaps(found)
    return SecondStep(
        formula=CURVE_FORMULA,
        parameters=_estimates(found, found.curve, confidence),
        residual_sd=_sd(found.off_curve, len(CURVE)),
        gaps=apart.gap,
        p_same=apart.p_same,
    )


def _forecast(found: Foretold, rows: pd.DataFrame, confidence: float) -> TaskForecast:
    run = rows.iloc[found.cell]
    several = rows["budget"].nunique() > 1
    bits, share = found.expected or (None, None)
    return TaskForecast(
        variant=found.variant,
        place=f"{run['rung']} {run['budget']}" if several else str(run["rung"]),
        flops=float(run["flops"]),
        n=found.n,
        bits=_score(found.bits, bits, found.measured_bits, confidence),
        accuracy=_score(found.accuracy, share, found.measured_accuracy, confidence),
    )


def _score(
    values: dict[Kind | None, Array], expected: Array | None, measured: float, confidence: float
) -> ScoreForecast:
    interval = percentile_interval(expected, confidence)
    hit = None
    if interval is not None:
        low, high = interval
        hit = (low is None or low <= measured) and (high is None or measured <= high)
    return ScoreForecast(
        predicted=_estimate(values, confidence), expected=interval, measured=measured, hit=hit
    )
