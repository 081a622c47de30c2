"""Published rules, evaluated by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.schema.rules import (
    NANOCHAT_D12,
    DeepSeekBatch,
    DeepSeekRate,
    DelphiBatch,
    DelphiRate,
    NanochatBatch,
    OlmoBatch,
    OlmoRate,
    PowerBatch,
    PowerLinesBatch,
    PowerRate,
    StepLawBatch,
    StepLawRate,
)
from stepladder.schema.scale import Factor, Powers, Scale, Size

SIZE = Size(n=108e6, d=2e9, c=1e18, d_model=768)


def at(d, batch=2.0**18, d_model=768):
    return Scale(n=1e8, d=d, c=1e18, d_model=d_model, batch=batch)


def test_rates():
    assert OlmoRate(rule="olmo").learning_rate(SIZE) == pytest.approx(0.00235)
    # 1e18 ** -0.125 = 10 ** -2.25
    assert DeepSeekRate(rule="deepseek").learning_rate(SIZE) == pytest.approx(0.3118 * 10**-2.25)
    step_law = StepLawRate(rule="step_law").learning_rate(Size(n=1e8, d=1e10, c=1, d_model=1))
    assert step_law == pytest.approx(1.79 * 10 ** (-0.713 * 8 + 0.307 * 10))
    power = PowerRate(rule="power", of="d_model", at=384, value=0.02, exponent=-1)
    assert power.learning_rate(SIZE) == pytest.approx(0.01)


def test_a_rate_of_batch_and_tokens():
    delphi = DelphiRate(rule="delphi")
    assert delphi.learning_rate(at(2.5e9)) == pytest.approx(0.0063)
    assert delphi.learning_rate(at(2.5e10, batch=2.0**20)) == pytest.approx(0.0126 * 10**-0.3)
    assert delphi.learning_rate(at(2.5e9, batch=2.0**22)) == 0.01, "never above"


def test_a_law_in_several_variables():
    """marin's MoE: 1.63 T^-0.2813 h^-0.3678 sqrt(B), written from T = 1e10, h = 1024, B = 2^20."""
    there = 1.63 * 1e10**-0.2813 * 1024**-0.3678 * 2**10
    of = {"d": (1e10, -0.2813), "d_model": (1024, -0.3678), "batch": (2**20, 0.5)}
    law = Powers(
        rule="powers", value=there, of={name: Factor(at=a, exponent=e) for name, (a, e) in of.items()}
    )
    found = law.learning_rate(at(3e9, batch=2.0**19, d_model=640))
    assert found == pytest.approx(1.63 * 3e9**-0.2813 * 640**-0.3678 * math.sqrt(2**19))


def test_a_law_in_several_variables_keeps_its_limits():
    law = Powers(rule="powers", value=0.01, of={"d": Factor(at=1e9, exponent=-1)}, least=0.001, most=0.02)
    assert [law.at(at(d)) for d in (1e7, 1e9, 1e12)] == [0.02, 0.01, 0.001]
    with pytest.raises(ValueError, match=r"least 0.02 is above most 0.001: swap them"):
        Powers(rule="powers", value=0.01, of=law.of, least=0.02, most=0.001)


def test_a_law_beyond_all_numbers_is_infinite():
    law = Powers(
        rule="powers", value=1.0, of={"d": Factor(at=1e-6, exponent=10), "n": Factor(at=1e40, exponent=-10)}
    )
    assert law.at(at(1e30)) == math.inf


def test_batches():
    assert OlmoBatch(rule="olmo").tokens(SIZE, 2048) == pytest.approx(2048 * 160)
    assert DeepSeekBatch(rule="deepseek").tokens(SIZE, 2048) == pytest.approx(0.2920 * 10 ** (18 * 0.3271))
    assert StepLawBatch(rule="step_law").tokens(SIZE, 2048) == pytest.approx(0.58 * 2e9**0.571)
    power = PowerBatch(rule="power", at=1e9, value=2**19, exponent=1)
    assert power.tokens(SIZE, 2048) == 2**20


def test_a_batch_that_goes_with_tokens():
    """Power Lines as nanochat puts it: twice the tokens, 1.3 times the batch; ten times, 2.4 times."""
    rule = PowerLinesBatch(rule="power_lines", at=1e9, value=2**19)
    one, two, ten = (rule.tokens(at(d), 2048) for d in (1e9, 2e9, 1e10))
    assert (one, round(two / one, 1), round(ten / one, 1)) == (2**19, 1.3, 2.4)


@pytest.mark.parametrize(
    ("scaling_parameters", "log2"),
    [(42e6, 18), (70e6, 19), (110e6, 19), (235e6, 19), (324e6, 20), (918e6, 20), (1.7e9, 21), (6.2e9, 21)],
)
def test_nanochats_own_table(scaling_parameters, log2):
    """nanochat's log of 2026-02-05: depths 8 to 50 at the same tokens per parameter as its reference."""
    size = at(12 * scaling_parameters)
    assert NanochatBatch(rule="nanochat").tokens(size, 2048) == 2**log2
    assert pytest.approx(12 * 110.1e6, rel=1e-3) == NANOCHAT_D12


@pytest.mark.parametrize(
    ("tokens", "sequences"),
    [
        (1.1e9, 8),  # 4.1 of 2^16 steps
        (1e10, 64),  # 37.3
        (6e11, 4096),  # 2235, and a rate of 0.0097 at 4096
        (1.2e12, 4096),  # 4470, but 8192 would have a rate of 0.0112
        (2.2e12, 8192),
    ],
)
def test_delphis_batch(tokens, sequences):
    assert DelphiBatch(rule="delphi").tokens(at(tokens), 2048) == 4096 * sequences


@pytest.mark.parametrize("tokens", [1e7, 1e9, 5.6e12, 1e15])
def test_delphis_batch_ends_where_its_source_does(tokens):
    with pytest.raises(ValueError, match=r"1.1e9 to 5.5e12 tokens, and this run has .*optimizer.batch"):
        DelphiBatch(rule="delphi").tokens(at(tokens), 2048)


@given(st.floats(1.1e9, 5.4e12))
def test_delphis_other_conditions_never_bind(tokens):
    """Its source also halves the batch at a second rate of 0.01 and at a beta2 of 0.9."""
    batch = DelphiBatch(rule="delphi").tokens(at(tokens), 2048) / 4096
    assert 0.0063 * math.sqrt(batch / 64) * (2.5e9 / tokens) ** 0.3 < 0.01
    assert 2 * 0.000656 * math.sqrt(batch / 64 * 2.5e9 / tokens) < 0.01 and 0.9999 ** (2 * batch / 64) > 0.9
    steps = tokens / (4096 * batch)
    assert steps > 2**15, "never above twice the exact batch"


@given(st.floats(1.1e9, 5e12), st.floats(1, 1.09))
def test_a_longer_horizon_never_has_a_smaller_batch(tokens, more):
    power_lines = PowerLinesBatch(rule="power_lines", at=1e9, value=2**19)
    for rule in (power_lines, NanochatBatch(rule="nanochat"), DelphiBatch(rule="delphi")):
        assert rule.tokens(at(more * tokens), 2048) >= rule.tokens(at(tokens), 2048)


@given(st.floats(1e8, 1e13), st.floats(2**12, 2**24), st.floats(1.01, 100))
def test_delphis_rate_rises_with_the_batch_and_falls_with_the_horizon(tokens, batch, more):
    rule = DelphiRate(rule="delphi")
    rate = rule.learning_rate(at(tokens, batch))
    assert (
        rule.learning_rate(at(tokens, more * batch)) >= rate >= rule.learning_rate(at(more * tokens, batch))
    )
    assert 0 < rate <= 0.01
