"""Fit the laws of size and data that a table identifies, and what follows from them: `size_laws.SizeLaws`.

Shapes: V variants, B bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from stepladder.decision.cells import Cells, make_cells
from stepladder.decision.compare import comparisons
from stepladder.decision.extrapolate import one_rung_up
from stepladder.decision.minima import profile_budgets
from stepladder.decision.size_laws import (
    Estimate,
    Forecast,
    JointGain,
    JointLaws,
    JointName,
    Optimum,
    Profiles,
    SizeLaws,
)
from stepladder.decision.surface import Surface
from stepladder.laws.forms import LAWS, Array
from stepladder.laws.isoflop import isoflop
from stepladder.laws.numbers import finite, percentile_interval
from stepladder.laws.profiles import Profile
from stepladder.laws.profiles import Profiles as Curves
from stepladder.laws.table_fit import Options, fit_table, inputs_of
from stepladder.schema.analysis import AXES, AnalysisConfig

DRAWS = 1000
"""Bootstrap draws, at most."""

ALIKE = 0.02
"""Sizes closer than this are one, however narrow their intervals."""


class Fitted(NamedTuple):
    """Every law of one table."""

    joint: dict[JointName, JointLaws]
    """With the draws of their fits."""
    profiles: dict[str, Profiles]


def fit_size_laws(runs: pd.DataFrame, config: AnalysisConfig) -> SizeLaws:
    """Fit every law of size and data that these runs identify, and say why not of the others.

    Args:
        runs: as in runs.parquet.

    Raises:
        ValueError: the table does not say sizes, tokens or FLOPs, or has no runs of the baseline.
    """
    _refuse_columns(runs)
    cells = make_cells(runs)
    if unknown := {config.baseline, *config.references} - set(cells.variants):
        there = ", ".join(cells.variants)
        raise ValueError(f"no runs of {', '.join(sorted(unknown))}; there are: {there}")
    table = cells.made_of.assign(parameters=cells.made_of["parameters_active_non_embedding"])
    target = config.target_flops or one_rung_up(cells)
    budgets = _budgets(table)
    beyond = [target] if target and target > float(table["flops"].max()) else []
    draws = min(DRAWS, config.bootstrap_draws)
    found = _fit(table, config, draws, [*budgets, *beyond])
    chinchilla = found.joint["chinchilla"].fit
    surfaces = {}
    if chinchilla is not None:
        surfaces = {v: Surface.of(chinchilla, v, table[table["variant"] == v]) for v in cells.variants}
    optima = tuple(_optima(cells, found, surfaces, budgets, beyond, config.confidence))
    return SizeLaws(
        n_runs=len(table),
        rows_sha256=cells.rows_sha256,
        metric=config.metric,
        confidence=config.confidence,
        chinchilla=_without_draws(found.joint["chinchilla"]),
        overtraining=_without_draws(found.joint["overtraining"]),
        isoflop=found.profiles,
        optima=optima,
        forecasts=tuple(_forecasts(table, config, found)),
        gains=tuple(_gains(cells, config, surfaces, [*budgets[-1:], *beyond])),
        warnings=(*_warnings(found), *_apart(optima)),
    )


def _refuse_columns(runs: pd.DataFrame) -> None:
    missing = [name for name in ("flops", "tokens") if name not in runs]
    cost = next((axis.column for axis in AXES.values() if axis.column in runs), None)
    # what a table of other tools does not say of sizes, its cost stands for
    if cost is not None and (runs["parameters_active_non_embedding"] == runs[cost]).all():
        missing.append("parameters")
    if missing:
        raise ValueError(
            f"laws of size and data need flops, parameters and tokens, and the table has no "
            f"{' and no '.join(missing)}: name the columns with --columns {missing[0]}=NAME"
        )


def _budgets(table: pd.DataFrame) -> list[float]:
    """FLOPs of the profiles, ascending; of a table without any, those of its largest rung."""
    labels = profile_budgets(table)
    if not labels:
        return [float(table["flops"].max())]
    return sorted(table[table["budget"].isin(labels)].groupby("budget")["flops"].mean())


def _fit(table: pd.DataFrame, config: AnalysisConfig, draws: int, targets: Sequence[float]) -> Fitted:
    profiled = table[table["budget"].isin(profile_budgets(table))]
    return Fitted(
        joint={
            "chinchilla": fit_joint(table, "chinchilla", config, draws),
            "overtraining": fit_joint(table, "overtraining", config, draws),
        },
        profiles={
            str(name): _profiles(profiled[profiled["variant"] == name], config, draws, targets)
            for name in dict.fromkeys(table["variant"])
        },
    )


def fit_joint(table: pd.DataFrame, name: JointName, config: AnalysisConfig, draws: int) -> JointLaws:
    """One law for all variants, which share the floor if the ladder says so; a seed's runs are drawn
    together."""
    options = Options(
        by="variant",
        shared=("E",) if config.floor == "shared" and table["variant"].nunique() > 1 else (),
        pinned={} if isinstance(config.floor, str) else {"E": float(config.floor)},
        clusters=("rung", "budget", "seed"),
        draws=draws,
        seed=config.seed,
        confidence=config.confidence,
    )
    try:
        return JointLaws(fit=fit_table(table, LAWS[name](), options), reason=None)
    except ValueError as error:
        told = str(error).replace("--pin E=1.7", "analysis.floor: 1.7").replace("--share E", "floor: shared")
        return JointLaws(fit=None, reason=told)


def _profiles(table: pd.DataFrame, config: AnalysisConfig, draws: int, targets: Sequence[float]) -> Profiles:
    if table["budget"].nunique() < 2:
        return Profiles(fit=None, reason="fewer than two budgets of FLOPs with three sizes each")
    try:
        fit = isoflop(table, draws, config.seed, config.confidence, targets, check=False)
    except ValueError as error:
        return Profiles(fit=None, reason=str(error))
    return Profiles(fit=fit, reason=None)


def _without_draws(found: JointLaws) -> JointLaws:
    fit = found.fit and found.fit.model_copy(update={"draws": None})
    return found.model_copy(update={"fit": fit})


def _optima(
    cells: Cells,
    found: Fitted,
    surfaces: dict[str, Surface],
    budgets: Sequence[float],
    beyond: Sequence[float],
    confidence: float,
) -> Iterator[Optimum]:
    for variant in cells.variants:
        by_profiles = found.profiles[variant].fit
        for flops in [*budgets, *beyond]:
            N = D = joint_N = joint_D = None
            if by_profiles is not None:
                (row,) = (row for row in by_profiles.targets if row.flops == flops)
                N = Estimate(value=row.parameters, interval=row.parameters_interval)
                D = Estimate(value=row.tokens, interval=row.tokens_interval)
            if variant in surfaces:
                best = surfaces[variant].best(np.full_like(surfaces[variant].E, flops))
                joint_N, joint_D = (_estimate(values, confidence) for values in best)
            if N is None and joint_N is None:
                continue
            difference = None
            if N and joint_N and N.value and joint_N.value:
                difference = joint_N.value / N.value - 1
            yield Optimum(
                variant=variant,
                flops=flops,
                trained=flops in budgets,
                parameters=N,
                tokens=D,
                parameters_joint=joint_N,
                tokens_joint=joint_D,
                difference=difference,
            )


def _estimate(values: Array, confidence: float) -> Estimate:
    """Of (B,), the first being the estimate."""
    interval = percentile_interval(values[1:], confidence) if len(values) > 2 else None
    return Estimate(value=finite(values[0]), interval=interval)


def _forecasts(table: pd.DataFrame, config: AnalysisConfig, found: Fitted) -> Iterator[Forecast]:
    """Of the largest budget with a profile, or where there are none of the largest rung, by the laws that
    there are of all runs."""
    labels = profile_budgets(table)
    column = "budget" if labels else "rung"
    there = table[table["budget"].isin(labels)] if labels else table
    largest = there.groupby(column)["flops"].mean().idxmax()
    last = table[column] == largest
    held, rest = table[last], table[~last]
    if rest.empty:
        return
    fitted = _fit(rest, config, 0, [float(held["flops"].mean())])
    for name, laws in fitted.joint.items():
        if found.joint[name].fit is None:
            continue
        for variant, mine in held.groupby("variant", sort=False):
            yield _loss_forecast(str(variant), name, laws, mine)
    for variant, mine in held.groupby("variant", sort=False):
        profiles = fitted.profiles.get(str(variant))
        if profiles is not None and found.profiles[str(variant)].fit is not None:
            yield _size_forecast(str(variant), profiles, mine)


def _loss_forecast(variant: str, name: JointName, laws: JointLaws, held: pd.DataFrame) -> Forecast:
    errors = None
    if laws.fit is not None:
        law, values = LAWS[name](), laws.fit.parameters | laws.fit.pinned
        own = {base: values.get(f"{base}[{variant}]", values.get(base)) for base in law.names}
        if None not in own.values():
            predicted = law.loss(own, inputs_of(law, held))
            errors = predicted / held["loss"].to_numpy(float) - 1
    return Forecast(
        variant=variant,
        law=name,
        flops=float(held["flops"].mean()),
        n=len(held),
        loss_error=None if errors is None else float(errors.mean()),
        loss_worst=None if errors is None else float(errors[np.abs(errors).argmax()]),
        parameters_error=None,
        reason=laws.reason if errors is None else None,
    )


def _size_forecast(variant: str, profiles: Profiles, held: pd.DataFrame) -> Forecast:
    error, reason = None, profiles.reason
    if profiles.fit is not None:
        own = _lowest_size(held)
        predicted = profiles.fit.targets[0].parameters
        error = predicted / own - 1 if own and predicted else None
        reason = None if error is not None else "the largest profile has no lowest point between its sizes"
    return Forecast(
        variant=variant,
        law="isoflop",
        flops=float(held["flops"].mean()),
        n=len(held),
        loss_error=None,
        loss_worst=None,
        parameters_error=error,
        reason=reason,
    )


def _lowest_size(held: pd.DataFrame) -> float | None:
    """N at the lowest point of one profile; None if it has none."""
    described = Curves.of([Profile.of(held)], log_loss=False).describe(0)
    return described.parameters if described.usable else None


def _gains(
    cells: Cells, config: AnalysisConfig, surfaces: dict[str, Surface], budgets: Sequence[float]
) -> Iterator[JointGain]:
    if not surfaces:
        return
    for candidate, reference in comparisons(cells, config.baseline, config.references):
        mine, theirs = surfaces[candidate], surfaces[reference]
        for flops in budgets:
            # At the reference's estimate of its best size: where, is no part of the uncertainty.
            N, D = (np.full_like(mine.E, value[0]) for value in theirs.best(np.full_like(mine.E, flops)))
            C = np.full_like(mine.E, flops)
            loss = mine.loss(N, D)
            best = mine.loss(*mine.best(C))
            gains = (
                theirs.flops_for(best) / C,
                theirs.tokens_for(loss, N) / D,
                theirs.parameters_for(loss, D) / N,
            )
            frontier, tokens, parameters = (_estimate(values, config.confidence) for values in gains)
            yield JointGain(
                candidate=candidate,
                reference=reference,
                flops=flops,
                parameters=float(N[0]),
                tokens=float(D[0]),
                frontier=frontier,
                at_equal_parameters=tokens,
                at_equal_tokens=parameters,
            )


def _apart(optima: Sequence[Optimum]) -> Iterator[str]:
    """Variants whose two best sizes at the largest trained budget lie outside each other's interval."""
    largest = {row.variant: row for row in optima if row.trained}
    for name, row in largest.items():
        one, other = row.parameters, row.parameters_joint
        if one is None or other is None or abs(row.difference or 0.0) < ALIKE:
            continue
        if _outside(one, other) and _outside(other, one):
            yield (
                f"{name} at {row.flops:.3g} FLOPs: N* = {one.value:.3g} by the profiles, "
                f"{other.value:.3g} by Chinchilla's law, each outside the other's interval: the surface is "
                "not of that form, or profiles are undertuned at an end; believe neither before that is found"
            )


def _outside(one: Estimate, other: Estimate) -> bool:
    """Whether an estimate lies outside the other's interval; False where that is not known."""
    if one.value is None or other.interval is None:
        return False
    low, high = other.interval
    return (low is not None and one.value < low) or (high is not None and one.value > high)


def _warnings(found: Fitted) -> Iterator[str]:
    for law, joint in found.joint.items():
        yield from (f"{law}: {text}" for text in (joint.fit.warnings if joint.fit else ()))
    for variant, own in found.profiles.items():
        yield from (f"isoflop, {variant}: {text}" for text in (own.fit.warnings if own.fit else ()))
