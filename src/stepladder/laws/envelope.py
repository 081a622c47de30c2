"""Compute-optimal sizes by the minimum over training curves: approach 1 of Hoffmann et al. 2022 (arXiv
2203.15556, section 3.1).

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
from stepladder.laws.frontier import (
    NAMES,
    SAME_SIZE,
    FrontierFit,
    gap_groups,
    power_laws,
    refuse_targets,
    summary,
)


class Stretch(Part):
    """Where one size has the lowest loss."""

    parameters: float
    """The size."""
    flops_range: tuple[float, float]
    """First and last budget, FLOPs."""
    bins: int
    """Bins that the size wins."""


class Envelope(Part):
    """The minimum over the training curves."""

    bins: int
    """FLOP bins from the smallest to the largest budget."""
    bins_used: int
    """Bins whose winner the power laws go through."""
    bins_censored: int
    """Bins won by the smallest or largest size there: the best size may lie beyond."""
    bins_empty: int
    """Bins without any run."""
    runs: int
    """Training curves."""
    sizes: int
    """Sizes that win a bin that is used."""
    winners: tuple[Stretch, ...]
    """Those sizes, smallest first."""


class EnvelopeFit(FrontierFit):
    """Approach 1."""

    method: Literal["envelope"] = "envelope"
    """Which approach it is."""
    envelope: Envelope
    """What won where."""


def envelope(
    table: pd.DataFrame,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    targets: Sequence[float] = (),
    *,
    bins: int = 1500,
) -> EnvelopeFit:
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
    refuse_targets(targets)
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
    return EnvelopeFit(
        n=len(table),
        envelope=Envelope(
            bins=len(won.used),
            bins_used=int(won.used.sum()),
            bins_censored=int(won.censored.sum()),
            bins_empty=int((~won.used & ~won.censored).sum()),
            runs=R,
            sizes=len(sizes),
            winners=[won.stretch(size) for size in sizes],
        ),
        **dict(summary(point, drawn, confidence, targets, won.log_flops[won.used])),
        warnings=[few] if len(sizes) < 10 else [],
    )


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
        return power_laws(x, N[None], D[None])[0] if len(np.unique(N)) > 1 else np.full(len(NAMES), np.nan)

    def stretch(self, log_size: float) -> Stretch:
        """Where one size won."""
        mine = self.used & (self.log_size == log_size)
        ends = np.exp([self.log_flops[mine].min(), self.log_flops[mine].max()])
        return Stretch(parameters=float(np.exp(log_size)), flops_range=ends.tolist(), bins=int(mine.sum()))


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
