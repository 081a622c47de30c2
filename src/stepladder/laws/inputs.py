"""What may be put into a law: numbers at which it means something, and that do not contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

COUNTS = ("parameters", "tokens")
"""Inputs that are counts, at least 1."""

USUAL = 6.0
"""FLOPs per parameter and token (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)."""

APART = 2.0
"""FLOPs per parameter and token may be so many times beyond those of the rows..."""

APART_UNKNOWN = 10.0
"""...or, where these are not known, off the usual 6: attention, head and inactive experts explain less."""

SAME = 0.01
"""Relative difference of two numbers that are one."""


def refuse_inputs(inputs: Mapping[str, Any]) -> None:
    """Refuse inputs of a law that mean nothing.

    Args:
        inputs: numbers or arrays by input, in the units of docs/laws.md.

    Raises:
        ValueError: one is no number, not finite, zero or negative, a count below 1, or an active fraction
            above 1; the message names it, the first such value, and what is allowed.
    """
    for name, value in inputs.items():
        least, most, allowed = 0.0, np.inf, "a number above 0"
        if name in COUNTS:
            least, allowed = 1.0, "a number above 0: a count of 1 or more"
        elif name == "active_fraction":
            most, allowed = 1.0, "a number above 0, at most 1"
        values = np.atleast_1d(np.asarray(value))
        if values.dtype.kind not in "iuf":
            raise ValueError(f"{name} = {value!r:.40}: give {allowed}")
        bad = ~(np.isfinite(values) & (values > 0) & (values >= least) & (values <= most))
        if bad.any():
            raise ValueError(f"{name} = {values[bad][0]:g}: give {allowed}")


def refuse_contradiction(inputs: Mapping[str, float], ratio: tuple[float, float] | None) -> None:
    """Refuse inputs of which one follows from others and is another.

    Args:
        ratio: smallest and largest C/(N D) of the fitted rows; None where they are not known.

    Raises:
        ValueError: FLOPs are not what parameters and tokens take, or tokens per parameter not their ratio;
            the message names the values and what is allowed.
    """
    if {"flops", "parameters", "tokens"} <= set(inputs):
        C, N, D = (float(inputs[name]) for name in ("flops", "parameters", "tokens"))
        apart = APART if ratio else APART_UNKNOWN
        low, high = ratio or (USUAL, USUAL)
        low, high = low / apart * N * D, high * apart * N * D
        if not low <= C <= high:
            usual = (
                f"{ratio[0]:.3g} to {ratio[1]:.3g} in the fitted rows" if ratio else f"{USUAL:g} as a rule"
            )
            raise ValueError(
                f"flops = {C:g} contradicts parameters = {N:g} and tokens = {D:g}: it is {C / N / D:.3g} "
                f"per parameter and token, {usual}; give flops from {low:.3g} to {high:.3g}, or correct the "
                "others"
            )
    if {"multiplier", "parameters", "tokens"} <= set(inputs):
        M, N, D = (float(inputs[name]) for name in ("multiplier", "parameters", "tokens"))
        if abs(M * N / D - 1) > SAME:
            raise ValueError(
                f"multiplier = {M:g} contradicts parameters = {N:g} and tokens = {D:g}: give their ratio, "
                f"{D / N:.4g}, or leave it out"
            )
