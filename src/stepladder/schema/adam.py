"""Rules of beta2, epsilon, weight decay and warmup: what goes with the learning rate and batch of a run.

A number in place of a rule is the same at every size. Each rule names its source; where that leaves something
open its docstring says so. N, D, B: see `stepladder.schema.scale`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from stepladder.schema import ranges
from stepladder.schema.scale import Factor, Powers, Scale, Size, ordered, product
from stepladder.schema.settings import Settings


class OlmoBeta2(Settings):
    """OLMo-core's ladder (fa6c501): 0.95 from 524288 tokens per step on, 0.99 below.

    After Porian et al. 2024 (arXiv 2406.19146): at small batches beta2 must be larger.
    """

    rule: Literal["olmo"]

    def beta2(self, scale: Scale) -> float:
        """One of two values, by the batch."""
        return 0.95 if scale.batch >= 524288 else 0.99


class HalfLife(Settings):
    """value ^ (B / at), within `least` and `most`: the second moment forgets over the same tokens whatever B.

    Marin's Delphi (completed_adamh.py, 054a715): 0.9999^(B / 262144) within 0.9 and 0.9999.
    """

    rule: Literal["half_life"]
    value: Annotated[float, ranges.BETA]
    """beta2 where a step has `at` tokens."""
    at: Annotated[float, ranges.RULE_AT]
    """Positions per step."""
    least: Annotated[float, ranges.BETA] = 0.9
    """beta2 is not taken below this."""
    most: Annotated[float, ranges.BETA] = 0.9999
    """beta2 is not taken above this."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        ordered(self.least, self.most)
        return self

    def beta2(self, scale: Scale) -> float:
        """Falls with the batch."""
        return max(self.least, min(self.most, math.pow(self.value, scale.batch / self.at)))


class Forgetting(Settings):
    """1 - beta2, the share of the second moment that a step forgets, as a product of powers: batch, horizon.

    Marin's C-AdamC (completed_cadamc_v5.py, 68a7b8f): 0.02 * (B / B0) / (S / S0) for S steps, after
    Complete(d)P, within 0.5 and 0.9999. With S = D / B that is exponent 2 of `batch` and -1 of `d`.
    """

    rule: Literal["forgetting"]
    value: Annotated[float, ranges.POWERS_VALUE]
    """1 - beta2 where every quantity is its `at`."""
    of: dict[Literal["n", "d", "c", "d_model", "batch"], Factor] = Field(min_length=1)
    """N, D, C, the model's width, or positions per step, each with its exponent."""
    least: Annotated[float, ranges.BETA] = 0.5
    """beta2 is not taken below this."""
    most: Annotated[float, ranges.BETA] = 0.9999
    """beta2 is not taken above this."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        ordered(self.least, self.most)
        return self

    def beta2(self, scale: Scale) -> float:
        """Falls as `value`'s powers rise."""
        forgotten = Powers(rule="powers", value=self.value, of=self.of).at(scale)
        return max(self.least, min(self.most, 1 - forgotten))


class Timescale(Settings):
    """Weight decay B / (eta * tau * D): a weight is an average of updates over the last share tau of a run.

    Wang and Aitchison 2024 (arXiv 2405.13698): AdamW's weights are a moving average over 1 / (eta * lambda)
    steps, and its best length in passes over the data stays about the same as model and data grow; here of
    one pass, as in nanochat, so that D is the run's. At a fixed rate the decay goes with B / D. Bergsma et
    al. 2025 (arXiv 2505.13738) confirm the B and find that tau is a power of tokens per parameter:
    `exponent`, 0 for a constant one. Their coefficients are not given here; take yours from a sweep. Where a
    sweep sets the rate, eta is that rate.
    """

    rule: Literal["timescale"]
    value: Annotated[float, ranges.TIMESCALE]
    """tau, as a share of the run."""
    at: Annotated[float, ranges.RULE_AT] = 20.0
    """Tokens per active non-embedding parameter at which tau is `value`."""
    exponent: Annotated[float, ranges.EXPONENT] = 0.0
    """Of tau in tokens per parameter."""

    def weight_decay(self, scale: Scale, learning_rate: float) -> float:
        """Rises with the batch, falls with rate and horizon; infinite at a rate of 0."""
        tau = product(self.value, [(scale.d / scale.n / self.at, self.exponent)])
        steps = learning_rate * tau * scale.d
        return scale.batch / steps if steps else math.inf


class TokenWarmup(Settings):
    """The same number of positions at every size (MAI-Base-1, one large run: 12e9)."""

    rule: Literal["tokens"]
    tokens: Annotated[float, ranges.TOKENS]

    def positions(self, size: Size) -> float:
        """The number itself."""
        return self.tokens


class ParameterWarmup(Settings):
    """Positions in proportion to N. Porian et al. 2024 (arXiv 2406.19146) and OLMo-core's ladder: one each.

    A long warmup at small sizes is one of three reasons why Kaplan's law differs from Hoffmann's.
    """

    rule: Literal["parameters"]
    tokens_per_parameter: Annotated[float, ranges.WARMUP_PER_PARAMETER] = 1.0

    def positions(self, size: Size) -> float:
        """Positions of warmup."""
        return self.tokens_per_parameter * size.n


def rule(value: Any) -> Any:
    """Which member of a union a setting is: by its `rule`, or a number."""
    if isinstance(value, dict):
        return value.get("rule")
    return getattr(value, "rule", "number")


Beta2 = Annotated[
    Annotated[float, ranges.BETA, Tag("number")]
    | Annotated[OlmoBeta2, Tag("olmo")]
    | Annotated[HalfLife, Tag("half_life")]
    | Annotated[Forgetting, Tag("forgetting")],
    Discriminator(rule),
]
Epsilon = Annotated[
    Annotated[float, ranges.EPSILON, Tag("number")] | Annotated[Powers, Tag("powers")], Discriminator(rule)
]
WeightDecay = Annotated[
    Annotated[float, ranges.WEIGHT_DECAY, Tag("number")]
    | Annotated[Timescale, Tag("timescale")]
    | Annotated[Powers, Tag("powers")],
    Discriminator(rule),
]
Warmup = Annotated[TokenWarmup | ParameterWarmup, Field(discriminator="rule")]
