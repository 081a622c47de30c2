"""Whether rows can tell the parameters of a law; if not, why, and what would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from stepladder.laws.design import Design
from stepladder.laws.forms import Array
from stepladder.laws.solve import slopes
from stepladder.laws.starts import Found

COLLINEAR = 0.02
"""Tokens that follow from parameters within this relative error are one budget: nothing tells their powers
apart."""

ILL = 1e8
"""Condition number of the scaled derivatives beyond which parameters are not told apart."""


class NotIdentified(ValueError):
    """The rows cannot tell the law's parameters; the message says why and what would."""


def refuse_rows(
    design: Design,
    inputs: Mapping[str, Array],
    group: npt.NDArray[np.int64] | None,
    groups: Sequence[str],
    shared: Sequence[str] = (),
) -> None:
    """Raises:
    NotIdentified: too few distinct rows, or inputs that do not vary, or that vary together.
    """
    stack = np.log(np.stack(list(inputs.values()), axis=1))
    for g, label in enumerate(groups or ("",)):
        where = f" of {label}" if label else ""
        mine = stack if group is None else stack[group == g]
        told = _powers(design, () if g == 0 and not groups else shared)
        for name, column in zip(inputs, mine.T, strict=True):
            if name in told and np.ptp(column) < 1e-9:
                raise NotIdentified(
                    f"all rows{where} have the same {name}: its power cannot be told; add rows that vary it"
                )
        own = sum(1 for name in design.names if not groups or name.endswith(f"[{label}]"))
        distinct = len(np.unique(mine.round(9), axis=0))
        if distinct < own:
            raise NotIdentified(
                f"{distinct} distinct rungs{where} cannot tell {own} parameters of {design.law.formula}: "
                "add rungs, pin a parameter (--pin E=1.7) or share some (--share E)"
            )
        names = list(inputs)
        if {"parameters", "tokens"} <= told:
            n, d = (mine[:, names.index(key)] for key in ("parameters", "tokens"))
            slope, intercept = np.polyfit(n, d, 1)
            if np.std(d - slope * n - intercept) < COLLINEAR:
                raise NotIdentified(
                    f"tokens{where} are a fixed power of parameters (one budget only), so the powers of "
                    "size and data cannot be told apart: add a budget, or fit the compute law"
                )
    total = len(np.unique(np.column_stack([stack, np.zeros(len(stack)) if group is None else group]), axis=0))
    if total < len(design.names):
        raise NotIdentified(
            f"{total} distinct rungs cannot tell {len(design.names)} parameters: add rungs, or pin or "
            "share some"
        )


def _powers(design: Design, shared: Sequence[str]) -> set[str]:
    """Inputs with a free exponent that is not shared."""
    free = {base.name for base in design.bases} - set(shared)
    return {name for term in design.law.terms for name, _, power in term.powers if power in free}


def refuse_fit(design: Design, found: Found, log_loss: Array) -> None:
    """Raises:
    NotIdentified: the best fit does without a parameter, or cannot tell some apart.
    """
    for p, (name, base) in enumerate(zip(design.names, design.bases, strict=True)):
        if found.theta[p] <= design.low[p] or found.theta[p] >= design.high[p]:
            at = np.exp(design.low[p]) if base.positive else found.theta[p]
            if base.name == "E":
                raise NotIdentified(
                    f"the rows do not bound {name} from below: the best fit has none. Pin it (--pin "
                    "E=1.7), share it among variants (--share E), or add larger rungs"
                )
            raise NotIdentified(
                f"{name} ended at its bound {at:g}: the rows do not identify it. Pin it, or fit a law "
                "with fewer parameters"
            )
    _, share = design.predict_shares(found.theta[None])
    free = {base.name for base in design.bases}
    for term, part in zip(design.law.terms, share[0], strict=True):
        if term.coefficient in free and part.max() < 1e-6:
            raise NotIdentified(
                f"the best fit does without {term.coefficient}: fit a law with fewer parameters"
            )
    number = condition(design, found.theta)
    # Where every row is met exactly there is nothing that could be told apart better.
    if number > ILL and found.objective > 1e-20 * len(log_loss):
        raise NotIdentified(
            f"the parameters cannot be told apart (condition number {number:.1e}): add rungs or budgets "
            "that differ more, or pin one (--pin E=1.7)"
        )


def condition(design: Design, theta: Array) -> float:
    """Condition number of the derivatives of log loss, each scaled to length 1, at the solver's units."""
    jacobian = slopes(design, design.predict_shares(theta[None])[1])[0]
    jacobian = jacobian * np.where(design.is_positive_power, theta, 1.0)[:, None]
    length = np.linalg.norm(jacobian, axis=1, keepdims=True)
    singular = np.linalg.svd(jacobian / np.maximum(length, 1e-300), compute_uv=False)
    return float(min(singular[0] / max(singular[-1], 1e-300), 1e300))
