"""Rules that turn the size of a run into its learning rate and batch size.

Each rule is a few lines and names its source. N, D, C, B: see `stepladder.schema.scale`. Published rules were
fitted between about 10 million and 10 billion parameters: below that, check by a sweep (a ladder's section
`sweep`) and write the law that comes out as a `power` rule, or as `powers` where it has several variables.
Rules of beta2, epsilon, weight decay and warmup are in `stepladder.schema.adam`, whole recipes of
hyperparameters in `stepladder.schema.complete`.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from stepladder.schema import ranges
from stepladder.schema.scale import Powers, Scale, Size, product
from stepladder.schema.settings import Settings


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
        return product(self.value, [(getattr(size, self.of) / self.at, self.exponent)])


class OlmoRate(Settings):
    """OLMo-core's ladder: 0.0047 * (N / 108e6)^(-1/3) / 2; the base is Porian et al. 2024 (2406.19146).

    For 1x, and with the ladder's batch, beta2 and warmup (`hyperparameters: olmo` sets them all).
    """

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


class DelphiRate(Settings):
    """Marin's Delphi: 0.0063 * (B / 262144)^0.5 * (2.5e9 / D)^0.3, at most 0.01.

    marin experiments/scaling_law_sweeps/completed_adamh.py (054a715), where B is 64 sequences of 4096. Of
    AdamH, which takes steps relative to the norm of a matrix and decays nothing. Whether the law holds for
    AdamW, which this engine trains with, the source does not say: check by a sweep.
    """

    rule: Literal["delphi"]

    def learning_rate(self, scale: Scale) -> float:
        """Rate as a function of batch and tokens, not of the model."""
        return min(0.01, product(0.0063, [(scale.batch / 2**18, 0.5), (2.5e9 / scale.d, 0.3)]))


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


class PowerBatch(Settings):
    """A fitted power law in one quantity: value * (quantity / at) ** exponent tokens."""

    rule: Literal["power"]
    of: Literal["n", "d", "c", "d_model"] = "d"
    """The quantity: N, D, C or the model width."""
    at: Annotated[float, ranges.RULE_AT]
    """Where the law takes `value`."""
    value: Annotated[float, ranges.RULE_VALUE]
    """Positions per step."""
    exponent: Annotated[float, ranges.EXPONENT]

    def tokens(self, size: Size, sequence_length: int) -> float:
        """Positions per step."""
        return product(self.value, [(getattr(size, self.of) / self.at, self.exponent)])


class PowerLinesBatch(Settings):
    """Power Lines (Bergsma et al. 2025, arXiv 2505.13738): the best batch goes with D^0.383, whatever N.

    The exponent is the paper's. Its coefficient is of its data and is not taken over: `value` is the batch
    that was best at `at` tokens (nanochat: 524288 at 1.32e9).
    """

    rule: Literal["power_lines"]
    at: Annotated[float, ranges.RULE_AT]
    """Tokens at which `value` was found to be best."""
    value: Annotated[float, ranges.RULE_VALUE]
    """Positions per step."""

    def tokens(self, size: Size, sequence_length: int) -> float:
        """Positions per step."""
        return product(self.value, [(size.d / self.at, 0.383)])


NANOCHAT_D12 = 12 * (12 * 12 * 768**2 + 768 * 32768)
"""Tokens of nanochat's reference, 1.32e9: 12 per weight of the matrices of 12 layers (each 12 * 768^2) and of
the head (vocabulary 32768). nanochat counts its own model; gates of a few hundred weights are left out."""


class NanochatBatch(Settings):
    """nanochat (92d63d4, base_train.py): 2^19 * (D / 1.32e9)^0.383 tokens, to the nearest power of two.

    The exponent is Power Lines'; 2^19 was found to be best at depth 12.
    """

    rule: Literal["nanochat"]

    def tokens(self, size: Size, sequence_length: int) -> float:
        """Positions per step."""
        return float(2.0 ** round(19 + 0.383 * math.log2(size.d / NANOCHAT_D12)))


class DelphiBatch(Settings):
    """Marin's Delphi: for about 2^16 steps, the next power of two of sequences of 4096, halved while the
    learning rate reaches 0.01; 8 to 8192 sequences.

    marin experiments/scaling_law_sweeps/completed_adamh.py (054a715). Its two other reasons to halve, another
    rate's cap and beta2 at 0.9, are never met within those limits.
    """

    rule: Literal["delphi"]

    def tokens(self, size: Size, sequence_length: int) -> float:
        """Positions per step.

        Raises:
            ValueError: the horizon asks for a batch outside the limits; the source trains nothing there.
        """
        sequences: float = 2.0 ** max(0, math.ceil(math.log2(size.d / 2**28)))
        while sequences > 8 and 0.0063 * (sequences / 64) ** 0.5 * (2.5e9 / size.d) ** 0.3 >= 0.01:
            sequences /= 2
        if not 8 <= sequences <= 8192:
            raise ValueError(
                f"Delphi's batch rule is for 1.1e9 to 5.5e12 tokens, and this run has {size.d:.2g}: give "
                "optimizer.batch, or change `budgets`"
            )
        return 4096 * sequences


RateRule = Annotated[
    ConstantRate | PowerRate | Powers | OlmoRate | DeepSeekRate | StepLawRate | DelphiRate,
    Field(discriminator="rule"),
]
BatchRule = Annotated[
    ConstantBatch
    | PowerBatch
    | PowerLinesBatch
    | OlmoBatch
    | DeepSeekBatch
    | StepLawBatch
    | NanochatBatch
    | DelphiBatch,
    Field(discriminator="rule"),
]
