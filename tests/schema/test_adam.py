"""Rules of beta2, epsilon, weight decay and warmup: by hand, and how they go with batch and horizon."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.schema.adam import Forgetting, HalfLife, OlmoBeta2, ParameterWarmup, Timescale, TokenWarmup
from stepladder.schema.scale import Factor, Powers, Scale

BATCHES = st.floats(2**10, 2**26)
HORIZONS = st.floats(1e7, 1e13)
MORE = st.floats(1.01, 1000)


def scale(batch=2.0**18, d=2.5e9, n=1e8, d_model=512):
    return Scale(n=n, d=d, c=6 * n * d, d_model=d_model, batch=batch)


BATCH = {"batch": Factor(at=2**18, exponent=1)}

DELPHI_EPSILON = Powers(
    rule="powers",
    value=1.85e-8,
    of={"batch": Factor(at=2**18, exponent=-0.5), "d": Factor(at=2.5e9, exponent=0.5)},
)


def test_beta2_by_batch():
    olmo = OlmoBeta2(rule="olmo")
    assert (olmo.beta2(scale(524287)), olmo.beta2(scale(524288))) == (0.99, 0.95)
    delphi = HalfLife(rule="half_life", value=0.9999, at=2**18)
    assert delphi.beta2(scale(2**18)) == 0.9999
    assert delphi.beta2(scale(2**24)) == pytest.approx(1 - 64e-4, abs=2.1e-5)  # (1 - x)^64, x = 1e-4
    assert delphi.beta2(scale(2**10)) == 0.9999 and delphi.beta2(scale(2**30)) == 0.9


@pytest.mark.parametrize(
    "rule",
    [HalfLife(rule="half_life", value=0.99, at=1e5), Forgetting(rule="forgetting", value=0.01, of=BATCH)],
)
def test_limits_of_beta2_are_in_order(rule):
    with pytest.raises(ValueError, match=r"least 0.99 is above most 0.9: swap them"):
        type(rule).model_validate(rule.model_dump() | {"least": 0.99, "most": 0.9})


def test_beta2_by_batch_and_horizon():
    """Marin's C-AdamC: 0.02 * (B / 128) * (65536 / S), of sequences of 4096 and S = D / B steps."""
    batch = 128 * 4096
    of = {"batch": Factor(at=batch, exponent=2), "d": Factor(at=65536.0 * batch, exponent=-1)}
    rule = Forgetting(rule="forgetting", value=0.02, of=of)
    assert rule.beta2(scale(batch, 65536.0 * batch)) == pytest.approx(0.98)
    assert rule.beta2(scale(2 * batch, 65536.0 * 2 * batch)) == pytest.approx(0.96)
    assert rule.beta2(scale(batch, 2 * 65536.0 * batch)) == pytest.approx(0.99)
    assert rule.beta2(scale(100 * batch, 65536.0 * batch)) == 0.5, "not below `least`"


def test_epsilon_by_batch_and_horizon():
    """1.85e-8 * sqrt(r0 / r) with r = B / D: Delphi."""
    assert DELPHI_EPSILON.epsilon(scale()) == pytest.approx(1.85e-8)
    assert DELPHI_EPSILON.epsilon(scale(batch=2.0**20, d=10e9)) == pytest.approx(1.85e-8)
    assert DELPHI_EPSILON.epsilon(scale(batch=2.0**20)) == pytest.approx(0.925e-8)


def test_weight_decay_of_a_timescale():
    """Wang and Aitchison: 1 / (eta * lambda) steps; of 1024 steps and tau 0.1, 102.4 of them."""
    rule = Timescale(rule="timescale", value=0.1)
    run = scale(batch=2.0**19, d=2.0**29)
    decay = rule.weight_decay(run, 0.01)
    assert 1 / (0.01 * decay) == pytest.approx(102.4)
    # at a fixed rate as B / D: twice the batch, twice the decay; twice the tokens, half of it
    assert rule.weight_decay(scale(batch=2.0**20, d=2.0**29), 0.01) == pytest.approx(2 * decay)
    assert rule.weight_decay(scale(batch=2.0**19, d=2.0**30), 0.01) == pytest.approx(decay / 2)
    assert rule.weight_decay(run, 0.0) == math.inf


def test_a_timescale_that_goes_with_tokens_per_parameter():
    rule = Timescale(rule="timescale", value=0.2, exponent=-0.5)
    at_20, at_80 = (rule.weight_decay(scale(d=tpp * 1e8), 0.01) for tpp in (20, 80))
    # 4 times the tokens, half of tau: D * tau is twice as much
    assert at_80 == pytest.approx(at_20 / 2)


def test_warmup():
    assert ParameterWarmup(rule="parameters").positions(scale(n=3e8)) == 3e8
    assert ParameterWarmup(rule="parameters", tokens_per_parameter=0.5).positions(scale(n=3e8)) == 1.5e8
    assert TokenWarmup(rule="tokens", tokens=12e9).positions(scale()) == 12e9


@given(BATCHES, HORIZONS, MORE)
def test_a_larger_batch_forgets_faster_and_decays_more(batch, d, more):
    small, large = scale(batch, d), scale(more * batch, d)
    for rule in (OlmoBeta2(rule="olmo"), HalfLife(rule="half_life", value=0.999, at=2**18)):
        assert rule.beta2(large) <= rule.beta2(small)
    assert DELPHI_EPSILON.epsilon(large) < DELPHI_EPSILON.epsilon(small)
    decay = Timescale(rule="timescale", value=0.1)
    assert decay.weight_decay(large, 0.01) > decay.weight_decay(small, 0.01)


@given(BATCHES, HORIZONS, MORE)
def test_a_longer_horizon_decays_less_and_a_higher_rate_too(batch, d, more):
    short, long = scale(batch, d), scale(batch, more * d)
    decay = Timescale(rule="timescale", value=0.1)
    assert decay.weight_decay(long, 0.01) < decay.weight_decay(short, 0.01)
    assert decay.weight_decay(short, 0.01 * more) < decay.weight_decay(short, 0.01)
    assert DELPHI_EPSILON.epsilon(long) > DELPHI_EPSILON.epsilon(short)


@given(BATCHES, HORIZONS, st.floats(1e-5, 1e-1), st.floats(0.01, 10))
def test_tau_is_what_was_asked_for(batch, d, rate, tau):
    decay = Timescale(rule="timescale", value=tau).weight_decay(scale(batch, d), rate)
    assert batch / (rate * decay * d) == pytest.approx(tau)


@given(BATCHES)
def test_the_half_life_is_the_same_number_of_tokens(batch):
    """Tokens until half of a gradient's square is forgotten, wherever the limits do not bind."""
    beta2 = HalfLife(rule="half_life", value=0.9999, at=2**18, least=0, most=0.999999).beta2(scale(batch))
    if beta2 < 0.999999:
        assert batch * math.log(0.5) / math.log(beta2) == pytest.approx(
            2**18 * math.log(0.5) / math.log(0.9999)
        )
