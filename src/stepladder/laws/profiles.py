"""IsoFLOP profiles: the rows of one budget, which of them count, and whether they have a minimum.

Shapes: M rows of a profile, G profiles, B bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.documents.document import Part
from stepladder.laws.forms import Array
from stepladder.laws.frontier import SAME_SIZE, gap_groups
from stepladder.laws.numbers import finite
from stepladder.laws.valley import Curves, Valley

FLAT = 1e-12
"""Curvature (in log loss or nats, over half the profile's span) that rounding could make."""

WINDOW = 0.1
"""Rows count whose loss is at most this share above the profile's lowest: further off, no simple curve
holds."""

LEAST = 5
"""Sizes that count at least, those of lowest loss."""

SPARE = 4
"""Sizes beyond three to a profile, summed over profiles, from which the shape is fitted, not taken for a
parabola."""

OUTSIDE = 0.5
"""How far outside its sizes a minimum may lie, as a share of their span in logs..."""

KNOWN = 0.1
"""...if the standard error of log N* is no larger than this."""


class ProfileFit(Part):
    """The curve of one budget; sizes, tokens and loss are null where it has no minimum to speak of."""

    flops: float
    """Geometric mean of the rows' budgets, FLOPs."""
    flops_range: tuple[float, float]
    """Smallest and largest of them, FLOPs."""
    n: int
    """Rows."""
    n_near: int | None = None
    """Those near the minimum by loss, which the curve goes through."""
    sizes: int
    """Distinct sizes."""
    parameters_range: tuple[float, float]
    """Smallest and largest size."""
    ratio: float
    """Median of C / (N D): 6 under the usual approximation."""
    curvature: float | None
    """Half the second derivative by log N at the minimum, nats (log loss under `log_loss`)."""
    parameters: float | None
    """N* at the minimum."""
    log_parameters_error: float | None = None
    """Standard error of log N* by the delta method, from what all profiles' curves leave of the rows."""
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


@dataclass(frozen=True)
class Profile:
    """Rows of one budget."""

    rows: pd.DataFrame
    x: Array
    """(M,) log N."""
    loss: Array
    """(M,) nats/token."""
    size: npt.NDArray[np.int64]
    """(M,) which distinct size each row has."""
    near: npt.NDArray[np.bool_]
    """(M,) whether its loss is near the lowest."""
    log_flops: float
    """Mean over rows, so C is their geometric mean."""
    flops_range: tuple[float, float]
    log_ratio: float
    """Log of the median of C/(ND): 6 under the usual approximation."""

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Profile:
        """From columns loss, flops, parameters and tokens."""
        loss, flops, N, D = (rows[c].to_numpy(dtype=float) for c in ("loss", "flops", "parameters", "tokens"))
        size = gap_groups(np.log(N), SAME_SIZE)
        lowest = np.sort([loss[size == s].min() for s in range(size.max() + 1)])
        limit = max(loss.min() * (1 + WINDOW), lowest[:LEAST][-1])
        return cls(
            rows=rows,
            x=np.log(N),
            loss=loss,
            size=size,
            near=loss <= limit,
            log_flops=float(np.log(flops).mean()),
            flops_range=(float(flops.min()), float(flops.max())),
            log_ratio=float(np.median(np.log(flops) - np.log(N) - np.log(D))),
        )

    @property
    def sizes(self) -> int:
        """How many there are."""
        return int(self.size.max()) + 1

    @property
    def sizes_near(self) -> int:
        """How many of them have rows near the minimum."""
        return len(np.unique(self.size[self.near]))

    def no_curve(self, widest: float) -> str | None:
        """Why no curve is fitted: FLOPs that range over more than `widest` in logs, too few sizes."""
        first, last = self.flops_range
        if np.log(last / first) > widest:
            return f"its rows run on from {first:.3g} to {last:.3g} FLOPs without a gap: not one budget"
        if self.sizes < 3:
            plural = "s" * (self.sizes > 1)
            return f"{self.sizes} distinct size{plural}, a parabola needs 3: add sizes at this budget"
        return None

    def no_minimum(self, at: float, curvature: float, error: float | None) -> str | None:
        """Why the power laws cannot go through a curve with a minimum at log N = `at`."""
        low, high = self.x.min(), self.x.max()
        half = max((high - low) / 2, SAME_SIZE)
        if not np.isfinite(at) or not curvature * half**2 > FLAT:
            return "not convex, so it has no minimum: add smaller and larger sizes, or seeds"
        far = self.beyond(at) > OUTSIDE * (high - low)
        if far or (self.beyond(at) > 0 and (error is None or error > KNOWN)):
            below = at < low
            edge = np.exp(low if below else high)
            return (
                f"the minimum lies {'below the smallest' if below else 'above the largest'} size "
                f"({edge:.3g}): add {'smaller' if below else 'larger'} sizes"
            )
        return None

    def beyond(self, at: float) -> float:
        """How far log N = `at` is outside the sizes, in logs; 0 inside."""
        return float(max(0.0, self.x.min() - at, at - self.x.max()))

    def describe(
        self,
        reason: str | None,
        at: float = np.nan,
        curvature: float = np.nan,
        low: float = np.nan,
        error: float | None = None,
    ) -> ProfileFit:
        """What is written of it: its minimum at log N = `at`, where the loss is `low`; NaN for none."""
        with np.errstate(over="ignore"):  # far outside it may be infinite, which is then null
            N, D = np.exp(at), np.exp(self.log_flops - self.log_ratio - at)
        known = np.isfinite(at)
        return ProfileFit(
            flops=float(np.exp(self.log_flops)),
            flops_range=self.flops_range,
            n=len(self.x),
            n_near=int(self.near.sum()),
            sizes=self.sizes,
            parameters_range=(float(np.exp(self.x.min())), float(np.exp(self.x.max()))),
            ratio=float(np.exp(self.log_ratio)),
            curvature=finite(curvature),
            parameters=finite(N),
            log_parameters_error=error if known else None,
            tokens=finite(D),
            loss=finite(low),
            usable=reason is None,
            extrapolated=bool(known and self.beyond(at) > 0),
            reason=reason,
        )


@dataclass(frozen=True)
class Profiles:
    """Profiles that have curves, fitted together."""

    each: Sequence[Profile]
    log_loss: bool
    centre: Array
    """(G,) log N from which each profile's sizes are counted."""
    valley: Valley
    near: Array
    """(G, M) 1 for rows that count, 0 for padding."""
    found: Curves

    @classmethod
    def of(cls, each: Sequence[Profile], log_loss: bool) -> Profiles:
        """Fits the curves.

        Args:
            log_loss: of log loss; else of loss, with errors in proportion to it.
        """
        M = max((int(p.near.sum()) for p in each), default=1)
        centre = np.array([(p.x[p.near].max() + p.x[p.near].min()) / 2 for p in each])

        def padded(columns: Sequence[Array], value: float) -> Array:
            return np.array([np.pad(c, (0, M - len(c)), constant_values=value) for c in columns])

        near = padded([np.ones(int(p.near.sum())) for p in each], 0.0)
        x = padded([p.x[p.near] - c for p, c in zip(each, centre, strict=True)], 0.0)
        loss = padded([p.loss[p.near] for p in each], 1.0)
        spare = sum(p.sizes_near - 3 for p in each)
        y, scale = (np.log(loss), np.ones_like(loss)) if log_loss else (loss, loss)
        valley = Valley(x, y, scale, free=spare >= SPARE)
        return cls(each, log_loss, centre, valley, near, valley.fit(near[None]))

    @property
    def shape(self) -> tuple[float, float] | None:
        """Exponents of all curves; None for parabolas."""
        alpha, beta = self.found.exponents[0]
        return (float(alpha), float(beta)) if self.valley.free else None

    @property
    def at(self) -> Array:
        """(G,) log N*; NaN for none."""
        return np.asarray(self.centre + self.found.minima[0])

    @property
    def variance(self) -> Array:
        """(G,) of log N*, for a variance of one of the relative errors."""
        return self.valley.errors(self.near[None], self.found)

    @property
    def noise(self) -> float | None:
        """Variance of the relative errors; None where the curves leave no row to tell it."""
        return float(self.found.residual[0]) / self.spare if self.spare > 0 else None

    @property
    def spare(self) -> int:
        """Degrees of freedom that the curves leave."""
        return int(self.near.sum()) - 3 * len(self.each) - 2 * self.valley.free

    @property
    def lowest(self) -> Array:
        """(G,) loss at the minimum, nats/token."""
        return np.asarray(np.exp(self.found.lowest[0]) if self.log_loss else self.found.lowest[0])

    @property
    def curvature(self) -> Array:
        """(G,) half the second derivative by log N at the minimum, of what is fitted."""
        return np.asarray(self.found.curvature[0])

    def resampled(self, generator: np.random.Generator, draws: int) -> Array:
        """(B, G) log N* of rows weighed at random within each profile; NaN where it is far outside the sizes.

        Weights of the Bayesian bootstrap (Rubin 1981, Ann. Statist. 9:130): drawn with replacement, few rows
        would often leave three sizes, whose curve says nothing. All curves are fitted again, and their shape;
        what they differ by is scaled up for the degrees of freedom that the curves take.
        """
        weight = np.zeros((draws, *self.near.shape))
        for g, m in enumerate(self.near.sum(axis=1).astype(int)):
            weight[:, g, :m] = m * generator.dirichlet(np.ones(m), size=draws)
        rows, at = self.near.sum(), self.at
        scale = np.sqrt(rows / self.spare) if self.spare > 0 else 1.0
        at = at + scale * (self.centre + self.valley.fit(weight, self.found.exponents[0]).minima - at)
        low, high = (np.array([edge(p.x) for p in self.each]) for edge in (np.min, np.max))
        margin = OUTSIDE * (high - low)
        return np.where((low - margin <= at) & (at <= high + margin), at, np.nan)

    def describe(self, g: int) -> ProfileFit:
        """What is written of profile g."""
        at, curvature = float(self.at[g]), float(self.curvature[g])
        error = None if self.noise is None else finite(np.sqrt(self.noise * self.variance[g]))
        told = error if self.valley.free else None  # a parabola says nothing outside
        reason = self.each[g].no_minimum(at, curvature, told)
        return self.each[g].describe(reason, at, curvature, float(self.lowest[g]), error)
