"""What rules of hyperparameters depend on, and laws in several of these quantities.

N: active non-embedding parameters. D: positions trained on. C: model training FLOPs. B: positions per step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stepladder.schema import ranges
from stepladder.schema.settings import Settings


@dataclass(frozen=True)
class Size:
    """What the rules may depend on."""

    n: float
    """Active non-embedding parameters."""
    d: float
    """Positions trained on: 20 * N * budget multiple."""
    c: float
    """Model training FLOPs (causal convention)."""
    d_model: int


@dataclass(frozen=True)
class Scale(Size):
    """A size with its batch: what all other rules may depend on."""

    batch: float
    """Positions per step."""


def product(value: float, factors: Iterable[tuple[float, float]]) -> float:
    """`value` times base ** exponent of each factor; infinite where that is beyond what a float holds."""
    try:
        for base, exponent in factors:
            value *= base**exponent
    except (OverflowError, ZeroDivisionError):
        return math.inf
    return value if math.isfinite(value) else math.inf


def ordered(least: float, most: float) -> None:
    """Refuse limits that nothing lies between.

    Raises:
        ValueError: the lower one is above the upper one.
    """
    if least > most:
        raise ValueError(f"least {least:g} is above most {most:g}: swap them")


class Factor(Settings):
    """How a law goes with one quantity: (quantity / at) ** exponent."""

    at: Annotated[float, ranges.RULE_AT]
    """Where the factor is 1."""
    exponent: Annotated[float, ranges.EXPONENT]


class Powers(Settings):
    """A law in several variables: value * product of (quantity / at) ** exponent, within `least` and `most`.

    One variable may not be enough. Marin's first law of the learning rate looked clean and went wrong at 30
    times the compute; the one that held over 300 times goes with batch and tokens apart
    (openathena.ai/blog/delphi; `delphi` here).
    """

    rule: Literal["powers"]
    value: Annotated[float, ranges.POWERS_VALUE]
    """What the law gives where every quantity is its `at`."""
    of: dict[Literal["n", "d", "c", "d_model", "batch"], Factor] = Field(min_length=1)
    """N, D, C, the model's width, or positions per step, each with its exponent."""
    least: Annotated[float, ranges.POWERS_VALUE] | None = None
    """The law's value is not taken below this."""
    most: Annotated[float, ranges.POWERS_VALUE] | None = None
    """The law's value is not taken above this."""

    @model_validator(mode="after")
    def _ordered(self) -> Powers:
        if self.least is not None and self.most is not None:
            ordered(self.least, self.most)
        return self

    def at(self, scale: Scale) -> float:
        """The law's value."""
        factors = ((getattr(scale, name) / of.at, of.exponent) for name, of in self.of.items())
        value = product(self.value, factors)
        if self.least is not None:
            value = max(value, self.least)
        return value if self.most is None else min(value, self.most)

    def learning_rate(self, scale: Scale) -> float:
        """As a peak learning rate."""
        return self.at(scale)

    def epsilon(self, scale: Scale) -> float:
        """As AdamW's epsilon."""
        return self.at(scale)

    def weight_decay(self, scale: Scale, learning_rate: float) -> float:
        """As a weight decay, whatever the learning rate."""
        return self.at(scale)
