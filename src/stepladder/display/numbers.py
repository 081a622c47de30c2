"""Numbers as a reader wants them: three significant figures, a unit, an interval, or a dash.

Every function takes `None` or nan for "there is no number" and returns an em dash then; a missing
number is never printed as zero.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import TypeGuard

MISSING = "—"
_PREFIXES = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"]
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_COUNTS = ["", "k", "M", "B", "T"]


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number (bools are not; numpy's are)."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def significant(value: float | None, digits: int = 3) -> str:
    """`digits` significant figures without an exponent: 0.0123, 1.23, 123, 12300."""
    if not is_number(value):
        return MISSING
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    # Rounding may have carried into a new digit: 9.996 is 10.0 at three figures, not 10.00.
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return _minus(f"{rounded:.{max(decimals, 0)}f}")


def general(value: float | None, digits: int = 3) -> str:
    """Like `significant`, but very large and very small numbers as a power of ten: 5.76 × 10²³."""
    if not is_number(value) or value == 0 or 1e-4 <= abs(value) < 1e7:
        return significant(value, digits)
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{_minus(mantissa)} × 10{str(int(exponent)).translate(_RAISED)}"


def fixed(value: float | None, decimals: int = 3) -> str:
    """A fixed number of decimals, with a real minus sign."""
    return _minus(f"{value:.{decimals}f}") if is_number(value) else MISSING


def p_value(value: float | None) -> str:
    """Two significant figures, and `< 0.0001` below that."""
    return "< 0.0001" if is_number(value) and value < 1e-4 else significant(value, 2)


def signed(value: float | None, decimals: int = 3) -> str:
    """Like `fixed`, always with a sign."""
    return _minus(f"{value:+.{decimals}f}") if is_number(value) else MISSING


def interval(value: float | None, low: float | None, high: float | None, decimals: int = 2) -> str:
    """`0.97 [0.90, 1.05]`; without bounds `0.97 [no interval]`, without a value a dash."""
    if not is_number(value):
        return MISSING
    if not (is_number(low) and is_number(high)):
        return f"{fixed(value, decimals)} [no interval]"
    return f"{fixed(value, decimals)} [{fixed(low, decimals)}, {fixed(high, decimals)}]"


def bounds(ends: Sequence[float | None] | None, digits: int = 3) -> str:
    """Ends of an interval: `[0.0098, 0.0149]`. A low end that is None is not known, a high end that is None
    infinite; None is no interval."""
    if ends is None:
        return MISSING
    low, high = general(ends[0], digits), "∞" if ends[1] is None else general(ends[1], digits)
    return f"[{low}, {high}]"


def estimate(value: float | None, ends: Sequence[float | None] | None, digits: int = 3) -> str:
    """Like `interval`, with significant figures in place of decimals: `0.0121 [0.0098, 0.0149]`."""
    if not is_number(value):
        return MISSING
    return f"{significant(value, digits)} {bounds(ends, digits) if ends else '[no interval]'}"


def gain(value: float | None, ends: tuple[float | None, float | None] | None) -> str:
    """An efficiency gain and its interval, `1.45 [1.30, 1.62]`; a gain or an end that is None is infinite."""
    shown = fixed(value, 2) if value is not None else "∞"
    # A lower end that is None beside a finite gain was not a number, rather than infinite.
    if ends is None or (ends[0] is None and value is not None):
        return f"{shown} [no interval]"
    low, high = (fixed(end, 2) if end is not None else "∞" for end in ends)
    return f"{shown} [{low}, {high}]"


def flops(value: float | None) -> str:
    """FLOP count with an SI prefix: 5.70 TFLOP."""
    return _prefixed(value, _PREFIXES, " ", "FLOP")


def rate(value: float | None) -> str:
    """FLOP per second with an SI prefix: 66.0 GFLOP/s."""
    return _prefixed(value, _PREFIXES, " ", "FLOP/s")


def count(value: float | None) -> str:
    """Tokens or parameters: 201k, 7.10M, 1.05T; exact below a thousand, a power of ten from 10¹⁵ on."""
    if is_number(value) and abs(value) < 1000 and float(value).is_integer():
        return _minus(str(int(value)))
    return _prefixed(value, _COUNTS, "", "")


def whole(value: float | None) -> str:
    """An exact count with thin spaces between thousands: 2 310."""
    return _minus(f"{round(value):,}").replace(",", "\N{THIN SPACE}") if is_number(value) else MISSING


def bytes_(value: float | None) -> str:
    """Bytes with a decimal SI prefix: 61.4 MB."""
    return _prefixed(value, _PREFIXES, " ", "B")


def duration(seconds: float | None) -> str:
    """12.3 s, 4.10 min, 3.20 h, 2.50 days: the largest unit in which the number is at least 1.5."""
    if not is_number(seconds):
        return MISSING
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 1.5 * size:
            return f"{significant(seconds / size)} {unit}"
    return f"{significant(seconds)} s"


def percent(share: float | None, decimals: int = 0) -> str:
    """A share as per cent: 36 %."""
    return f"{fixed(100 * share, decimals)} %" if is_number(share) else MISSING


def level(confidence: float | None) -> str:
    """Coverage of an interval, never rounded up to all: 95 %, 97.5 %, 99.9 %."""
    return f"{100 * confidence:.10g} %" if is_number(confidence) else MISSING


def money(value: float | None, currency: str | None) -> str:
    """12.30 USD."""
    return f"{value:,.2f} {currency or ''}".strip() if is_number(value) else MISSING


def scale(values: list[float]) -> tuple[float, str]:
    """Divisor and SI prefix that bring the geometric middle of `values` near 1 (for an axis)."""
    positive = [v for v in values if is_number(v) and v > 0]
    if not positive:
        return 1.0, ""
    middle = sum(math.log10(v) for v in positive) / len(positive)
    power = min(max(int((middle + 0.5) // 3), 0), len(_PREFIXES) - 1)
    return 1000.0**power, _PREFIXES[power]


def _prefixed(value: float | None, prefixes: list[str], gap: str, unit: str) -> str:
    if not is_number(value):
        return MISSING
    if value == 0:
        return f"0{gap}{unit}".strip()
    power = min(max(math.floor(math.log10(abs(value)) / 3), 0), len(prefixes) - 1)
    if abs(float(f"{value / 1000.0**power:.3g}")) >= 1000:
        if power == len(prefixes) - 1:
            return f"{general(value)}{gap}{unit}"
        power += 1
    return f"{significant(value / 1000.0**power)}{gap}{prefixes[power]}{unit}"


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
