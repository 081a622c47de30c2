"""The bottoms of IsoFLOP profiles, all at once: one shape, a place and a depth for each.

At a fixed budget C, and with D proportional to C/N, Chinchilla's law in x = log N is

    L = c + p exp(-alpha x) + q exp(beta x),

with exponents that all budgets have in common (Hoffmann et al. 2022, arXiv 2203.15556, section 3.3); c, p and
q are free here in each profile, so that no law across budgets is assumed. A parabola is the limit of small
exponents. Given the exponents the curve is linear, so the search is in two dimensions only (variable
projection: Golub & Pereyra 1973, SIAM J. Numer. Anal. 10:413).

Shapes: M rows of a profile (padded with weight 0), G profiles, B problems.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepladder.laws.forms import Array

LOW, HIGH = 1e-4, 1.0
"""Bounds of the exponents. At the lower one the curve is a parabola; published laws have less than 0.6."""

GRID = (0.05, 0.1, 0.2, 0.35, 0.6)
"""Exponents, of either side, among which the search begins."""

ITERATIONS = 100
SMALL = 1e-10
"""A step of the exponents that ends the search."""

NUDGE = 1e-4
"""Relative change of an exponent by which derivatives of minima are taken."""


def basis_of(x: Array, exponents: Array) -> Array:
    """(B, G, 3, M) what curves are made of: 1, the slope (exp(beta x) - 1)/beta, and the bowl, which is x^2
    in the limit of small exponents (B, 2).

    Args:
        x: (G, M) or (B, G, M).
    """
    alpha, beta = exponents.T[:, :, None, None]
    slope = np.expm1(beta * x) / beta
    bowl = 2 * (slope + np.expm1(-alpha * x) / alpha) / (alpha + beta)
    return np.stack([np.ones_like(slope), slope, bowl], axis=-2)


@dataclass(frozen=True)
class Curves:
    """What the best curves through the rows are, for B problems."""

    exponents: Array
    """(B, 2) alpha and beta of the shape."""
    residual: Array
    """(B,) weighted sum of squares."""
    coefficients: Array
    """(B, G, 3) of the basis."""
    gram: Array
    """(B, G, 3, 3) of the basis at the weights."""

    @property
    def minima(self) -> Array:
        """(B, G) x at the minimum; NaN where there is none."""
        total = self.exponents.sum(axis=1)[:, None]
        slope, bowl = self.coefficients[..., 1], self.coefficients[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):  # a curve that falls throughout has none
            at = -np.log1p(slope * total / (2 * bowl)) / total
        return np.where(bowl > 0, at, np.nan)

    @property
    def lowest(self) -> Array:
        """(B, G) y at the minimum."""
        basis = basis_of(self.minima[..., None], self.exponents)[..., 0]
        return np.asarray((self.coefficients * basis).sum(axis=-1))

    @property
    def curvature(self) -> Array:
        """(B, G) half the second derivative at the minimum."""
        alpha, beta = self.exponents.T[:, :, None]
        at, slope, bowl = self.minima, self.coefficients[..., 1], self.coefficients[..., 2]
        rise, fall = np.exp(beta * at), np.exp(-alpha * at)
        return np.asarray(slope * beta * rise / 2 + bowl * (beta * rise + alpha * fall) / (alpha + beta))


@dataclass(frozen=True)
class Valley:
    """Rows of all profiles."""

    x: Array
    """(G, M) log N, of each profile from a centre of its own."""
    y: Array
    """(G, M) what is fitted: loss or its logarithm."""
    scale: Array
    """(G, M) what residuals are divided by: the loss itself, so that errors are relative; 1 in logs."""
    free: bool
    """Whether the rows tell the exponents; else the curves are parabolas."""

    def fit(self, weight: Array, start: Array | None = None) -> Curves:
        """The best curves for weights (B, G, M), searched from exponents (2,) or else from a grid.

        A profile whose weighted rows have fewer than three sizes has no curve: the caller leaves it out.
        """
        if not self.free:
            return self.curves(weight, np.full((len(weight), 2), LOW))
        if start is None:
            grid = np.stack(np.meshgrid(GRID, GRID), axis=-1).reshape(-1, 2)
            start = grid[self.curves(np.repeat(weight[:1], len(grid), axis=0), grid).residual.argmin()]
        return self._descend(weight, np.repeat(start[None], len(weight), axis=0))

    def curves(self, weight: Array, exponents: Array) -> Curves:
        """Linear least squares (B) at given exponents (B, 2)."""
        basis = basis_of(self.x, exponents)
        weighted = basis * (weight / self.scale**2)[..., None, :]
        gram = weighted @ basis.swapaxes(-1, -2)
        gram = gram + (np.trace(gram, axis1=-2, axis2=-1) == 0)[..., None, None] * np.eye(3)
        # From the middle of the rows, so that the residual has all its digits.
        middle = np.median(self.y, axis=1)[:, None]
        right = weighted @ (self.y - middle)[..., None]
        coefficients = np.linalg.solve(gram, right)[..., 0]
        left = self.y - middle - (coefficients[..., None, :] @ basis)[..., 0, :]
        coefficients[..., 0] += middle[:, 0]
        residual = (weight * (left / self.scale) ** 2).sum(axis=(1, 2))
        return Curves(exponents, residual, coefficients, gram)

    def errors(self, weight: Array, found: Curves) -> Array:
        """(G,) variance of the minima for a variance of one of the relative residuals, of a single problem:
        that of the curve at its exponents, and that of the exponents, held where they are at a bound."""
        at, curvature = found.minima[0], found.curvature[0]
        rise = np.exp(found.exponents[0, 1] * at)
        fall = np.exp(-found.exponents[0, 0] * at)
        total = found.exponents[0].sum()
        slope = np.stack([0 * at, rise, 2 * (rise - fall) / total], axis=1)
        slope = np.where(np.isfinite(slope), slope, 0.0)
        inverse = np.linalg.pinv(found.gram[0], hermitian=True)
        own = np.einsum("gi,gij,gj->g", slope, inverse, slope) / (2 * curvature) ** 2
        inside = (found.exponents[0] > LOW) & (found.exponents[0] < HIGH)
        if not (self.free and inside.any()):
            return np.asarray(own)
        derivative = []
        for k in np.flatnonzero(inside):
            step = np.zeros(2)
            step[k] = NUDGE * found.exponents[0, k]
            up, down = (self.curves(weight, found.exponents + s).minima[0] for s in (step, -step))
            derivative.append((up - down) / (2 * step[k]))
        jacobian = self._jacobian(weight, found)[0][inside].reshape(int(inside.sum()), -1)
        spread = np.linalg.pinv(jacobian @ jacobian.T, rcond=1e-14, hermitian=True)
        return np.asarray(own + np.einsum("kg,kl,lg->g", derivative, spread, derivative))

    def _jacobian(self, weight: Array, found: Curves) -> Array:
        """(B, 2, G, M) derivatives of the weighted residuals by the exponents, the coefficients following
        (Kaufman 1975, BIT 15:49: what of the derivative the basis cannot follow)."""
        alpha, beta = found.exponents.T[:, :, None, None]
        slope, bowl = found.coefficients[..., 1, None], found.coefficients[..., 2, None]
        p, q = 2 * bowl / (alpha * (alpha + beta)), (slope + 2 * bowl / (alpha + beta)) / beta
        change = np.stack(
            [-p * self.x * np.exp(-alpha * self.x), q * self.x * np.exp(beta * self.x)], axis=-1
        )
        basis, w = basis_of(self.x, found.exponents), (weight / self.scale**2)[..., None, :]
        follow = np.linalg.solve(found.gram, (basis * w) @ change)
        change = change - basis.swapaxes(-1, -2) @ follow
        return np.asarray(np.moveaxis(change * np.sqrt(w).swapaxes(-1, -2), -1, 1))

    def _descend(self, weight: Array, exponents: Array) -> Curves:
        """Levenberg and Marquardt's steps in the exponents, all problems together."""
        found, damping = self.curves(weight, exponents), np.full(len(weight), 1e-3)
        going = np.arange(len(weight))
        for _ in range(ITERATIONS):
            here = _rows(found, going)
            step = self._step(weight[going], here, damping[going])
            trial = self.curves(weight[going], np.clip(here.exponents + step, LOW, HIGH))
            better = trial.residual <= here.residual
            damping[going] = np.where(better, damping[going] / 10, damping[going] * 8)
            _put(found, going[better], _rows(trial, np.flatnonzero(better)))
            moved = np.abs(np.clip(here.exponents + step, LOW, HIGH) - here.exponents).max(axis=1)
            going = going[(moved > SMALL) & (damping[going] < 1e12)]
            if not len(going):
                break
        return found

    def _step(self, weight: Array, found: Curves, damping: Array) -> Array:
        jacobian = self._jacobian(weight, found).reshape(len(weight), 2, self.x.size)
        fitted = (found.coefficients[..., None, :] @ basis_of(self.x, found.exponents))[..., 0, :]
        left = (np.sqrt(weight) * (self.y - fitted) / self.scale).reshape(len(weight), self.x.size)
        gradient = -(jacobian @ left[..., None])[..., 0]
        held = ((found.exponents <= LOW) & (gradient > 0)) | ((found.exponents >= HIGH) & (gradient < 0))
        normal = jacobian @ jacobian.swapaxes(-1, -2)
        normal = np.where(held[:, :, None] | held[:, None, :], 0.0, normal)
        diagonal = np.einsum("bkk->bk", normal) * damping[:, None] + 1e-300
        normal = normal + np.eye(2) * np.where(held, 1.0, diagonal)[:, :, None]
        inverse = np.linalg.pinv(normal, rcond=1e-15, hermitian=True)
        return np.asarray((inverse @ np.where(held, 0.0, -gradient)[..., None])[..., 0])


def _rows(found: Curves, rows: npt.NDArray[np.int64]) -> Curves:
    """Some of the problems."""
    return Curves(*(getattr(found, name)[rows] for name in Curves.__dataclass_fields__))


def _put(found: Curves, rows: npt.NDArray[np.int64], better: Curves) -> None:
    for name in Curves.__dataclass_fields__:
        getattr(found, name)[rows] = getattr(better, name)
