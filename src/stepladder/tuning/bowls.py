"""The bowl of a learning-rate sweep: loss over log learning rate at one size, and its lowest point.

A parabola in x = ln(factor on the ruled rate) goes through the means over seeds of the points around the
lowest. Real bowls are steeper on the hot side, hence not through all points.

Shapes: F factors of a window, S seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from stepladder.laws.distributions import f_quantile, t_quantile
from stepladder.laws.forms import Array
from stepladder.laws.numbers import MISFIT_LEVEL
from stepladder.record.learning_rates import LossNoise

REACH = math.log(4.0)
"""Points this far from the lowest in log rate belong to the window, and its two neighbours always."""

FEW = 4
"""Degrees of freedom below which a rung's noise is too little known to stand alone."""


@dataclass(frozen=True)
class Optimum:
    """The lowest point of a parabola, in x = ln(factor)."""

    x: float
    loss: float
    """Nats/token."""
    curvature: float
    """c of a + b x + c x^2, nats per squared e-fold of the rate."""
    se: float | None
    """Standard error of x by the delta method; None where the noise is unknown."""
    loss_se: float | None
    """Standard error of `loss`."""
    interval: tuple[float, float] | None
    """Of x, by Fieller's theorem; None where the noise is unknown."""


@dataclass(frozen=True)
class Bowl:
    """The runs of one variant, rung and batch."""

    factor: Array
    """(all factors,) on the ruled rate, ascending."""
    loss: Array
    """(all factors, S) nats/token."""
    window: npt.NDArray[np.int64]
    """(F,) indices of the factors that the parabola is fitted to."""

    @classmethod
    def of(cls, factors: Sequence[float], seeds: Sequence[int], losses: Sequence[float]) -> Bowl:
        """Of runs, one of each factor and seed.

        Raises:
            ValueError: fewer than three factors, a missing run, or a loss that is no number.
        """
        runs = pd.DataFrame({"factor": factors, "seed": seeds, "loss": losses})
        table = runs.pivot(index="factor", columns="seed", values="loss")
        if len(table) < 3:
            raise ValueError(f"{len(table)} learning-rate factors, a parabola needs 3: add factors")
        factor, loss = table.index.to_numpy(dtype=float), table.to_numpy(dtype=float)
        if not np.isfinite(loss).all():
            raise ValueError("a factor lacks a seed that another has, or its loss: run each factor with all")
        return cls(factor, loss, _window(np.log(factor), loss.mean(axis=1)))

    @property
    def n(self) -> int:
        """Runs in the window."""
        return int(self.loss[self.window].size)

    @property
    def x(self) -> Array:
        """(F,) ln(factor) of the window."""
        return np.log(self.factor[self.window])

    @property
    def mean(self) -> Array:
        """(F,) loss of the window, mean over seeds."""
        return np.asarray(self.loss[self.window].mean(axis=1))

    @property
    def coefficients(self) -> Array:
        """(3,) a, b, c of the least-squares parabola a + b x + c x^2."""
        return np.asarray(np.linalg.lstsq(_powers(self.x), self.mean)[0])

    def seed_squares(self) -> tuple[float, int]:
        """Sum of squares between seeds and its degrees of freedom. What a seed does to all factors alike (its
        initialisation, its order of the text) moves no optimum and does not count."""
        inside = self.loss[self.window]
        left = inside - inside.mean(axis=1, keepdims=True) - inside.mean(axis=0) + inside.mean()
        return float((left**2).sum()), (inside.shape[0] - 1) * (inside.shape[1] - 1)

    def fit_squares(self) -> tuple[float, int]:
        """Sum of squares about the parabola, of single runs, and its degrees of freedom."""
        left = self.mean - _powers(self.x) @ self.coefficients
        return float((left**2).sum()) * self.loss.shape[1], len(self.x) - 3

    def refusal(self) -> tuple[str, list[float]] | None:
        """Why the window has no lowest point inside, and the factors to add; None where it has one."""
        lowest, last = int(self.loss.mean(axis=1).argmin()), len(self.factor) - 1
        if lowest in (0, last):
            end, beside = (0, 1) if lowest == 0 else (last, last - 1)
            edge = float(self.factor[end])
            step = edge / float(self.factor[beside])
            side = "lowest" if lowest == 0 else "highest"
            more = sorted([_plain(edge * step), _plain(edge * step**2)])
            return f"the loss is smallest at the {side} factor, {edge:g}", more
        _, b, c = self.coefficients
        if c <= 0:
            return "the points around the lowest do not bend upwards", self._further()
        if not self.x.min() <= -b / (2 * c) <= self.x.max():
            return "the parabola around the lowest point has its minimum outside", self._further()
        return None

    def optimum(self, noise: LossNoise | None, confidence: float) -> Optimum | str:
        """The lowest point, or why the noise hides it. Ask `refusal` first."""
        a, b, c = (float(value) for value in self.coefficients)
        x = -b / (2 * c)
        if noise is None:
            return Optimum(x, a - b * b / (4 * c), c, None, None, None)
        unit = np.linalg.inv(_powers(self.x).T @ _powers(self.x))
        covariance = noise.sd_loss**2 / self.loss.shape[1] * unit
        interval = fieller(b, c, covariance[1:, 1:], t_quantile((1 + confidence) / 2, noise.dof))
        if interval is None:
            return "its curvature cannot be told from noise"
        gradient = np.array([0.0, -1 / (2 * c), b / (2 * c * c)])
        powers = np.array([1.0, x, x * x])
        return Optimum(
            x=x,
            loss=a - b * b / (4 * c),
            curvature=c,
            se=float(np.sqrt(gradient @ covariance @ gradient)),
            loss_se=float(np.sqrt(powers @ covariance @ powers)),
            interval=interval,
        )

    def _further(self) -> list[float]:
        """The next factor on either side."""
        low, high = self.factor[:2], self.factor[-2:]
        return [_plain(float(low[0] ** 2 / low[1])), _plain(float(high[1] ** 2 / high[0]))]


def _window(x: Array, mean: Array) -> npt.NDArray[np.int64]:
    lowest = int(mean.argmin())
    near = np.abs(x - x[lowest]) <= REACH + 1e-9
    near[max(0, lowest - 1) : lowest + 2] = True
    if near.sum() < 3:  # at an edge
        near[:3] |= lowest == 0
        near[-3:] |= lowest == len(x) - 1
    return np.flatnonzero(near)


def _powers(x: Array) -> Array:
    return np.stack([np.ones_like(x), x, x**2], axis=1)


def _plain(factor: float) -> float:
    """A factor as a person would write it."""
    return float(f"{factor:.3g}")


def fieller(b: float, c: float, covariance: Array, t: float) -> tuple[float, float] | None:
    """Confidence interval of the lowest point of a + b x + c x^2: all x at which the slope b + 2 c x is not
    significantly different from 0 (Fieller 1954, J. R. Stat. Soc. B 16).

    Args:
        covariance: (2, 2) of b and c.
        t: quantile.

    Returns:
        None where it has no end, because c is not significantly different from 0.
    """
    quadratic = 4 * (c * c - t * t * covariance[1, 1])
    linear = 4 * (b * c - t * t * covariance[0, 1])
    constant = b * b - t * t * covariance[0, 0]
    if quadratic <= 0 or c <= 0:
        return None
    root = math.sqrt(max(0.0, linear * linear - 4 * quadratic * constant))
    return (-linear - root) / (2 * quadratic), (-linear + root) / (2 * quadratic)


def noise_by_rung(rungs: Sequence[str], bowls: Sequence[Bowl]) -> dict[str, LossNoise | None]:
    """The noise at each rung, pooled over its variants and batches: small models are noisier. Where a rung
    has too few degrees of freedom for that, pooled over all rungs.

    Args:
        rungs: of each bowl.
    """
    own = {
        rung: pool_noise([bowl for at, bowl in zip(rungs, bowls, strict=True) if at == rung])
        for rung in dict.fromkeys(rungs)
    }
    if all(noise is not None and noise.dof >= FEW for noise in own.values()):
        return own
    return dict.fromkeys(own, pool_noise(bowls))


def pool_noise(bowls: Sequence[Bowl]) -> LossNoise | None:
    """Noise of a run's loss from the seeds and from the residuals of bowls.

    Residuals hold seed noise, and what a bowl deviates from a parabola. Where an F-test at 5 % finds them
    larger than the seeds explain they count alone, else both together. None without a degree of freedom.
    """
    seeds, dof_seeds = (sum(part) for part in zip(*(bowl.seed_squares() for bowl in bowls), strict=True))
    fits, dof_fits = (sum(part) for part in zip(*(bowl.fit_squares() for bowl in bowls), strict=True))
    dof = int(dof_seeds + dof_fits)
    if not dof or seeds + fits == 0:
        return None
    if dof_seeds and dof_fits:
        bound = f_quantile(1 - MISFIT_LEVEL, dof_fits, dof_seeds) * seeds / dof_seeds
        if fits / dof_fits > bound:
            return LossNoise(
                sd_loss=math.sqrt(fits / dof_fits),
                dof=int(dof_fits),
                source="residuals, larger than between seeds",
            )
    source = "seeds and residuals" if dof_seeds and dof_fits else "seeds" if dof_seeds else "residuals"
    return LossNoise(sd_loss=math.sqrt((seeds + fits) / dof), dof=dof, source=source)
