"""Numbers as printed: golden values, and the promise that a missing number is a dash."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepladder.display import numbers as fmt
from stepladder.report.sections.verdict import eg


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (fmt.significant(0.012345), "0.0123"),
        (fmt.significant(9.996), "10.0"),
        (fmt.significant(1234.5), "1230"),
        (fmt.significant(-0.5), "−0.500"),
        (fmt.general(5.76e23), "5.76 × 10²³"),
        (fmt.general(-1.234e-5, 2), "−1.2 × 10⁻⁵"),
        (fmt.general(406.4, 5), "406.40"),
        (fmt.significant(1.7e308), "1.70 × 10³⁰⁸"),
        (fmt.significant(3e-7), "3.00 × 10⁻⁷"),
        (fmt.fixed(-1e18), "−1.00 × 10¹⁸"),
        (fmt.signed(1e18), "+1.00 × 10¹⁸"),
        (fmt.percent(-0.0123, 1, sign=True), "−1.2 %"),
        (fmt.whole(10**18), "1.00 × 10¹⁸"),
        (fmt.interval(1.2, -1e18, 1e18), "1.20 [−1.00 × 10¹⁸, 1.00 × 10¹⁸]"),
        (fmt.flops(5.7e12), "5.70 TFLOP"),
        (fmt.flops(9.996e11), "1.00 TFLOP"),
        (fmt.flops(3.2e22), "32.0 ZFLOP"),
        (fmt.rate(66e9), "66.0 GFLOP/s"),
        (fmt.count(201_000), "201k"),
        (fmt.count(1.05e12), "1.05T"),
        (fmt.count(271), "271"),
        (fmt.count(999.6e12), "1.00 × 10¹⁵"),
        (fmt.count(1e21), "1.00 × 10²¹"),
        (fmt.count(999.4e12), "999T"),
        (fmt.flops(3e28), "3.00 × 10²⁸ FLOP"),
        (fmt.level(0.95), "95 %"),
        (fmt.level(0.975), "97.5 %"),
        (fmt.level(0.999), "99.9 %"),
        (fmt.level(0.07), "7 %"),
        (fmt.level(None), "—"),
        (fmt.whole(2310), "2\N{THIN SPACE}310"),
        (fmt.bytes_(61_400_000), "61.4 MB"),
        (fmt.duration(12.3), "12.3 s"),
        (fmt.duration(246), "4.10 min"),
        (fmt.duration(11_520), "3.20 h"),
        (fmt.duration(216_000), "2.50 days"),
        (fmt.percent(0.357), "36 %"),
        (fmt.money(1234.5, "USD"), "1,234.50 USD"),
        (fmt.p_value(2e-5), "< 0.0001"),
        (fmt.p_value(0.0312), "0.031"),
        (fmt.interval(0.974, 0.9, 1.05), "0.97 [0.90, 1.05]"),
        (fmt.interval(0.974, None, None), "0.97 [no interval]"),
        (fmt.bounds([0.0098, None]), "[0.00980, ∞]"),
        (fmt.bounds([None, 0.0149]), "[—, 0.0149]"),
        (fmt.bounds([None, None]), "[—, ∞]"),
        (fmt.bounds(None), "—"),
        (fmt.estimate(0.01213, [0.0098, 0.0149]), "0.0121 [0.00980, 0.0149]"),
        (fmt.estimate(0.01213, None), "0.0121 [no interval]"),
    ],
)
def test_golden(text: str, expected: str) -> None:
    assert text == expected


def test_gain_says_what_null_means() -> None:
    assert fmt.gain(1.449, (1.3, 1.62)) == "1.45 [1.30, 1.62]"
    assert fmt.gain(2.0, (1.3, None)) == "2.00 [1.30, ∞]"
    assert fmt.gain(None, (3.0, None)) == "∞ [3.00, ∞]"
    assert fmt.gain(0.9, None) == "0.90 [no interval]"
    assert fmt.gain(1e7, (1e-9, 1e18)) == "> 10⁶ [< 0.005, > 10⁶]"
    assert eg(None) == "—"


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
@pytest.mark.parametrize(
    "print_",
    [fmt.significant, fmt.fixed, fmt.flops, fmt.count, fmt.whole, fmt.duration, fmt.percent, fmt.p_value],
)
def test_missing_is_a_dash_not_zero(print_, value) -> None:
    assert print_(value) == "—"


def read_back(text: str) -> float:
    """The number that was printed."""
    mantissa, _, exponent = text.replace("−", "-").partition(" × 10")
    power = int(exponent.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)
    return float(f"{mantissa}e{power}")


@given(st.floats(5e-308, 1.7e308))
def test_three_figures_are_within_half_a_per_cent(value: float) -> None:
    for print_ in (fmt.significant, fmt.general):
        assert read_back(print_(value)) == pytest.approx(value, rel=5.01e-3)
        assert len(print_(value)) < 14


ANY = st.none() | st.floats() | st.integers() | st.integers(min_value=2**1000, max_value=2**1100)
ENDS = st.none() | st.tuples(ANY, ANY)
LONGEST = 48
"""Characters of a number with its interval that anybody reads."""


@given(ANY, ENDS)
def test_no_number_is_too_large_or_too_long(value, ends) -> None:
    """Of any size, with any interval, in every form."""
    low, high = ends or (None, None)
    shown = [
        *(
            fmt.significant(value),
            fmt.general(value),
            fmt.fixed(value),
            fmt.signed(value),
            fmt.p_value(value),
        ),
        *(fmt.flops(value), fmt.rate(value), fmt.count(value), fmt.bytes_(value), fmt.whole(value)),
        *(fmt.duration(value), fmt.percent(value), fmt.percent(value, 2, sign=True), fmt.money(value, "USD")),
        *(fmt.interval(value, low, high), fmt.bounds(ends), fmt.estimate(value, ends)),
        *(fmt.gain(value, ends), fmt.ratio(value)),
    ]
    assert all(0 < len(text) <= LONGEST for text in shown), max(shown, key=len)
    assert not any(word in text for text in shown for word in ("inf", "nan", "e+"))
    if isinstance(value, float):
        assert 0 <= fmt.exponential(value) < math.inf or math.isnan(value)


@given(st.lists(st.floats(1e-3, 1e24), min_size=1))
def test_axis_scale_is_a_power_of_a_thousand(values: list[float]) -> None:
    divisor, prefix = fmt.scale(values)
    assert math.log10(divisor) / 3 == pytest.approx(
        ["", "k", "M", "G", "T", "P", "E", "Z", "Y"].index(prefix)
    )
