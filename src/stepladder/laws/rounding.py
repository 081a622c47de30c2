"""Sizes that were rounded before they came into a table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from stepladder.laws.forms import Array

DIGITS = 3
"""Significant digits that rounded sizes have at most; counts of parameters have more."""

MATTERS = 0.005
"""Relative error of a size from which a warning is due: a law's loss then moves by as much as seeds do."""

MOST = 0.75
"""Share of the sizes that must have so few digits..."""

SIZES = 3
"""...and how many: fewer may have them by chance."""


def rounded_sizes(table: pd.DataFrame) -> list[str]:
    """A warning if the column parameters looks rounded, by enough to matter; else nothing.

    It does if most sizes have at most three significant digits, and either rounding to these takes more than
    0.5 %, or FLOPs per parameter and token (where flops and tokens are there) jump by more than that from
    size to size, but not among the rows of one size.
    """
    if "parameters" not in table:
        return []
    sizes = np.unique(table["parameters"].to_numpy(dtype=float))
    digits = np.array([_digits(size) for size in sizes])
    few = digits <= DIGITS
    if few.sum() < SIZES or few.mean() < MOST:
        return []
    error = np.where(few, 0.5 * 10.0 ** (np.floor(np.log10(sizes)) + 1 - digits) / sizes, 0.0)
    worst = int(error.argmax())
    jump = _jump(table)
    if error[worst] < MATTERS and jump < MATTERS:
        return []
    seen = (
        f"; flops / (6 x parameters x tokens) jumps by {jump:.1%} from size to size"
        if jump >= MATTERS
        else ""
    )
    return [
        f"parameters look rounded: {few.sum()} of {len(sizes)} sizes have at most {digits[few].max()} "
        f"significant digits, {sizes[worst]:g} may be off by {error[worst]:.1%}{seen}; give exact counts, "
        "the laws and what they forecast move with them"
    ]


def _digits(value: float) -> int:
    """Significant digits of a number as one would write it, 12 at most."""
    return len(f"{value:.11e}".split("e")[0].replace(".", "").rstrip("0")) or 1


def _jump(table: pd.DataFrame) -> float:
    """Standard deviation of log C/(N D) over sizes about its smooth course, 0 where it varies as much among
    rows of one size, or nothing tells."""
    if not {"flops", "tokens"} <= set(table):
        return 0.0
    ratio = table["flops"] / table["parameters"] / table["tokens"]
    by_size = ratio.map(np.log).groupby(table["parameters"])
    mean: Array = by_size.mean().to_numpy(dtype=float)
    x, inside = np.log(np.sort(table["parameters"].unique()).astype(float)), by_size.std().max()
    degree = 2 if len(x) > 4 else 0
    left = mean - np.polynomial.Polynomial.fit(x, mean, degree)(x)
    free = len(x) - degree - 1
    jump = float(np.sqrt((left**2).sum() / free))
    return jump if np.isnan(inside) or inside < jump / 3 else 0.0
