"""Published rules, evaluated by hand."""

import pytest

from stepladder.schema.rules import (
    DeepSeekBatch,
    DeepSeekRate,
    OlmoBatch,
    OlmoRate,
    PowerRate,
    Size,
    StepLawBatch,
    StepLawRate,
)

SIZE = Size(n=108e6, d=2e9, c=1e18, d_model=768)


def test_rates():
    assert OlmoRate(rule="olmo").learning_rate(SIZE) == pytest.approx(0.00235)
    # 1e18 ** -0.125 = 10 ** -2.25
    assert DeepSeekRate(rule="deepseek").learning_rate(SIZE) == pytest.approx(0.3118 * 10**-2.25)
    step_law = StepLawRate(rule="step_law").learning_rate(Size(n=1e8, d=1e10, c=1, d_model=1))
    assert step_law == pytest.approx(1.79 * 10 ** (-0.713 * 8 + 0.307 * 10))
    power = PowerRate(rule="power", of="d_model", at=384, value=0.02, exponent=-1)
    assert power.learning_rate(SIZE) == pytest.approx(0.01)


def test_batches():
    assert OlmoBatch(rule="olmo").tokens(SIZE, 2048) == pytest.approx(2048 * 160)
    assert DeepSeekBatch(rule="deepseek").tokens(SIZE, 2048) == pytest.approx(0.2920 * 10 ** (18 * 0.3271))
    assert StepLawBatch(rule="step_law").tokens(SIZE, 2048) == pytest.approx(0.58 * 2e9**0.571)
