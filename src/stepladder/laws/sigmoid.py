"""The bounded law of what rises with compute, a reward or an accuracy:

    R(C) = R0 + (A - R0) / (1 + (C_mid / C)^B)

(Khatri et al. 2025, "The art of scaling reinforcement learning compute", arXiv 2510.13786, section 3): from
R0 to the asymptote A, half of the way at C_mid, the steeper the larger B. In log C it is a logistic curve.

The points of one curve are one run's, so that their errors hang together. Uncertainty is a parametric
bootstrap of an AR(1) series about the fitted curve: its correlation is that of the residuals, less the bias
towards 0 of a short series (Kendall 1954, Biometrika 41:403) and of a fitted curve, drawn with its standard
error; its variance has the degrees of freedom of as many independent points as the series is worth.

Shapes: M points of a curve, B draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stepladder.laws.forms import Array

PARAMETERS = ("A", "R0", "B", "C_mid")
"""In the order of `Curve.values`."""

LEAST_POINTS = 8
"""Of a curve: four parameters, and as many that tell the noise."""

STEEP = (0.05, 20.0)
"""B lies between these."""

STARTS = ((0.3, 1.0), (0.5, 1.0), (0.5, 3.0), (0.8, 1.0), (1.0, 0.5))
"""Where searches begin: place of C_mid in the range of log compute, and B."""

MOST_CORRELATED, LEAST_DOF, MOST_LOST = 0.98, 3.0, 0.6
"""Bounds of what a short curve may say of its noise: correlation, degrees of freedom, and the share of them
that the curve's parameters take."""

FAR = 3.0
"""C_mid is sought up to this many log ranges beyond the points."""


@dataclass(frozen=True)
class Bounds:
    """Between which R0 and A lie."""

    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Curve:
    """A law fitted to one curve."""

    values: Array
    """(4,) A, R0, B, C_mid."""
    residuals: Array
    """(M,) in order of compute."""
    draws: Array
    """(B, 4) the same in every draw."""
    most: float
    """Largest compute of the points."""
    high: float
    """Upper bound of A, infinite where there is none."""
    correlation: float
    """Of neighbouring points' errors."""

    def asymptotes(self, values: Array) -> Array:
        """A of parameters (B, 4): at its bound, infinite if there is none, where the points do not reach the
        middle of the curve, since then nothing tells its top."""
        return np.where(values[..., 3] > self.most, self.high, values[..., 0])

    @property
    def asymptote(self) -> float:
        """A, or its bound."""
        return float(self.asymptotes(self.values))


def reward(values: Array, compute: Array) -> Array:
    """R(C) of parameters (..., 4) at compute (K,): (..., K)."""
    A, R0, B, middle = (np.asarray(values)[..., i, None] for i in range(4))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(R0 + (A - R0) / (1 + np.exp(B * (np.log(middle) - np.log(compute)))))


def invert(values: Array, level: float) -> Array:
    """Compute (...,) at which R(C) is `level`; infinite from A on, 0 up to R0."""
    A, R0, B, middle = (np.asarray(values)[..., i] for i in range(4))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        share = (level - R0) / (A - R0)
        found = middle * np.exp(np.log(share / (1 - share)) / B)
    return np.where(share <= 0, 0.0, np.where(share >= 1, np.inf, found))


def fit_curve(
    compute: Array, rewards: Array, bounds: Bounds, start: float | None, draws: int, seed: int
) -> Curve:
    """Fit one curve and bootstrap it.

    Args:
        compute: (M,) ascending, any unit.
        rewards: (M,) higher is better.
        bounds: of R0 and A.
        start: R0 where it is given.

    Raises:
        ValueError: there are too few points, or the rewards do not rise; the message says so.
    """
    if len(np.unique(compute)) < LEAST_POINTS:
        raise ValueError(
            f"{len(np.unique(compute))} different amounts of compute are too few for four parameters: "
            f"{LEAST_POINTS} are needed"
        )
    problem = _Problem.of(compute, rewards, bounds, start)
    theta = problem.search(rewards)
    fitted = problem.predict(theta)
    values = problem.natural(theta)
    if values[0] <= values[1]:
        raise ValueError("the rewards do not rise with compute: give what is better when it is larger")
    residuals = rewards - fitted
    noise = Autoregression.of(residuals)
    generator = np.random.default_rng(seed)
    drawn = [problem.natural(problem.refine(theta, fitted + noise.draw(generator))) for _ in range(draws)]
    return Curve(
        values=values,
        residuals=residuals,
        draws=np.array(drawn).reshape(-1, 4),
        most=float(compute[-1]),
        high=bounds.high,
        correlation=noise.correlation,
    )


def fit_values(compute: Array, rewards: Array, bounds: Bounds, start: float) -> Array:
    """(4,) A, R0, B and C_mid by least squares, R0 given, for points (M,) that are no one run's curve, whose
    noise whoever asks draws by itself."""
    problem = _Problem.of(compute, rewards, bounds, start)
    return problem.natural(problem.search(rewards))


@dataclass(frozen=True)
class Autoregression:
    """Errors of a curve's points as an AR(1) series."""

    correlation: float
    """Of neighbours, its bias taken out."""
    squares: float
    """Sum of squared residuals."""
    points: int

    @classmethod
    def of(cls, residuals: Array) -> Autoregression:
        """What residuals of a fitted curve (M,) say of their errors."""
        M, P = len(residuals), len(PARAMETERS)
        centred = residuals - residuals.mean()
        squares = float(centred @ centred)
        found = float(centred[1:] @ centred[:-1]) / squares if squares > 0 else 0.0
        # Of the mean (1 + 3 rho) / M; about half as much for each further parameter of the curve.
        bias = (1 + 3 * found + (P - 1) * (1 + found) / 2) / M
        return cls(float(np.clip(found + bias, 0.0, MOST_CORRELATED)), float(residuals @ residuals), M)

    def draw(self, generator: np.random.Generator) -> Array:
        """(M,) errors, of a correlation and a variance as sure as the residuals make them."""
        from scipy.signal import lfilter  # half a second of import, which readers of laws need not pay

        M, P = self.points, len(PARAMETERS)
        error = math.sqrt(max(1 - self.correlation**2, 0.01) / M)
        rho = float(np.clip(self.correlation + error * generator.standard_normal(), 0.0, MOST_CORRELATED))
        worth = M * (1 - rho) / (1 + rho)
        dof = max(worth - P, LEAST_DOF)
        lost = min(P * M / worth, MOST_LOST * M)
        variance = self.squares / (M - lost) * dof / generator.chisquare(dof)
        steps = generator.standard_normal(M) * math.sqrt(1 - rho**2)
        steps[0] /= math.sqrt(1 - rho**2)
        return np.asarray(math.sqrt(variance) * lfilter([1.0], [1.0, -rho], steps))


@dataclass(frozen=True)
class _Problem:
    """Least squares in units of the curve's own range. theta: A, R0 (unless given), log B, log C_mid."""

    x: Array
    """(M,) log compute."""
    low: Array
    high: Array
    bounds: Bounds
    start: float | None
    scale: float
    """Range of the rewards."""

    @classmethod
    def of(cls, compute: Array, rewards: Array, bounds: Bounds, start: float | None) -> _Problem:
        x, span = np.log(compute), float(np.ptp(rewards)) or 1.0
        reach = FAR * float(np.ptp(x))
        floor, top = float(rewards.min()), float(rewards.max())
        low = [max(bounds.low, floor - 100 * span), max(bounds.low, floor - 100 * span), math.log(STEEP[0])]
        high = [min(bounds.high, top + 100 * span), min(bounds.high, top + 100 * span), math.log(STEEP[1])]
        low, high = [*low, x.min() - reach], [*high, x.max() + reach]
        if start is not None:
            del low[1], high[1]
        return cls(x, np.array(low), np.array(high), bounds, start, span)

    def natural(self, theta: Array) -> Array:
        """(4,) A, R0, B, C_mid."""
        A, *rest = theta
        R0 = self.start if self.start is not None else rest[0]
        return np.array([A, R0, math.exp(theta[-2]), math.exp(min(theta[-1], 700.0))])

    def predict(self, theta: Array) -> Array:
        """(M,) rewards."""
        return reward(self.natural(theta), np.exp(self.x))

    def search(self, rewards: Array) -> Array:
        """The best of several searches."""
        span, floor, top = np.ptp(self.x), float(rewards.min()), float(rewards.max())
        found = []
        for place, B in STARTS:
            first = [top + 0.1 * self.scale, floor, math.log(B), self.x.min() + place * span]
            if self.start is not None:
                del first[1]
            inside = np.clip(first, self.low + 1e-9, self.high - 1e-9)
            found.append(self._least_squares(inside, rewards))
        return min(found, key=lambda theta: float(((rewards - self.predict(theta)) ** 2).sum()))

    def refine(self, theta: Array, rewards: Array) -> Array:
        """A search from a point that is near."""
        return self._least_squares(np.clip(theta, self.low + 1e-9, self.high - 1e-9), rewards)

    def _least_squares(self, first: Array, rewards: Array) -> Array:
        from scipy.optimize import least_squares

        done = least_squares(
            lambda theta: (self.predict(theta) - rewards) / self.scale,
            first,
            jac=self._jacobian,
            bounds=(self.low, self.high),
            x_scale=np.maximum(np.abs(self.high - self.low) * 1e-2, 1e-9),
        )
        return np.asarray(done.x)

    def _jacobian(self, theta: Array) -> Array:
        """(M, P) of the scaled residuals."""
        A, R0, B, _ = self.natural(theta)
        u = B * (self.x - theta[-1])
        share = 1 / (1 + np.exp(-np.clip(u, -700, 700)))
        slope = (A - R0) * share * (1 - share)
        columns = [share, 1 - share, slope * u, -slope * B]
        if self.start is not None:
            del columns[1]
        return np.column_stack(columns) / self.scale
