"""Held-out loss along a run: at which steps it is looked at, and what was seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, TypedDict, cast

from stepladder.record.events import Record, history
from stepladder.record.spec import RunSpec

EVENT = "look"


class Curve(NamedTuple):
    """What is asked for: so many looks, each at the first tokens of every domain's held-out text.

    No part of a run's identity: looking changes no weight.
    """

    looks: int
    tokens: int
    """Of each domain."""
    max_share: float
    """Of a run's FLOPs that its looks may take together: of small runs there are fewer."""

    @classmethod
    def of_json(cls, text: str) -> Curve:
        """Read what `to_json` wrote; no looks if the text is empty.

        Raises:
            ValueError: it is no such JSON.
        """
        try:
            curve = cls(**json.loads(text)) if text else cls(0, 0, 0.0)
            sound = curve.looks >= 0 and curve.tokens >= min(curve.looks, 2) and 0 <= curve.max_share <= 1
        except (TypeError, ValueError):
            sound = False
        if not sound:
            raise ValueError(
                f"{text:.80}: write looks, tokens of each domain's held-out text (2 or more) and max_share "
                '(0 to 1), as in \'{"looks": 12, "tokens": 65536, "max_share": 0.02}\''
            )
        return curve

    def to_json(self) -> str:
        """Canonical JSON; empty where there are no looks."""
        return json.dumps(self._asdict(), sort_keys=True, separators=(",", ":")) if self.looks else ""


class Look(TypedDict, total=False):
    """What one look saw."""

    step: int
    """optimizer steps done"""
    phase: str
    """phase of the recipe that the last of them belonged to; in a superposed one, too, the loss is that of
    the next token"""
    tokens: int
    """raw tokens read until then"""
    flops: Annotated[float, "FLOPs"]
    """model training FLOPs until then"""
    loss: Annotated[float, "nats/token"]
    """weighted mean of the domains' losses, as the target loss is, on the first tokens of their held-out
    text"""
    bits_per_byte: Annotated[float, "bits/byte"]
    """the same per byte of text"""
    losses: Annotated[dict[str, float], "nats/token"]
    """by domain"""
    held_out_tokens: int
    """tokens of held-out text that were scored, all domains together"""
    seconds: Annotated[float, "s"]
    """time that it took"""


def look_steps(spec: RunSpec, curve: Curve) -> frozenset[int]:
    """Steps after which to look: evenly spaced in the logarithm of steps, the last one left out, because the
    whole held-out text is scored there.

    A look costs a forward pass over its tokens, a third of a training step's FLOPs per position (Kaplan et
    al. 2020, arXiv 2001.08361, section 2.1). Of a run that is too short for all looks as many are taken as
    `max_share` allows.
    """
    steps = spec.recipe.steps
    scored = curve.tokens * len(spec.data.domain_weights)
    affordable = int(curve.max_share * 3 * spec.recipe.positions / scored) if scored else 0
    count = min(curve.looks, affordable)
    first = max(1, steps // 100)
    if count < 1 or steps <= first:
        return frozenset()
    ratio = (steps / first) ** (1 / count)
    return frozenset(min(steps - 1, round(first * ratio**number)) for number in range(count))


def looks_of(records: Sequence[Record]) -> list[Look]:
    """The looks of a log's history in order of step; what a kill threw away is left out."""
    looks: dict[int, Look] = {}
    for record in history(records):
        if record["event"] == EVENT:
            fields: dict[str, Any] = {k: v for k, v in record.items() if k in Look.__annotations__}
            looks[record["step"]] = cast("Look", fields)
        elif record["event"] == "resume":
            looks = {step: look for step, look in looks.items() if step <= record["step"]}
    return [looks[step] for step in sorted(looks)]
