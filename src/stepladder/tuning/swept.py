"""The runs of a sweep as bowls, each with its optimum or the reason why it has none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from stepladder.display.numbers import exponential
from stepladder.record.learning_rates import LossNoise
from stepladder.tuning.bowls import Bowl, Optimum, noise_by_rung


def fit_bowls(runs: pd.DataFrame, confidence: float) -> list[Swept]:
    """Every bowl with its optimum.

    Raises:
        ValueError: a bowl lacks runs.
    """
    keys = ["variant", "rung", "batch_factor"]
    groups: list[tuple[Any, pd.DataFrame]] = list(runs.groupby(keys, sort=False))
    bowls = []
    for (variant, rung, _), rows in groups:
        try:
            bowls.append(Bowl.of(list(rows["factor"]), list(rows["seed"]), list(rows["loss"])))
        except ValueError as error:
            raise ValueError(f"sweep of {variant} at {rung}: {error}") from None
    noises = noise_by_rung([str(rung) for (_, rung, _), _ in groups], bowls)
    swept = []
    for ((variant, rung, batch_factor), rows), bowl in zip(groups, bowls, strict=True):
        refused, noise = bowl.refusal(), noises[str(rung)]
        found = None if refused else bowl.optimum(noise, confidence)
        reason = found if isinstance(found, str) else None
        if refused:
            reason = f"{refused[0]}: add {' and '.join(f'{factor:g}' for factor in refused[1])}"
        elif reason:
            reason += ": add seeds, or factors further out"
        first = rows.iloc[0]
        swept.append(
            Swept(
                variant=str(variant),
                rung=str(rung),
                batch_factor=float(batch_factor),
                batch_sequences=int(first["batch_sequences"]),
                budget=str(first["budget"]),
                quantity=float(first["quantity"]),
                base_rate=float(first["base_rate"]),
                rule_rate=float(first["rule_rate"]),
                bowl=bowl,
                noise=noise,
                optimum=found if isinstance(found, Optimum) else None,
                reason=reason,
            )
        )
    return swept


@dataclass(frozen=True)
class Swept:
    """One bowl and what came of it."""

    variant: str
    rung: str
    batch_factor: float
    batch_sequences: int
    budget: str
    quantity: float
    base_rate: float
    """Learning rate at factor 1."""
    rule_rate: float
    """By the ladder's rule: another one only where the rung overrides it."""
    bowl: Bowl
    noise: LossNoise | None
    """At this rung."""
    optimum: Optimum | None
    reason: str | None
    """Why there is no optimum."""

    @property
    def log_factor(self) -> float:
        """ln of the optimum over the rule's rate."""
        assert self.optimum is not None
        return self.optimum.x + math.log(self.base_rate / self.rule_rate)

    @property
    def best_rate(self) -> float:
        """The optimum as a rate."""
        assert self.optimum is not None
        return self.base_rate * math.exp(self.optimum.x)

    @property
    def rate_interval(self) -> tuple[float, float] | None:
        """The optimum's interval as rates; None where the noise is unknown."""
        assert self.optimum is not None
        if self.optimum.interval is None:
            return None
        low, high = self.optimum.interval
        return self.base_rate * exponential(low), self.base_rate * exponential(high)
