"""Laws of size and data in words and tables: what a budget is best spent on, and what they foretold."""

from __future__ import annotations

from typing import Any

from stepladder.decision.size_laws import Estimate, Forecast, SizeLaws
from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.laws.isoflop import IsoflopFit
from stepladder.laws.law_fit import LawFit

TITLES = {
    "chinchilla": "Chinchilla's law",
    "overtraining": "Over-training law",
    "isoflop": "IsoFLOP profiles",
}
"""Laws, in words."""


def size_laws_context(found: SizeLaws) -> dict[str, Any]:
    """What the report's section on them prints."""
    return {
        "confidence": fmt.level(found.confidence),
        "n": str(found.n_runs),
        "reasons": reasons(found),
        "formulas": formulas(found),
        "laws": laws_table(found),
        "optima": optima_table(found),
        "forecasts": forecasts_table(found),
        "gains": gains_table(found),
        "warnings": list(found.warnings),
    }


def reasons(found: SizeLaws) -> list[str]:
    """Which laws there are not, and why."""
    joint = {"chinchilla": found.chinchilla, "overtraining": found.overtraining}
    told = [f"{TITLES[name]}: none, because {laws.reason}." for name, laws in joint.items() if laws.reason]
    own = {variant: profiles.reason for variant, profiles in found.isoflop.items() if profiles.reason}
    if len(own) == len(found.isoflop) and len(set(own.values())) == 1:
        return [*told, f"{TITLES['isoflop']}: none, because {next(iter(own.values()))}."]
    return [*told, *(f"{TITLES['isoflop']} of {name}: none, because {why}." for name, why in own.items())]


def formulas(found: SizeLaws) -> str:
    """The laws in symbols, each with its source."""
    fits = (found.chinchilla.fit, found.overtraining.fit)
    told = [f"{TITLES[fit.law]}: L = {fit.formula} ({fit.source})." for fit in fits if fit]
    return " ".join(told).replace("^-", "^−")


def laws_table(found: SizeLaws) -> Table | None:
    """Every law's parameters by variant; None where there is no law."""
    if not found.identified:
        return None
    rows = [
        [TITLES[name], variant, _parameters(laws.fit, variant), str(laws.fit.n), _sd(laws.fit)]
        for name, laws in (("chinchilla", found.chinchilla), ("overtraining", found.overtraining))
        if laws.fit is not None
        for variant in found.isoflop
    ]
    rows += [
        [TITLES["isoflop"], variant, _powers(profiles.fit), str(profiles.fit.n), fmt.MISSING]
        for variant, profiles in found.isoflop.items()
        if profiles.fit is not None
    ]
    titles = [
        "<Law",
        "<Variant",
        f"<<Parameters [{fmt.level(found.confidence)} interval]",
        "Runs",
        "Residual sd",
    ]
    return table(titles, rows)


def _parameters(fit: LawFit, variant: str) -> str:
    """Those of one variant, and those that it shares."""
    told, intervals = [], fit.intervals or {}
    for name, value in fit.parameters.items():
        base, _, group = name.partition("[")
        if not group or group == f"{variant}]":
            told.append(f"{base} = {fmt.estimate(value, intervals.get(name))}")
    told += [f"{name} = {fmt.significant(value)} (given)" for name, value in fit.pinned.items()]
    return ", ".join(told)


def _sd(fit: LawFit) -> str:
    return fmt.percent(fit.residuals.sd, 2)


def _powers(fit: IsoflopFit) -> str:
    intervals = fit.intervals or {}
    told = [
        f"{what} ∝ C^{fmt.estimate(fit.parameters[name], intervals.get(name))}"
        for what, name in (("N*", "a"), ("D*", "b"))
    ]
    return f"{', '.join(told)}; {fit.profiles_used} of {len(fit.profiles)} profiles"


def optima_table(found: SizeLaws) -> Table | None:
    """What every budget is best spent on, by the profiles and by Chinchilla's law; None where none says."""
    if not found.optima:
        return None
    rows, before = [], ""
    for row in found.optima:
        name = row.variant if row.variant != before else ""
        before = row.variant
        rows.append(
            [
                name,
                fmt.flops(row.flops) + ("" if row.trained else " (beyond)"),
                _count(row.parameters),
                _count(row.tokens),
                _count(row.parameters_joint),
                _count(row.tokens_joint),
                fmt.percent(row.difference, 1, sign=True),
            ]
        )
    titles = ["<Variant", "Budget", "N*, profiles", "D*, profiles", "N*, Chinchilla", "D*, Chinchilla"]
    return table([*titles, "N*: difference"], rows, title="What a budget is best spent on")


def _count(found: Estimate | None) -> str:
    """A number of parameters or tokens with its interval."""
    if found is None:
        return fmt.MISSING
    if found.interval is None:
        return f"{fmt.count(found.value)} [no interval]"
    low, high = found.interval
    return f"{fmt.count(found.value)} [{fmt.count(low)}, {'∞' if high is None else fmt.count(high)}]"


def forecasts_table(found: SizeLaws) -> Table | None:
    """The largest budget as laws foretold it that were fitted without it; None where there is none."""
    if not found.forecasts:
        return None
    rows = [
        [
            TITLES[row.law],
            row.variant,
            fmt.flops(row.flops),
            str(row.n),
            _loss_error(row),
            fmt.percent(row.parameters_error, 1, sign=True) if not row.reason else fmt.MISSING,
            row.reason or "",
        ]
        for row in found.forecasts
    ]
    titles = ["<Law", "<Variant", "Budget", "Runs", "Loss: mean (worst) error", "N*: error", "<<Why not"]
    if not any(row.reason for row in found.forecasts):
        titles, rows = titles[:-1], [row[:-1] for row in rows]
    return table(titles, rows, title="The largest budget, predicted by laws that were fitted without it")


def _loss_error(row: Forecast) -> str:
    if row.loss_error is None:
        return fmt.MISSING
    return f"{fmt.percent(row.loss_error, 2, sign=True)} ({fmt.percent(row.loss_worst, 2, sign=True)})"


def gains_table(found: SizeLaws) -> Table | None:
    """Gains by Chinchilla's laws; None without them."""
    if not found.gains:
        return None
    rows = [
        [
            f"{row.candidate} / {row.reference}",
            fmt.flops(row.flops),
            f"{fmt.count(row.parameters)}, {fmt.count(row.tokens)}",
            *(_gain(one) for one in (row.frontier, row.at_equal_parameters, row.at_equal_tokens)),
        ]
        for row in found.gains
    ]
    titles = ["<Candidate / reference", "Budget", "N*, D*", "FLOPs, each at its best size"]
    return table(
        [*titles, "Tokens at equal N", "Parameters at equal D"], rows, title="Gains by Chinchilla's law"
    )


def _gain(found: Estimate) -> str:
    return fmt.gain(found.value, found.interval)
