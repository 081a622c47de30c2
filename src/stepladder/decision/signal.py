"""signal.json: which metrics tell variants apart at small rungs, and whether what they say there holds.

Signal and noise after Heineman et al. 2025 ("Signal and noise", arXiv 2508.13144): signal is the relative
dispersion of variants, the largest less the smallest of their mean scores over the mean of these; noise is
the standard deviation of one model's score over the same mean, there of its last checkpoints, here of
repeated seeds (and of checkpoints where those are given). Decision accuracy after DataDecide (Magnusson et
al. 2025, arXiv 2504.11393): the share of pairs of variants that a small rung puts in the order of the
largest.

Shapes: V variants, B draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd

from stepladder.decision.by_metric import metrics_of
from stepladder.decision.cells import make_cells
from stepladder.decision.metric import on_metric, tasks_of
from stepladder.decision.tasks import rows_digest, task_columns
from stepladder.documents.document import Document, Part
from stepladder.laws.clusters import Deviations, Runs
from stepladder.laws.forms import Array
from stepladder.laws.numbers import Interval, finite, percentile_interval
from stepladder.schema.analysis import AXES, AnalysisConfig
from stepladder.schema.metric import MetricName, metric

DRAWS = 1000
"""Bootstrap draws, at most: nothing is decided by them."""

TASK_SCORES = {"accuracy": True, "accuracy_per_byte": True, "margin": True}
"""Scores of a task beside its bits per byte, which are a metric, and whether higher is better."""


class Score(NamedTuple):
    """A metric as a column of the table of runs."""

    name: str
    """As `analysis.metric` has it, or task:<name>:<score>."""
    column: str
    higher_is_better: bool


class SignalNoise(Part):
    """One metric at one place of the ladder."""

    metric: str
    """As `analysis.metric` has it, or task:<name>:<score>."""
    place: str
    """Rung, and budget where there are several."""
    variants: int
    """Variants that have runs there."""
    n_runs: int
    """Their runs."""
    signal: float | None
    """Largest less smallest mean of the variants, over the mean of these. It counts noise as well: see
    `by_noise`. Null where that mean is 0."""
    signal_interval: Interval | None
    """By noise of seeds; null where no seed is repeated."""
    by_noise: float | None
    """The signal that variants without any difference would show on average, by noise of seeds alone."""
    noise: float | None
    """Standard deviation of one run over seeds, pooled over variants, over the same mean."""
    noise_interval: Interval | None
    """By the degrees of freedom that it has."""
    noise_checkpoints: float | None
    """The same over the last checkpoints of a run; null where none were given."""
    ratio: float | None
    """Signal over noise of seeds."""
    ratio_interval: Interval | None
    """Null without noise of seeds."""


class Agreement(Part):
    """Decision accuracy of one metric at one place, held against one metric at the largest place."""

    metric: str
    """What orders the variants at the smaller place."""
    place: str
    """Rung, and budget where there are several."""
    by: str
    """What orders them at the largest: the same metric, or the one that decides."""
    largest: str
    """The largest place."""
    pairs: int
    """Pairs of variants. They are few, and no more than V - 1 of them are independent."""
    share: float
    """Of the pairs that are in the same order by their means over seeds; a tie counts half."""
    interval: Interval | None
    """By noise of seeds at both places; null where no seed is repeated."""


class Signal(Document):
    """What each metric tells, and from which rung on."""

    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "run snakemake again, or `stepladder signal RUNS --out FILE`"

    metric: MetricName
    """The one that decides."""
    n_runs: int
    """Runs of the table."""
    rows_sha256: str
    """Digest of what this was made from."""
    confidence: float
    """Coverage of all intervals."""
    draws: int
    """Bootstrap draws."""
    signals: tuple[SignalNoise, ...]
    """Every metric at every place with two variants."""
    agreements: tuple[Agreement, ...]
    """Every metric at every smaller place with two variants that ran at the largest too."""
    refused: dict[str, str]
    """Metrics by which the runs do not compare, and why."""


class _Scored(NamedTuple):
    """One metric's values, place by place."""

    score: Score
    rows: pd.DataFrame
    """Runs that have it, with `value` and `place`."""


def scores_of(runs: pd.DataFrame, deciding: str) -> list[Score]:
    """Every metric that a table has, the deciding one first."""
    losses = list(dict.fromkeys([deciding, *metrics_of(runs)]))
    found = [Score(name, metric(name).column, False) for name in losses]
    return found + [
        Score(f"task:{task}:{score}", column, higher)
        for task in tasks_of(runs)
        for score, higher in TASK_SCORES.items()
        if (column := f"task_{task}_{score}") in runs
    ]


def signal(runs: pd.DataFrame, config: AnalysisConfig, checkpoints: pd.DataFrame | None = None) -> Signal:
    """Signal, noise and decision accuracy of every metric.

    Args:
        runs: as in runs.parquet.
        checkpoints: of runs, by their `id`, several rows each: the same columns at their last checkpoints.

    Raises:
        ValueError: the deciding metric is not there, or the runs make no cells.
    """
    on_metric(runs, config.metric)
    draws = min(DRAWS, config.bootstrap_draws)
    table = make_cells(runs).made_of.sort_values("id")
    label, order = _places(table)
    scored, refused = _scored(table.assign(place=label), config.metric)
    if config.metric in refused:
        raise ValueError(f"metric {config.metric}: {refused[config.metric]}")
    signals = [
        _signal(one, place, rows, config, draws, checkpoints)
        for one in scored
        for place in order
        for rows in [one.rows[one.rows["place"] == place]]
        if rows["variant"].nunique() > 1
    ]
    return Signal(
        metric=config.metric,
        n_runs=len(table),
        rows_sha256=signal_rows_sha256(runs, config.metric),
        confidence=config.confidence,
        draws=draws,
        signals=tuple(signals),
        agreements=tuple(_agreements(scored, order, config, draws)),
        refused=refused,
    )


def signal_rows_sha256(runs: pd.DataFrame, deciding: str) -> str:
    """Digest of what signal and noise are of."""
    table = make_cells(runs).made_of
    columns = [score.column for score in scores_of(table, deciding) if score.column in table]
    return rows_digest(table, dict.fromkeys([*columns, *task_columns(table)]))


def _places(table: pd.DataFrame) -> tuple[pd.Series, list[str]]:
    """Label of every run's place, and the labels, smallest first: in order of their mean cost."""
    several = table["budget"].nunique() > 1
    label = table["rung"] + (" " + table["budget"] if several else "")
    cost = next(axis.column for axis in AXES.values() if axis.column in table)
    mean = np.log(table[cost]).groupby(label).mean()
    return label, [str(name) for name in mean.sort_values().index]


def _scored(table: pd.DataFrame, deciding: str) -> tuple[list[_Scored], dict[str, str]]:
    found, refused = [], {}
    for score in scores_of(table, deciding):
        try:
            if not score.name.startswith("task:"):
                on_metric(table, score.name)
        except ValueError as error:
            refused[score.name] = str(error)
            continue
        rows = table.assign(value=pd.to_numeric(table[score.column], errors="coerce").astype(float))
        rows = rows[np.isfinite(rows["value"])]
        if rows.empty:
            refused[score.name] = f"no run has {score.column}"
            continue
        found.append(_Scored(score, rows))
    return found, refused


class _Place(NamedTuple):
    """Variants at one place, by one metric."""

    names: list[str]
    means: Array
    """(V,)."""
    deviations: Deviations | None
    noise: Array | None
    """(B, V) of the means, by noise of seeds."""


def _at(rows: pd.DataFrame, draws: int, seed: int) -> _Place:
    names = sorted(map(str, rows["variant"].unique()))
    runs = Runs(
        np.asarray(rows["variant"].map({name: v for v, name in enumerate(names)}), dtype=np.int64),
        np.zeros(len(rows), dtype=np.int64),
        rows["seed"].to_numpy(dtype=np.int64),
    )
    values = rows["value"].to_numpy(dtype=float)
    deviations = Deviations.of(runs, values[:, None])
    noise = None
    if deviations is not None and draws > 0:
        noise = deviations.draw(np.random.default_rng(seed), runs, draws)[:, 0]
    return _Place(names, runs.means(values), deviations, noise)


def _signal(
    one: _Scored,
    place: str,
    rows: pd.DataFrame,
    config: AnalysisConfig,
    draws: int,
    checkpoints: pd.DataFrame | None,
) -> SignalNoise:
    found = _at(rows, draws, config.seed)
    spread, size = float(np.ptp(found.means)), abs(float(found.means.mean()))
    row = SignalNoise(
        metric=one.score.name,
        place=place,
        variants=len(found.names),
        n_runs=len(rows),
        signal=_over(spread, size),
        signal_interval=None,
        by_noise=None,
        noise=None,
        noise_interval=None,
        noise_checkpoints=_checkpoint_noise(one, rows, size, checkpoints),
        ratio=None,
        ratio_interval=None,
    )
    if found.deviations is None:
        return row
    sd = float(found.deviations.sd[0])
    update: dict[str, float | Interval | None] = {"noise": _over(sd, size), "ratio": _over(spread, sd)}
    if found.noise is not None:
        factors = found.deviations.factors(np.random.default_rng(config.seed + 1), len(found.noise))
        spreads = np.ptp(found.means + found.noise, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            intervals = {
                "signal_interval": spreads / size,
                "noise_interval": sd * factors / size,
                "ratio_interval": spreads / (sd * factors),
            }
        update |= {name: percentile_interval(values, config.confidence) for name, values in intervals.items()}
        update["by_noise"] = _over(float(np.ptp(found.noise, axis=1).mean()), size)
    return row.model_copy(update=update)


def _over(value: float, by: float) -> float | None:
    return finite(value / by) if by > 0 else None


def _checkpoint_noise(
    one: _Scored, rows: pd.DataFrame, size: float, checkpoints: pd.DataFrame | None
) -> float | None:
    """Standard deviation within runs, pooled over them by their degrees of freedom."""
    if checkpoints is None or one.score.column not in checkpoints:
        return None
    values = checkpoints[checkpoints["id"].isin(rows["id"])].groupby("id")[one.score.column]
    dof = int((values.count() - 1).clip(lower=0).sum())
    squares = float((values.var() * (values.count() - 1)).sum())
    return _over(np.sqrt(squares / dof), size) if dof else None


def _agreements(
    scored: list[_Scored], order: list[str], config: AnalysisConfig, draws: int
) -> Iterator[Agreement]:
    deciding = scored[0]
    for one in scored:
        for other in dict.fromkeys([one.score.name, deciding.score.name]):
            top = one if other == one.score.name else deciding
            last = top.rows[top.rows["place"] == order[-1]]
            for place in order[:-1]:
                rows = one.rows[one.rows["place"] == place]
                both = set(rows["variant"]) & set(last["variant"])
                if len(both) > 1:
                    small = _at(rows[rows["variant"].isin(both)], draws, config.seed)
                    large = _at(last[last["variant"].isin(both)], draws, config.seed + 1)
                    sign = 1 if one.score.higher_is_better == top.score.higher_is_better else -1
                    yield Agreement(
                        metric=one.score.name,
                        place=place,
                        by=other,
                        largest=order[-1],
                        pairs=len(both) * (len(both) - 1) // 2,
                        share=float(same_order(sign * small.means, large.means)),
                        interval=_share_interval(small, large, sign, config.confidence),
                    )


def _share_interval(small: _Place, large: _Place, sign: int, confidence: float) -> Interval | None:
    """By noise at the places that have any; None where neither has."""
    if small.noise is None and large.noise is None:
        return None
    one, other = (place.means + (0 if place.noise is None else place.noise) for place in (small, large))
    return percentile_interval(same_order(sign * one, other), confidence)


def same_order(one: Array, other: Array) -> Array:
    """Share (...) of the pairs of the last axis (..., V) that both put in the same order; a tie in either
    counts half."""
    pairs = list(combinations(range(np.shape(one)[-1]), 2))
    i, j = np.array(pairs).T
    product = np.sign(one[..., i] - one[..., j]) * np.sign(other[..., i] - other[..., j])
    return np.asarray(((product + 1) / 2).mean(axis=-1))
