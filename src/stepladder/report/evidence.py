"""x"""

from __future__ import annotations
from dataclasses import dataclass
import numpy as np


@dataclass(frozen=True)
class Curve:
    x: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Law:
    variant: str
    axis: str
    curve: Curve | None

    def at(self, x):
        return np.interp(np.log(x), np.log(self.curve.x), self.curve.middle)


@dataclass(frozen=True)
class HeldOut:
    variant: str
    rung: str
    x: float
    predicted: float
    low: float
    high: float
    observed: float


@dataclass(frozen=True)
class RungGain:
    rung: str
    cost: float
    value: float
    low: float
    high: float
    n: int
    held_out: bool


@dataclass(frozen=True)
class Gain:
    candidate: str
    reference: str
    axis: str
    rungs: tuple
