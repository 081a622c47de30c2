"""Rules that turn the size of a run into its learning rate and batch size.

Each rule is a few lines and names its source. N: active non-embedding parameters. D: positions
trained on. C: model training FLOPs. Published rules were fitted between about 10 million and 10 billion
parameters: below that, check by a sweep (a ladder's section `sweep`) and write the law that
comes out as a `power` rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

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


class ConstantRate(Settings):
    """The same peak learning rate at every size."""

    rule: Literal["constant"]
    value: Annotated[float, ranges.LEARNING_RATE]

    def learning_rate(self, size: Size) -> float:
        """The value itself."""
        return self.value


class PowerRate(Settings):
    """A fitted power law in one quantity: value * (quantity / at) ** exponent."""

    rule: Literal["power"]
    of: Literal["n", "d", "c", "d_model"] = "n"
    """The quantity: N, D, C or the model width."""
    at: Annotated[float, ranges.RULE_AT]
    """Where the law takes `value`."""
    value: Annotated[float, ranges.RULE_VALUE]
    exponent: Annotated[float, ranges.EXPONENT]

    def learning_rate(self, size: Size) -> float:
        """value * (quantity / at) ** exponent; infinite where that is beyond what a float holds."""
        try:
            return float(self.value * (getattr(size, self.of) / self.at) ** self.exponent)
        except (OverflowError, ZeroDivisionError):
            return math.inf


class OlmoRate(Settings):
    """OLMo-core's ladder: 0.0047 * (N / 108e6)^(-1/3) / 2; the base is Porian et al. 2024 (2406.19146)."""

    rule: Literal["olmo"]

    def learning_rate(self, size: Size) -> float:
        """Rate for AdamW with WSD."""
        return float(0.0047 * (size.n / 108e6) ** (-1 / 3) / 2)


class DeepSeekRate(Settings):
    """DeepSeek LLM (arXiv 2401.02954, section 3.1): 0.3118 * C^(-0.1250)."""

    rule: Literal["deepseek"]

    def learning_rate(self, size: Size) -> float:
        """Rate as a function of training FLOPs alone."""
        return float(0.3118 * size.c**-0.1250)


class StepLawRate(Settings):
    """Step Law (arXiv 2503.04715): 1.79 * N^(-0.713) * D^0.307."""

    rule: Literal["step_law"]

    def learning_rate(self, size: Size) -> float:
        """Rate as a function of parameters and data."""
        return float(1.79 * size.n**-0.713 * size.d**0.307)


class ConstantBatch(Settings):
    """The same number of sequences per step at every size."""

    rule: Literal["constant"]
    sequences: Annotated[int, ranges.SEQUENCES]

    def tokens(self, size: Size, sequence_length: int) -> float:
        """Sequences times their length."""
        return self.sequences * sequence_length


class OlmoBatch(Settings):
    """OLMo-core's ladder: 2048 * 160 * (N / 108e6)^(2/3) tokens."""

    rule: Literal["olmo"]

    def tokens(self, size: Size, sequence_length: int) -> float:
        """Positions per step."""
        return float(2048 * 160 * (size.n / 108e6) ** (2 / 3))


class DeepSeekBatch(Settings):
    """DeepSeek LLM (arXiv 2401.02954, section 3.1): 0.2920 * C^0.3271 tokens."""

    rule: Literal["deepseek"]

    def tokens(self, size: Size, sequence_length: int) -> float:
        """Positions per step."""
        return float(0.2920 * size.c**0.3271)


class StepLawBatch(Settings):
    """Step Law (arXiv 2503.04715): 0.58 * D^0.571 tokens."""

    rule: Literal["step_law"]

    def tokens(self, size: Size, sequence_length: int) -> float:
        """Positions per step."""
        return float(0.58 * size.d**0.571)


RateRule = Annotated[
    ConstantRate | PowerRate | OlmoRate | DeepSeekRate | StepLawRate, Field(discriminator="rule")
]
BatchRule = Annotated[ConstantBatch | OlmoBatch | DeepSeekBatch | StepLawBatch, Field(discriminator="rule")]
