"""Compute-optimal sizes without a loss law: the first two approaches of Hoffmann et al. 2022
(arXiv 2203.15556), IsoFLOP profiles (section 3.2) and the minimum over training curves (section 3.1).

Both give N* = k C^a and D* = k' C^b, with C in FLOPs, N in parameters, D in tokens and natural logs of k.
Tables have columns loss (nats/token), flops, parameters and tokens, all positive.

Shapes: M rows of a profile, G profiles, R runs, K bins, B bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.analysis.cells import finite, percentile_interval
from stepladder.analysis.laws import Array

NAMES = ("a", "log_k", "b", "log_k_tokens")
"""Parameters of the two power laws, in the order of every (B, 4) array here."""

SAME_SIZE = 1e-3
"""Sizes within this relative distance are one size: a parabola through them would follow rounding."""

FLAT = 1e-12
"""Curvature (in log loss or nats, over half the profile's span) that rounding could make."""

CHAIN = 5
"""Rows whose budgets follow each other closely chain into one group; one wider than this many tolerances is
no profile."""


def isoflop(
    table: pd.DataFrame,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    targets: Sequence[float] = (),
    *,
    tolerance: float = 0.05,
    log_loss: bool = True,
) -> dict[str, Any]:
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
    usable = [p for p, detail in zip(profiles, details, strict=True) if detail["usable"]]
    if len(usable) < 2:
        raise ValueError(_too_few(details))
    x, log_ratio = (np.array([getattr(p, key) for p in usable]) for key in ("log_flops", "log_ratio"))

    def power_laws(log_size: Array) -> Array:
        return _power_laws(x, log_size, x - log_ratio - log_size)

    log_size = np.array([p.minima(np.ones((1, len(p.x))))[0][0] for p in usable])
    (point,) = power_laws(log_size[None])
    generator = np.random.default_rng(seed)
    drawn = power_laws(np.stack([p.resampled_minima(generator, draws) for p in usable], axis=1))
    residual = log_size - point[1] - point[0] * x
    warnings = []
    if len(usable) == 2:
        warnings.append("an exponent from 2 profiles has no residual: nothing checks the power law")
    if bare := sum(len(p.x) == 3 for p in usable):
        warnings.append(
            f"{bare} usable profiles have 3 rows: their parabolas have no residual and the intervals miss "
            "their noise; add sizes or seeds"
        )
    return {
        "method": "isoflop",
        "n": sum(len(p.x) for p in usable),
        "profiles": details,
        "profiles_used": len(usable),
        "residual_sd": float(np.sqrt((residual**2).sum() / (len(x) - 2))) if len(x) > 2 else None,
        **_summary(point, drawn, confidence, targets, x),
        "warnings": warnings,
        "reason": None,
    }


def gap_groups(values: Array, gap: float) -> npt.NDArray[np.int64]:
    """Group of each value (M,), smallest first; sorted neighbours more than a relative `gap` apart part.

    `values` are logs.
    """
    order = np.argsort(values, kind="stable")
    group = np.empty(len(values), dtype=np.int64)
    group[order] = np.cumsum(np.diff(values[order], prepend=values[order[:1]]) > np.log1p(gap))
    return group


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

    def describe(self, widest: float) -> dict[str, Any]:
        """The profile for JSON; `reason` says why it is left out, which it is if its FLOPs range over more
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
        return {
            "flops": float(np.exp(self.log_flops)),
            "flops_range": [first, last],
            "n": len(self.x),
            "sizes": sizes,
            "parameters_range": [float(smallest), float(largest)],
            "ratio": float(np.exp(self.log_ratio)),
            "curvature": finite(curvature / max(np.ptp(self.x) / 2, SAME_SIZE) ** 2),
            "parameters": finite(N) if known else None,
            "tokens": finite(D) if known else None,
            "loss": finite(loss) if known else None,
            "usable": reason is None,
            "extrapolated": extrapolated,
            "reason": reason,
        }


def _too_few(details: list[dict[str, Any]]) -> str:
    """Why there are not two usable profiles."""
    if len(details) == 1 and details[0]["usable"]:
        return f"all rows share one budget ({details[0]['flops']:.3g} FLOPs): add rows at another budget"
    reasons = [f"at {d['flops']:.3g} FLOPs {d['reason']}" for d in details if not d["usable"]]
    more = f"; and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    usable = len(details) - len(reasons)
    return f"{usable} of {len(details)} IsoFLOP profiles usable, 2 needed: {'; '.join(reasons[:5])}{more}"


def envelope(
    table: pd.DataFrame,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    targets: Sequence[float] = (),
    *,
    bins: int = 1500,
) -> dict[str, Any]:
    """Approach 1: which size has the lowest loss at each budget; power laws through those winners.

    Rows are points of training curves, or final losses; those of one size (and of one `run`, if there is
    such a column) are a run, interpolated linearly in logs. Smooth noisy curves first: the envelope follows
    their dips. A bin whose winner is the smallest or the largest of the sizes with a loss there is censored:
    the best size may lie beyond. It is left out. The bootstrap resamples runs.

    The winners make a staircase. Least squares through m even steps understates a by the factor 1 - 1/m^2
    (the variance between steps over all of it), also in every draw, which has fewer sizes still: with few
    sizes the intervals lie too low in a and too high in b.

    Args:
        bins: log-spaced FLOP bins, 1500 in the paper; fewer where the points are sparser (`_bin_count`).
        draws, targets: as for `isoflop`.

    Raises:
        ValueError: fewer than two sizes win uncensored bins; the message says what to add.
    """
    runs = Runs.of(table, bins)
    won = runs.winners(np.arange(len(runs.log_size)))
    sizes = np.unique(won.log_size[won.used])
    if len(sizes) < 2:
        raise ValueError(
            f"{len(sizes)} size{'s' * (len(sizes) != 1)} on the envelope between the smallest and the "
            f"largest, 2 needed ({won.censored.sum()} of {len(won.used)} bins censored): add sizes, or "
            "budgets, so that the best size changes within them"
        )
    point = won.power_laws()
    generator, R = np.random.default_rng(seed), len(runs.log_size)
    chosen = (np.unique(generator.integers(R, size=R)) for _ in range(draws))
    drawn = np.array([runs.winners(some).power_laws() for some in chosen]).reshape(-1, len(NAMES))
    few = f"only {len(sizes)} sizes on the envelope: its steps understate a by about {len(sizes) ** -2.0:.0%}"
    return {
        "method": "envelope",
        "n": len(table),
        "envelope": {
            "bins": len(won.used),
            "bins_used": int(won.used.sum()),
            "bins_censored": int(won.censored.sum()),
            "bins_empty": int((~won.used & ~won.censored).sum()),
            "runs": R,
            "sizes": len(sizes),
            "winners": [won.stretch(size) for size in sizes],
        },
        **_summary(point, drawn, confidence, targets, won.log_flops[won.used]),
        "warnings": [few] if len(sizes) < 10 else [],
        "reason": None,
    }


@dataclass(frozen=True)
class Winners:
    """The run with the lowest loss in each bin; arrays are (K,)."""

    log_flops: Array
    log_size: Array
    log_tokens: Array
    used: npt.NDArray[np.bool_]
    censored: npt.NDArray[np.bool_]

    def power_laws(self) -> Array:
        """(4,); NaN where fewer than two sizes won."""
        x, N, D = (part[self.used] for part in (self.log_flops, self.log_size, self.log_tokens))
        return _power_laws(x, N[None], D[None])[0] if len(np.unique(N)) > 1 else np.full(len(NAMES), np.nan)

    def stretch(self, log_size: float) -> dict[str, Any]:
        """Where one size won."""
        mine = self.used & (self.log_size == log_size)
        ends = np.exp([self.log_flops[mine].min(), self.log_flops[mine].max()])
        return {"parameters": float(np.exp(log_size)), "flops_range": ends.tolist(), "bins": int(mine.sum())}


@dataclass(frozen=True)
class Runs:
    """Loss of each run in each bin, and where in the bin it was taken: at the centre, or as near as the run
    comes; arrays are (R, K) unless said."""

    log_size: Array
    """(R,)."""
    log_loss: Array
    """Infinite where the run has no part in the bin."""
    log_flops: Array
    log_tokens: Array

    @classmethod
    def of(cls, table: pd.DataFrame, bins: int) -> Runs:
        """Raises:
        ValueError: all rows share one budget.
        """
        table = table.assign(size=gap_groups(np.log(table["parameters"].to_numpy(dtype=float)), SAME_SIZE))
        keys = ["size", "run"] if "run" in table else ["size"]
        # Of rows at the same point of a run the lowest counts, as among runs.
        lowest = table.sort_values("loss", kind="stable").drop_duplicates([*keys, "flops"])
        lowest["parameters"] = lowest.groupby("size")["parameters"].transform("median")
        grouped = lowest.sort_values("flops").groupby(keys)[["flops", "loss", "tokens", "parameters"]]
        curves = [np.log(rows.to_numpy(dtype=float).T) for _, rows in grouped]
        start, end = min(c[0, 0] for c in curves), max(c[0, -1] for c in curves)
        if end - start < 1e-9:
            raise ValueError(f"all rows share one budget ({np.exp(start):.3g} FLOPs): add rows at another")
        K = min(bins, _bin_count([c[0] for c in curves]))
        index = np.arange(K)
        centre = start + (index + 0.5) * (end - start) / K
        at = np.stack([np.clip(centre, c[0, 0], c[0, -1]) for c in curves])
        ends = np.stack([(c[0, [0, -1]] - start) / (end - start) * K for c in curves])
        ends = np.minimum(ends.astype(int), K - 1)
        within = (ends[:, :1] <= index) & (index <= ends[:, 1:])
        loss, tokens = (
            np.stack([np.interp(x, c[0], c[row]) for x, c in zip(at, curves, strict=True)]) for row in (1, 2)
        )
        return cls(np.array([c[3, 0] for c in curves]), np.where(within, loss, np.inf), at, tokens)

    def winners(self, chosen: npt.NDArray[np.int64]) -> Winners:
        """Among the `chosen` runs (distinct indices)."""
        loss, size = self.log_loss[chosen], self.log_size[chosen]
        present, index = np.isfinite(loss), np.arange(loss.shape[1])
        best = loss.argmin(axis=0)
        some, won = present.any(axis=0), size[best]
        smallest = np.where(present, size[:, None], np.inf).min(axis=0)
        largest = np.where(present, size[:, None], -np.inf).max(axis=0)
        censored = some & ((won == smallest) | (won == largest))
        run = chosen[best]
        return Winners(
            self.log_flops[run, index], won, self.log_tokens[run, index], some & ~censored, censored
        )


def _bin_count(log_flops: list[Array]) -> int:
    """Bins no finer than the points of the runs (R arrays): than the median gap within a run, or, where every
    run is one point, than three rows a bin, the fewest of which one can win uncensored."""
    points = np.concatenate(log_flops)
    gaps = np.concatenate([np.diff(run) for run in log_flops])
    if len(gaps):
        return max(1, int(np.ceil(np.ptp(points) / np.median(gaps) - 1e-9)))
    return max(1, min(len(np.unique(points.round(9))), len(points) // 3))


def _power_laws(x: Array, log_size: Array, log_tokens: Array) -> Array:
    """(B, 4) by least squares of log N* and log D* (B, G) on log C (G,), leaving out NaN; NaN where fewer
    than two are left."""
    use = np.isfinite(log_size)
    count = use.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (use * x).sum(axis=1, keepdims=True) / count
        dx = np.where(use & (count > 1), x - mean, 0.0)
        columns = []
        for y in (log_size, log_tokens):
            y = np.where(use, y, 0.0)
            slope = (dx * y).sum(axis=1) / (dx**2).sum(axis=1)
            columns += [slope, y.sum(axis=1) / count[:, 0] - slope * mean[:, 0]]
    return np.stack(columns, axis=1)


def _summary(
    point: Array, drawn: Array, confidence: float, targets: Sequence[float], x: Array
) -> dict[str, Any]:
    """What both approaches report of their power laws: estimates (4,), draws (B, 4), log budgets fitted x."""
    kept = drawn[np.isfinite(drawn).all(axis=1)]
    enough = len(kept) > 1

    def interval(values: Array) -> list[float | None] | None:
        return percentile_interval(values, confidence) if enough else None

    rows = []
    for flops in targets:
        outside = not x.min() <= np.log(flops) <= x.max()
        row: dict[str, Any] = {"flops": float(flops), "extrapolated": bool(outside)}
        for name, slope in (("parameters", 0), ("tokens", 2)):
            # In logs: an absurd draw overflows to infinity, which percentile_interval writes as null.
            with np.errstate(over="ignore"):
                row[name] = finite(np.exp(point[slope + 1] + point[slope] * np.log(flops)))
                values = np.exp(kept[:, slope + 1] + kept[:, slope] * np.log(flops))
            row[f"{name}_interval"] = interval(values)
        rows.append(row)
    named = list(enumerate(NAMES))
    return {
        "parameters": {name: float(point[p]) for p, name in named},
        "standard_errors": {name: float(kept[:, p].std(ddof=1)) for p, name in named} if enough else None,
        "intervals": {name: interval(kept[:, p]) for p, name in named} if enough else None,
        "confidence": confidence,
        "draws": len(drawn),
        "draws_failed": len(drawn) - len(kept),
        "targets": rows,
    }
