"""Compute-optimal sizes by IsoFLOP profiles: approach 2 of Hoffmann et al. 2022 (arXiv 2203.15556, section
3.2).

Tables have columns loss (nats/token), flops, parameters and tokens, all positive.

Shapes: M rows of a profile, G profiles, R runs, K bins, B bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from stepladder.documents.document import Part
from stepladder.laws.forms import Array, chinchilla
from stepladder.laws.frontier import (
    FrontierFit,
    PowerLaws,
    gap_groups,
    power_laws,
    refuse_targets,
    scatter,
    summary,
)
from stepladder.laws.numbers import Interval
from stepladder.laws.profiles import Profile, ProfileFit, Profiles
from stepladder.laws.rounding import rounded_sizes
from stepladder.laws.table_fit import Options, fit_table

CHAIN = 5
"""Rows whose budgets follow each other closely chain into one group; one wider than this many tolerances is
no profile."""

CHECK_DRAWS = 200
"""Bootstrap draws, at most, of the joint law that the exponent is held against."""

ALIKE = 1e-3
"""Exponents closer than this are one, however narrow their intervals."""


class JointLaw(Part):
    """What Chinchilla's law, fitted to the same rows, says of the exponent."""

    a: float | None
    """Exponent of parameters; null where the law cannot be fitted."""
    interval: Interval | None
    """Percentile interval of it; null without a bootstrap."""
    reason: str | None
    """Why the law cannot be fitted."""


class IsoflopFit(FrontierFit):
    """Approach 2."""

    method: Literal["isoflop"] = "isoflop"
    """Which approach it is."""
    profiles: tuple[ProfileFit, ...]
    """Every budget, smallest first."""
    profiles_used: int
    """Those that the power laws go through."""
    residual_sd: float | None
    """Standard deviation of log N* about its power law, each profile by its weight; null with two
    profiles."""
    log_loss: bool = True
    """Whether curves were fitted to log loss."""
    shape: tuple[float, float] | None = None
    """Exponents alpha and beta of the profiles' common shape; null where it is a parabola."""
    chinchilla: JointLaw | None = None
    """The joint law of the same rows, as a check."""


def isoflop(
    table: pd.DataFrame,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    targets: Sequence[float] = (),
    *,
    tolerance: float = 0.05,
    log_loss: bool = False,
    check: bool = True,
) -> IsoflopFit:
    """Approach 2: a curve of loss in log N at each budget; power laws through their minima.

    The rows near each minimum are fitted, by curves of one shape (`valley`), and the power laws weigh each
    minimum by the inverse of its variance. The bootstrap weighs rows at random within each profile, and adds
    the scatter of the minima about their power law beyond that. A usable profile whose minimum is far outside
    its sizes in a draw is left out of that draw, and a draw left with fewer than two profiles is dropped and
    counted.

    Args:
        draws: bootstrap draws; 0 for none.
        targets: budgets (FLOPs) at which N* and D* are wanted.
        tolerance: relative gap in FLOPs up to which neighbouring rows belong to one profile.
        log_loss: fit log loss; else loss, with errors in proportion to it.
        check: also fit Chinchilla's law to the same rows and hold the exponent against it.

    Raises:
        ValueError: fewer than two usable profiles; the message says why and what to add. Or a target that is
            no budget.
    """
    refuse_targets(targets)
    group = gap_groups(np.log(table["flops"].to_numpy(dtype=float)), tolerance)
    each = [Profile.of(rows) for _, rows in table.groupby(group)]
    early = [profile.no_curve(CHAIN * tolerance) for profile in each]
    curved = [profile for profile, reason in zip(each, early, strict=True) if reason is None]
    if not curved:
        raise ValueError(_too_few([p.describe(reason) for p, reason in zip(each, early, strict=True)]))
    fitted = Profiles.of(curved, log_loss)
    order = iter(range(len(fitted.each)))
    details = [
        fitted.describe(next(order)) if reason is None else profile.describe(reason)
        for profile, reason in zip(each, early, strict=True)
    ]
    usable = np.array([d.usable for d, reason in zip(details, early, strict=True) if reason is None], bool)
    if usable.sum() < 2:
        raise ValueError(_too_few(details))
    used = [profile for profile, use in zip(fitted.each, usable, strict=True) if use]
    x, log_ratio = (np.array([getattr(p, key) for p in used]) for key in ("log_flops", "log_ratio"))
    log_size, variance = fitted.at[usable], fitted.variance[usable]
    beyond = 0.0
    if fitted.noise is not None:
        variance = variance * fitted.noise
        beyond = scatter(x, log_size, variance)
        variance = variance + beyond
    weight = variance.min() / variance

    def through(log_size: Array) -> Array:
        return power_laws(x, log_size, x - log_ratio - log_size, weight)

    (point,) = through(log_size[None])
    generator = np.random.default_rng(seed)
    minima = fitted.resampled(generator, draws)[:, usable]
    drawn = through(minima + np.sqrt(beyond) * generator.standard_normal(minima.shape))
    residual = log_size - point[1] - point[0] * x
    laws = summary(point, drawn, confidence, targets, x)
    joint = None
    if check:
        rows = pd.concat([p.rows[p.near] for p in used])
        joint = _joint_law(rows, Options(draws=min(draws, CHECK_DRAWS), seed=seed, confidence=confidence))
    return IsoflopFit(
        n=sum(len(p.x) for p in used),
        profiles=details,
        profiles_used=len(used),
        residual_sd=float(np.sqrt((weight * residual**2).sum() / weight.mean() / (len(x) - 2)))
        if len(x) > 2
        else None,
        **dict(laws),
        log_loss=log_loss,
        shape=fitted.shape,
        chinchilla=joint,
        warnings=[*_warnings(details, fitted), *_apart(laws, joint), *rounded_sizes(table)],
    )


def _joint_law(rows: pd.DataFrame, options: Options) -> JointLaw:
    try:
        found = fit_table(rows, chinchilla(), options)
    except ValueError as error:
        return JointLaw(a=None, interval=None, reason=str(error))
    if found.allocation is None:
        raise AssertionError("a Chinchilla law with nothing pinned has an allocation")
    intervals = found.allocation.intervals
    return JointLaw(a=found.allocation.a, interval=intervals and intervals.a, reason=None)


def _apart(laws: PowerLaws, joint: JointLaw | None) -> list[str]:
    """A warning if each of the two exponents lies outside the other's interval."""
    if joint is None or laws.intervals is None:
        return []
    if joint.a is None or joint.interval is None:
        return [f"no Chinchilla law of the same rows to hold the exponent against: {joint.reason}"]
    a, mine = laws.parameters["a"], laws.intervals["a"]
    if mine is None or a is None or abs(a - joint.a) < ALIKE:
        return []
    if _within(a, joint.interval) or _within(joint.a, mine):
        return []
    return [
        f"a = {a:.3f} {_shown(mine)} here, but {joint.a:.3f} {_shown(joint.interval)} by Chinchilla's law of "
        "the same rows: profiles are undertuned at an end, or follow another law; believe neither before "
        "that is found"
    ]


def _within(value: float, interval: Interval) -> bool:
    low, high = interval
    return (low is None or low <= value) and (high is None or value <= high)


def _shown(interval: Interval) -> str:
    low, high = ("unknown" if end is None else f"{end:.3f}" for end in interval)
    return f"[{low}, {high}]"


def _warnings(details: Sequence[ProfileFit], fitted: Profiles) -> list[str]:
    """What to know of the profiles: which are left out and why, which minima were not between sizes."""
    why = dict.fromkeys(d.reason for d in details if not d.usable)
    budgets = [[f"{d.flops:.3g}" for d in details if d.reason == reason] for reason in why]
    warnings = [
        f"left out: the profile{'s' * (len(at) > 1)} at {', '.join(at)} FLOPs, {reason}"
        for at, reason in zip(budgets, why, strict=True)
    ]
    for d in details:
        if d.usable and d.extrapolated:
            below = d.parameters is not None and d.parameters < d.parameters_range[0]
            warnings.append(
                f"at {d.flops:.3g} FLOPs the minimum lies {'below' if below else 'above'} all sizes, where "
                f"the profiles' common shape puts it: add {'smaller' if below else 'larger'} sizes"
            )
    used = sum(d.usable for d in details)
    if used == 2:
        warnings.append("an exponent from 2 profiles has no residual: nothing checks the power law")
    if bare := sum(d.n == 3 for d in details if d.usable):
        warnings.append(
            f"{bare} usable profiles have 3 rows: their curves have no residual and the intervals miss "
            "their noise; add sizes or seeds"
        )
    if fitted.shape is None:
        warnings.append(
            "too few sizes to tell the profiles' shape: parabolas were fitted, whose minima are off where "
            "sizes lie to one side; add sizes"
        )
    return warnings


def _too_few(details: list[ProfileFit]) -> str:
    """Why there are not two usable profiles."""
    if len(details) == 1 and details[0].usable:
        return f"all rows share one budget ({details[0].flops:.3g} FLOPs): add rows at another budget"
    reasons = [f"at {d.flops:.3g} FLOPs {d.reason}" for d in details if not d.usable]
    more = f"; and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    usable = len(details) - len(reasons)
    return f"{usable} of {len(details)} IsoFLOP profiles usable, 2 needed: {'; '.join(reasons[:5])}{more}"
