"""Compute-optimal sizes by IsoFLOP profiles: approach 2 of Hoffmann et al. 2022 (arXiv 2203.15556, section
3.2).

Tables have columns loss (nats/token), flops, parameters and tokens, all positive.

Shapes: M rows of a profile, G profiles, R runs, K bins, B bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.documents.document import Part
from stepladder.laws.forms import Array
from stepladder.laws.frontier import SAME_SIZE, FrontierFit, gap_groups, power_laws, summary
from stepladder.laws.numbers import finite

FLAT = 1e-12
"""Curvature (in log loss or nats, over half the profile's span) that rounding could make."""

CHAIN = 5
"""Rows whose budgets follow each other closely chain into one group; one wider than this many tolerances is
no profile."""


class ProfileFit(Part):
    """The parabola of one budget; sizes, tokens and loss are null where it has no minimum to speak of."""

    flops: float
    """Geometric mean of the rows' budgets, FLOPs."""
    flops_range: tuple[float, float]
    """Smallest and largest of them, FLOPs."""
    n: int
    """Rows."""
    sizes: int
    """Distinct sizes."""
    parameters_range: tuple[float, float]
    """Smallest and largest size."""
    ratio: float
    """Median of C / (N D): 6 under the usual approximation."""
    curvature: float | None
    """Second-order coefficient in log N."""
    parameters: float | None
    """N* at the minimum."""
    tokens: float | None
    """D* at the minimum."""
    loss: float | None
    """Loss at the minimum, nats/token."""
    usable: bool
    """Whether the power laws go through it."""
    extrapolated: bool
    """Whether its minimum lies outside its sizes."""
    reason: str | None
    """Why it is not usable."""


class IsoflopFit(FrontierFit):
    """Approach 2."""

    method: Literal["isoflop"] = "isoflop"
    """Which approach it is."""
    profiles: tuple[ProfileFit, ...]
    """Every budget, smallest first."""
    profiles_used: int
    """Those that the power laws go through."""
    residual_sd: float | None
    """Standard deviation of log N* about its power law; null with two profiles."""


def isoflop(
    table: pd.DataFrame,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    targets: Sequence[float] = (),
    *,
    tolerance: float = 0.05,
    log_loss: bool = True,
) -> IsoflopFit:
    """Approach 2: a parabola of loss in log N at each budget; power laws through their minima.

    The bootstrap resamples rows within each profile. A usable profile whose parabola fails in a draw is left
    out of that draw, and a draw left with fewer than two profiles is dropped and counted. Few rows to a
    profile make wide intervals: a draw may then have barely three sizes.

    Args:
        draws: bootstrap draws; 0 for none.
        targets: budgets (FLOPs) at which N* and D* are wanted.
        tolerance: relative gap in FLOPs up to which neighbouring rows belong to one profile.
        log_loss: fit log loss; else loss.

    Raises:
        ValueError: fewer than two usable profiles; the message says why and what to add.
    """
    group = gap_groups(np.log(table["flops"].to_numpy(dtype=float)), tolerance)
    profiles = [Profile.of(rows, log_loss) for _, rows in table.groupby(group)]
    details = [profile.describe(CHAIN * tolerance) for profile in profiles]
    usable = [p for p, detail in zip(profiles, details, strict=True) if detail.usable]
    if len(usable) < 2:
        raise ValueError(_too_few(details))
    x, log_ratio = (np.array([getattr(p, key) for p in usable]) for key in ("log_flops", "log_ratio"))

    def through(log_size: Array) -> Array:
        return power_laws(x, log_size, x - log_ratio - log_size)

    log_size = np.array([p.minima(np.ones((1, len(p.x))))[0][0] for p in usable])
    (point,) = through(log_size[None])
    generator = np.random.default_rng(seed)
    drawn = through(np.stack([p.resampled_minima(generator, draws) for p in usable], axis=1))
    residual = log_size - point[1] - point[0] * x
    warnings = []
    if len(usable) == 2:
        warnings.append("an exponent from 2 profiles has no residual: nothing checks the power law")
    if bare := sum(len(p.x) == 3 for p in usable):
        warnings.append(
            f"{bare} usable profiles have 3 rows: their parabolas have no residual and the intervals miss "
            "their noise; add sizes or seeds"
        )
    laws = summary(point, drawn, confidence, targets, x)
    return IsoflopFit(
        n=sum(len(p.x) for p in usable),
        profiles=details,
        profiles_used=len(usable),
        residual_sd=float(np.sqrt((residual**2).sum() / (len(x) - 2))) if len(x) > 2 else None,
        **dict(laws),
        warnings=warnings,
    )


@dataclass(frozen=True)
class Profile:
    """Rows of one budget."""

    x: Array
    """(M,) log N."""
    y: Array
    """(M,) log loss, or loss."""
    is_log: bool
    size: npt.NDArray[np.int64]
    """(M,) which distinct size each row has."""
    log_flops: float
    """Mean over rows, so C is their geometric mean."""
    flops_range: tuple[float, float]
    log_ratio: float
    """Log of the median of C/(ND): 6 under the usual approximation."""

    @classmethod
    def of(cls, rows: pd.DataFrame, log_loss: bool) -> Profile:
        loss, flops, N, D = (rows[c].to_numpy(dtype=float) for c in ("loss", "flops", "parameters", "tokens"))
        return cls(
            x=np.log(N),
            y=np.log(loss) if log_loss else loss,
            is_log=log_loss,
            size=gap_groups(np.log(N), SAME_SIZE),
            log_flops=float(np.log(flops).mean()),
            flops_range=(float(flops.min()), float(flops.max())),
            log_ratio=float(np.median(np.log(flops) - np.log(N) - np.log(D))),
        )

    def minima(self, weight: Array) -> tuple[Array, Array, Array]:
        """Log N and loss (as `y`) at the least-squares parabola's extremum, and its curvature per unit of
        half the span, each (B,), for weights (B, M). NaN where fewer than three sizes have weight.
        """
        # In u the span is -1 to 1, so that normal equations lose no digits that matter.
        centre, half = (self.x.max() + self.x.min()) / 2, max(np.ptp(self.x) / 2, SAME_SIZE)
        u = (self.x - centre) / half
        powers = np.stack([np.ones_like(u), u, u**2], axis=1)
        enough = (weight @ np.eye(self.size.max() + 1)[self.size] > 0).sum(axis=1) >= 3
        gram = np.einsum("bm,mi,mj->bij", weight, powers, powers)
        gram[~enough] = np.eye(3)
        moments = (weight * (self.y - self.y.mean())) @ powers
        c0, c1, c2 = np.linalg.solve(gram, moments[:, :, None])[:, :, 0].T
        with np.errstate(divide="ignore", invalid="ignore"):  # a straight line has no extremum
            at, low = -c1 / (2 * c2), c0 - c1**2 / (4 * c2)
        at, low, c2 = (np.where(enough, value, np.nan) for value in (at, low, c2))
        return centre + half * at, self.y.mean() + low, c2

    def resampled_minima(self, generator: np.random.Generator, draws: int) -> Array:
        """(B,) log N* of resampled rows; NaN where the draw's parabola is unusable."""
        M = len(self.x)
        weight = generator.multinomial(M, np.full(M, 1 / M), size=draws).astype(float)
        at, _, curvature = self.minima(weight)
        inside = (self.x.min() <= at) & (at <= self.x.max())
        return np.where((curvature > FLAT) & inside, at, np.nan)

    def describe(self, widest: float) -> ProfileFit:
        """The profile's fit; `reason` says why it is left out, which it is if its FLOPs range over more
        than `widest` in logs."""
        at, low, curvature = (float(part[0]) for part in self.minima(np.ones((1, len(self.x)))))
        sizes, (first, last) = int(self.size.max()) + 1, self.flops_range
        smallest, largest = np.exp(self.x.min()), np.exp(self.x.max())
        reason, extrapolated = None, False
        if np.log(last / first) > widest:
            reason = f"its rows run on from {first:.3g} to {last:.3g} FLOPs without a gap: not one budget"
        elif sizes < 3:
            reason = f"{sizes} distinct size{'s' * (sizes > 1)}, a parabola needs 3: add sizes at this budget"
        elif curvature <= FLAT:
            reason = "not convex, so it has no minimum: add smaller and larger sizes, or seeds"
        elif not self.x.min() <= at <= self.x.max():
            extrapolated = True
            below = at < self.x.min()
            reason = (
                f"the minimum lies {'below the smallest' if below else 'above the largest'} size "
                f"({smallest if below else largest:.3g}): add {'smaller' if below else 'larger'} sizes"
            )
        known = reason is None or extrapolated
        with np.errstate(over="ignore"):  # far outside it may be infinite, which is then null
            N, D = np.exp(at), np.exp(self.log_flops - self.log_ratio - at)
            loss = np.exp(low) if self.is_log else low
        return ProfileFit(
            flops=float(np.exp(self.log_flops)),
            flops_range=(first, last),
            n=len(self.x),
            sizes=sizes,
            parameters_range=(float(smallest), float(largest)),
            ratio=float(np.exp(self.log_ratio)),
            curvature=finite(curvature / max(np.ptp(self.x) / 2, SAME_SIZE) ** 2),
            parameters=finite(N) if known else None,
            tokens=finite(D) if known else None,
            loss=finite(loss) if known else None,
            usable=reason is None,
            extrapolated=extrapolated,
            reason=reason,
        )


def _too_few(details: list[ProfileFit]) -> str:
    """Why there are not two usable profiles."""
    if len(details) == 1 and details[0].usable:
        return f"all rows share one budget ({details[0].flops:.3g} FLOPs): add rows at another budget"
    reasons = [f"at {d.flops:.3g} FLOPs {d.reason}" for d in details if not d.usable]
    more = f"; and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    usable = len(details) - len(reasons)
    return f"{usable} of {len(details)} IsoFLOP profiles usable, 2 needed: {'; '.join(reasons[:5])}{more}"
