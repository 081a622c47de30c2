"""Quantiles and tails of the distributions that intervals and tests need.

They are scipy.special's: importing scipy.stats for them would take every command another second.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special

from stepladder.laws.forms import Array

Values = float | Array | list[float]


def normal_quantile(p: Values) -> Array:
    """Standard normal: the value that a share `p` lies below."""
    return np.asarray(special.ndtri(p))


def normal_share(x: Values) -> Array:
    """Standard normal: the share that lies below `x`."""
    return np.asarray(special.ndtr(x))


def t_quantile(p: float, dof: float) -> float:
    """Student's t: the value that a share `p` lies below."""
    return float(special.stdtrit(dof, p))


def t_share(x: float, dof: float) -> float:
    """Student's t: the share that lies below `x`."""
    return float(special.stdtr(dof, x))


def f_quantile(p: float, dof: float, dof_below: float) -> float:
    """F with `dof` over `dof_below` degrees of freedom: the ratio that a share `p` lies below."""
    return float(special.fdtri(dof, dof_below, p))


def f_share_above(x: float, dof: float, dof_below: float) -> float:
    """F with `dof` over `dof_below` degrees of freedom: the share of ratios that lies above `x`."""
    return float(special.fdtrc(dof, dof_below, x))


def kendall_tau(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Kendall's rank correlation tau-b, ties counted (Kendall 1945, Biometrika 33:239); NaN where all of one
    side are tied."""
    a, b = (np.sign(np.subtract.outer(v, v)) for v in (np.asarray(x), np.asarray(y)))
    pairs = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / pairs) if pairs else float("nan")
