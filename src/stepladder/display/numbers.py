"""Numbers as a reader wants them: three significant figures, a unit, an interval, or a dash.

Every function takes `None` or nan for "there is no number" and returns an em dash then; a missing
number is never printed as zero. No number is too large to print, or printed with more digits than can be
read: from 10⁷ on it is a power of ten, and of a ratio it is enough that it is over a million.
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Sequence
from typing import TypeGuard

MISSING = "—"
_PREFIXES = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"]
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_COUNTS = ["", "k", "M", "B", "T"]

_PLAIN = (1e-6, 1e7)
"""Numbers that are printed without an exponent: from the first, below the second."""

LARGEST_RATIO = 1e6
"""What lies above it is no factor that anyone measures: how far above does not matter."""
SMALLEST_RATIO = 0.005
"""Below it two decimals are 0.00."""

_LARGEST_WHOLE = 1e15
"""From here on the digits of a count are not read one by one."""

_LARGEST = sys.float_info.max
_LARGEST_LOG = math.log(_LARGEST)


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number (bools are not; numpy's are) and no integer beyond all floats."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def exponential(log: float) -> float:
    """e to the power of `log`, at most the largest number that there is."""
    return math.exp(log) if log < _LARGEST_LOG else _LARGEST


def significant(value: float | None, digits: int = 3) -> str:
    """`digits` significant figures: 0.0123, 1.23, 123, 12300; as a power of ten where that is long."""
    if not is_number(value):
        return MISSING
    if value == 0:
        return "0"
    if not _PLAIN[0] <= abs(value) < _PLAIN[1]:
        return _power(value, digits)
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    # Rounding may have carried into a new digit: 9.996 is 10.0 at three figures, not 10.00.
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return _minus(f"{rounded:.{max(decimals, 0)}f}")


def general(value: float | None, digits: int = 3) -> str:
    """Like `significant`, but a power of ten already below 0.0001: 5.76 × 10⁻⁵."""
    if not is_number(value) or value == 0 or abs(value) >= 1e-4:
        return significant(value, digits)
    return _power(value, digits)


def fixed(value: float | None, decimals: int = 3) -> str:
    """A fixed number of decimals, with a real minus sign; a power of ten where that is long."""
    if not is_number(value):
        return MISSING
    return _minus(f"{value:.{decimals}f}") if abs(value) < _PLAIN[1] else _power(value)


def p_value(value: float | None) -> str:
    """Two significant figures, and `< 0.0001` below that."""
    return "< 0.0001" if is_number(value) and value < 1e-4 else significant(value, 2)


def signed(value: float | None, decimals: int = 3) -> str:
    """Like `fixed`, always with a sign."""
    if not is_number(value):
        return MISSING
    if abs(value) < _PLAIN[1]:
        return _minus(f"{value:+.{decimals}f}")
    return f"{'+' if value > 0 else ''}{_power(value)}"


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
    # A lower end that is None beside a finite gain was not a number, rather than infinite.
    if ends is None or (ends[0] is None and value is not None):
        return f"{ratio(value)} [no interval]"
    return f"{ratio(value)} [{ratio(ends[0])}, {ratio(ends[1])}]"


def ratio(value: float | None) -> str:
    """A factor with two decimals, `1.45`, or on which side of what can be measured it lies: `> 10⁶`,
    `< 0.005`. None is infinite."""
    if value is None:
        return "∞"
    if is_number(value) and value > LARGEST_RATIO:
        return "> 10⁶"
    if is_number(value) and 0 < value < SMALLEST_RATIO:
        return f"< {SMALLEST_RATIO}"
    return fixed(value, 2)


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
    if not is_number(value):
        return MISSING
    if abs(value) >= _LARGEST_WHOLE:
        return _power(value)
    return _minus(f"{round(value):,}").replace(",", "\N{THIN SPACE}")


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


def percent(share: float | None, decimals: int = 0, sign: bool = False) -> str:
    """A share as per cent: 36 %; with `sign` +36 %."""
    if not is_number(share):
        return MISSING
    hundredfold = max(-_LARGEST, min(100 * float(share), _LARGEST))
    return f"{signed(hundredfold, decimals) if sign else fixed(hundredfold, decimals)} %"


def level(confidence: float | None) -> str:
    """Coverage of an interval, never rounded up to all: 95 %, 97.5 %, 99.9 %."""
    return f"{100 * confidence:.10g} %" if is_number(confidence) else MISSING


def money(value: float | None, currency: str | None) -> str:
    """12.30 USD."""
    if not is_number(value):
        return MISSING
    amount = f"{value:,.2f}" if abs(value) < _LARGEST_WHOLE else _power(value)
    return f"{amount} {currency or ''}".strip()


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


def _power(value: float, digits: int = 3) -> str:
    """As a power of ten: 5.76 × 10²³."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{_minus(mantissa)} × 10{str(int(exponent)).translate(_RAISED)}"


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
