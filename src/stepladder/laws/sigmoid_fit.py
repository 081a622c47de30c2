"""What `stepladder fit TABLE --law sigmoid` leaves behind: a bounded law for each curve, and how they
differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from stepladder.documents.document import Part
from stepladder.laws.document import TableFit
from stepladder.laws.forms import Array
from stepladder.laws.numbers import Interval, finite, percentile_interval
from stepladder.laws.sigmoid import PARAMETERS, Bounds, Curve, fit_curve, invert, reward

Rising = Literal["sigmoid", "accuracy"]
"""A reward of any range, or a share between chance and 1."""

FORMULA = "R0 + (A - R0) / (1 + (C_mid / C)^B)"
SOURCE = "Khatri et al. 2025 (arXiv 2510.13786)"
COLUMN: dict[Rising, str] = {"sigmoid": "reward", "accuracy": "accuracy"}

HALF = 0.5
"""Share of the largest compute up to which points are fitted to predict the others."""

LEVEL = 0.8
"""Share of the rise that both curves show, at which their compute is compared."""

ENDS = 0.2
"""Share of the points, the last ones, whose mean is predicted."""


class HeldOutEnd(Part):
    """The end of a curve, predicted from its first half."""

    compute: float
    """Largest compute that the prediction saw."""
    predicted: float
    """Mean reward of the last fifth of the points."""
    interval: Interval | None
    """Of the law; null without draws."""
    observed: float
    """What came."""
    n: int
    """Points that were predicted."""


class CurveNotes(Part):
    """How one curve was fitted."""

    name: str
    """Its group; empty where there is one curve."""
    n: int
    """Points."""
    least: float
    """Smallest compute that was fitted."""
    most: float
    """Largest compute that was fitted."""
    residual_sd: float
    """Standard deviation of the points about the law."""
    correlation: float
    """Of neighbouring points' errors: intervals take it into account."""
    reason: str | None
    """Why its asymptote is not known, or null."""
    held_out: HeldOutEnd | None
    """Null where the first half is too short to fit."""


class Contrast(Part):
    """One curve against another."""

    candidate: str
    """The curve that is judged."""
    reference: str
    """The curve that it is held against."""
    asymptote: float | None
    """Difference of A, candidate less reference; null where one of them is not known."""
    asymptote_interval: Interval | None
    """Null without draws; an end that is null is not bounded."""
    level: float
    """Reward at which they are compared: 80 % of the way from the higher of their laws' beginnings to the
    lower of their ends, which both have passed."""
    efficiency: float | None
    """Compute at which the reference reaches it over the candidate's: above 1 the candidate saves."""
    efficiency_interval: Interval | None
    """Null without draws."""


class CurveFit(TableFit):
    """Bounded laws of one or several curves."""

    SEALED: ClassVar[bool] = True

    law: Rising
    """What was fitted."""
    formula: str
    """R(C)."""
    source: str
    """Where the formula is from."""
    by: str | None
    """Column of the curves; null where there is one."""
    skipped_below: float | None
    """Compute below which points were left out; null where none were."""
    skipped: int
    """Points that were left out."""
    start: float | None
    """R0 where it was given."""
    curves: tuple[CurveNotes, ...]
    """In order of the table."""
    contrasts: tuple[Contrast, ...]
    """Every further curve against the first, or against the one that was named."""
    points: dict[str, tuple[float, ...]]
    """Curve to the fitted A, R0, B and C_mid, A whether it is known or not."""
    draws: dict[str, tuple[tuple[float, ...], ...]]
    """Curve to the same in every draw."""


def _key(name: str, curve: str) -> str:
    return f"{name}[{curve}]" if curve else name


def fit_curves(
    table: pd.DataFrame,
    law: Rising,
    by: str | None = None,
    baseline: str | None = None,
    skip_below: float | None = None,
    start: float | None = None,
    draws: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> CurveFit:
    """Fit a curve for each value of `by`.

    Args:
        table: columns compute, reward or accuracy, and `by`.
        baseline: the curve that the others are held against; by default the first.
        skip_below: compute below which points are left out, as ScaleRL leaves out the first part of a run.
        start: R0 where it is known; of an accuracy, chance.

    Raises:
        ValueError: a curve has too few points, falls, or an accuracy lies outside of chance and 1.
    """
    column = COLUMN[law]
    bounds = Bounds()
    if law == "accuracy":
        least = start or 0.0
        bad = table[(table[column] < 0) | (table[column] > 1)]
        if len(bad):
            raise ValueError(
                f"accuracy = {bad[column].iloc[0]:g}: a share lies between 0 and 1; divide per cent by 100"
            )
        bounds = Bounds(least, 1.0)
    kept = table if skip_below is None else table[table["compute"] >= skip_below]
    names = list(dict.fromkeys(map(str, kept[by]))) if by else [""]
    if baseline is not None and baseline not in names:
        raise ValueError(f"no curve {baseline!r}; there are: {', '.join(names)}")
    fitted, notes = {}, []
    for number, name in enumerate(names):
        rows = (kept if not by else kept[kept[by].astype(str) == name]).sort_values("compute")
        C, R = rows["compute"].to_numpy(dtype=float), rows[column].to_numpy(dtype=float)
        try:
            fitted[name] = fit_curve(C, R, bounds, start, draws, seed + number)
        except ValueError as error:
            raise ValueError(f"{name}: {error}" if name else str(error)) from None
        end = _held_out(C, R, bounds, start, draws, seed + number, confidence)
        notes.append(_notes(name, fitted[name], C, end, law))
    flat = {
        _key(parameter, name): value
        for name, one in fitted.items()
        for parameter, value in zip(PARAMETERS, _stated(one, one.values), strict=True)
    }
    spreads = {
        _key(parameter, name): values
        for name, one in fitted.items()
        for parameter, values in zip(PARAMETERS, _stated(one, one.draws).T, strict=True)
    }
    return CurveFit(
        n=len(kept),
        parameters={key: finite(float(value)) for key, value in flat.items()},
        standard_errors={key: _sd(values) for key, values in spreads.items()} if draws else None,
        intervals={key: percentile_interval(v, confidence) for key, v in spreads.items()} if draws else None,
        confidence=confidence,
        warnings=tuple(f"{note.name or 'the curve'}: {note.reason}" for note in notes if note.reason),
        law=law,
        formula=FORMULA,
        source=SOURCE,
        by=by,
        skipped_below=skip_below,
        skipped=len(table) - len(kept),
        start=start,
        curves=tuple(notes),
        contrasts=tuple(_contrasts(fitted, notes, baseline or names[0], confidence)),
        points={name: tuple(one.values.tolist()) for name, one in fitted.items()},
        draws={name: tuple(map(tuple, one.draws.tolist())) for name, one in fitted.items()},
    )


def _stated(curve: Curve, values: Array) -> Array:
    """Parameters (..., 4) with what is known of A."""
    return np.concatenate([curve.asymptotes(values)[..., None], values[..., 1:]], axis=-1)


def _sd(values: Array) -> float | None:
    return finite(float(values.std())) if np.isfinite(values).all() else None


def _notes(name: str, curve: Curve, compute: Array, end: HeldOutEnd | None, law: Rising) -> CurveNotes:
    reason = None
    if curve.values[3] > compute[-1]:
        top = "it is taken to be 1" if law == "accuracy" else "it is not stated"
        reason = (
            f"the points do not reach the middle of the curve, so that nothing tells its asymptote: {top}"
        )
    return CurveNotes(
        name=name,
        n=len(compute),
        least=float(compute[0]),
        most=float(compute[-1]),
        residual_sd=float(np.sqrt((curve.residuals**2).sum() / max(1, len(compute) - len(PARAMETERS)))),
        correlation=curve.correlation,
        reason=reason,
        held_out=end,
    )


def _held_out(
    compute: Array,
    rewards: Array,
    bounds: Bounds,
    start: float | None,
    draws: int,
    seed: int,
    confidence: float,
) -> HeldOutEnd | None:
    """The last points, predicted from those up to half of the compute."""
    seen = compute <= HALF * compute[-1]
    last = slice(-max(1, round(ENDS * len(compute))), None)
    try:
        early = fit_curve(compute[seen], rewards[seen], bounds, start, draws, seed)
    except ValueError:  # too few points, or no rise yet
        return None
    predicted = reward(early.values, compute[last]).mean()
    spread = reward(early.draws, compute[last]).mean(axis=-1) if draws else None
    return HeldOutEnd(
        compute=float(compute[seen][-1]),
        predicted=float(predicted),
        interval=percentile_interval(spread, confidence),
        observed=float(rewards[last].mean()),
        n=len(rewards[last]),
    )


def _contrasts(
    fitted: dict[str, Curve], notes: Sequence[CurveNotes], reference: str, confidence: float
) -> list[Contrast]:
    spans = {note.name: reward(fitted[note.name].values, np.array([note.least, note.most])) for note in notes}
    theirs, rows = fitted[reference], []
    for name, ours in fitted.items():
        if name == reference:
            continue
        begin, end = max(spans[name][0], spans[reference][0]), min(spans[name][1], spans[reference][1])
        level = float(begin + LEVEL * (end - begin))
        point = _ratio(theirs.values, ours.values, level)
        with np.errstate(invalid="ignore"):
            gap = ours.asymptotes(ours.draws) - theirs.asymptotes(theirs.draws)
            ratios = _ratio(theirs.draws, ours.draws, level)
        apart = ours.asymptote - theirs.asymptote
        rows.append(
            Contrast(
                candidate=name,
                reference=reference,
                asymptote=finite(apart),
                asymptote_interval=percentile_interval(gap, confidence) if len(gap) else None,
                level=level,
                efficiency=finite(float(point)),
                efficiency_interval=percentile_interval(ratios, confidence) if len(gap) else None,
            )
        )
    return rows


def _ratio(theirs: Array, ours: Array, level: float) -> Array:
    """Compute at which the reference reaches a level over the candidate's."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.asarray(invert(theirs, level) / invert(ours, level))
