"""Equivalence: does a change that should only be faster leave the loss where it was?

Two one-sided t-tests against a margin (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657) at every rung, at
equal steps: the difference lies within the margin where its interval of confidence 1 - 2 alpha does. Every
rung must be inside, which needs no correction for their number (intersection-union test; Berger 1982,
Technometrics 24:295): a difference at one rung is not hidden by the others. One rung that is surely outside,
at alpha shared out over the rungs, is enough against it.
"""

from __future__ import annotations

import math

import numpy as np

from stepladder.decision.cells import Cells
from stepladder.decision.comparison import Criterion, Decision, Equivalence, RungDifference
from stepladder.decision.noise import SeedNoise
from stepladder.decision.replicates import cost_noise
from stepladder.decision.seeds import NO_NOISE, error_of_difference
from stepladder.laws.distributions import t_quantile
from stepladder.schema.analysis import VerdictRule

NO_NOISE_KNOWN = "seed noise is unknown: repeat a seed of the smallest rung, or set analysis.noise: {sd: ...}"


def equivalence(
    cells: Cells, noise: SeedNoise, candidate: str, reference: str, rule: VerdictRule
) -> Equivalence:
    """Differences of mean log loss at every place that both variants ran, and how much faster one is."""
    mine, theirs = (cells.of(name).reset_index().set_index("step") for name in (candidate, reference))
    shared = sorted(set(mine.index) & set(theirs.index))
    index = [cells.variants.index(name) for name in (candidate, reference)]
    if not noise.known:
        return Equivalence(margin=rule.margin or 0.0, alpha=rule.alpha, rungs=(), reason=NO_NOISE_KNOWN)
    if not shared:
        return Equivalence(margin=rule.margin or 0.0, alpha=rule.alpha, rungs=(), reason="no rung in common")
    timed = "seconds" in cells.table
    jitter = cost_noise(cells, "seconds") if timed else np.zeros(len(cells.table))
    rows = []
    for step in shared:
        a, b = mine.loc[step], theirs.loc[step]
        difference = float(a["log_loss"] - b["log_loss"])
        error = max(error_of_difference(cells, noise, [step], index), NO_NOISE)
        dof = float(noise.dof()[step, index].min())
        speed = float(b["seconds"] / a["seconds"]) if timed else None
        spread = float(np.hypot(jitter[int(a["index"])], jitter[int(b["index"])]))
        rows.append(
            RungDifference(
                label=a["label"],
                n=int(a["n"]),
                n_reference=int(b["n"]),
                difference=difference,
                interval=_around(difference, error, t_quantile(1 - rule.alpha, dof)),
                sure=_around(difference, error, t_quantile(1 - rule.alpha / len(shared), dof)),
                dof=dof,
                speed=speed,
                speed_interval=_speed(speed, spread, rule.alpha, _cost_dof(cells)) if speed else None,
            )
        )
    return Equivalence(margin=rule.margin or 0.0, alpha=rule.alpha, rungs=tuple(rows), reason=None)


def not_shared(cells: Cells, candidate: str, reference: str) -> tuple[str, ...]:
    """Places that one of the two ran and the other did not, and the ladder's largest if either lacks it."""
    labels = cells.table.drop_duplicates("step").set_index("step")["label"].sort_index()
    ran = [set(cells.of(name)["step"]) for name in (candidate, reference)]
    missing = (ran[0] ^ ran[1]) | ({int(labels.index[-1])} - (ran[0] & ran[1]))
    return tuple(labels.loc[sorted(missing)])


def decide_equivalent(found: Equivalence, missing: tuple[str, ...]) -> Decision:
    """Equivalent: every difference lies within the margin. Not: one surely lies outside. Else unknown.

    Args:
        found: the differences at what both ran.
        missing: labels of what they did not both run: a rung that is not there hides its difference.
    """
    margin, rows = math.log1p(found.margin), found.rungs
    worst = max((max(map(abs, row.interval)) for row in rows), default=None)
    inside = bool(rows) and all(-margin < row.interval[0] and row.interval[1] < margin for row in rows)
    outside = [row for row in rows if row.sure[0] > margin or row.sure[1] < -margin]
    limit = f"{100 * found.margin:.3g} %"
    criteria = (
        Criterion(
            name=f"every difference of loss lies within ± {limit} with all of its interval",
            value=None if worst is None else math.expm1(worst),
            threshold=found.margin,
            passed=inside,
        ),
        Criterion(name="both ran every rung", value=not missing, threshold=True, passed=not missing),
    )
    if outside:
        row = max(outside, key=lambda row: abs(row.difference))
        percent = f"{100 * math.expm1(row.difference):+.3g} %"
        said = f"at {row.label} the loss differs by {percent}, surely more than {limit}"
        return Decision(verdict="not equivalent", because=said, criteria=criteria)
    if inside and not missing:
        said = f"at all {len(rows)} rungs the loss differs by less than {limit}"
        return Decision(verdict="equivalent", because=said, criteria=criteria)
    return Decision(verdict="unknown", because=found.reason or _unknown(criteria, missing), criteria=criteria)


def _unknown(criteria: tuple[Criterion, ...], missing: tuple[str, ...]) -> str:
    failed = next(criterion.name for criterion in criteria if not criterion.passed)
    if missing:
        return f"not both ran {', '.join(missing)}"
    return f"not met: {failed}"


def _around(value: float, error: float, quantile: float) -> tuple[float, float]:
    return value - quantile * error, value + quantile * error


def _cost_dof(cells: Cells) -> int:
    """Degrees of freedom of the scatter of costs between seeds."""
    return int((cells.table["n"] - 1).sum())


def _speed(ratio: float, error: float, alpha: float, dof: int) -> tuple[float, float] | None:
    """Interval of a ratio of times whose logarithm has this standard error; None where no run is repeated."""
    if not dof:
        return None
    low, high = _around(math.log(ratio), error, t_quantile(1 - alpha, dof))
    return math.exp(low), math.exp(high)
