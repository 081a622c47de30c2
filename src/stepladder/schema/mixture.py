"""`data.mixture`: in which proportion training reads the domains, and where that changes.

mixture: {web: 0.6, code: 0.3, papers: 0.1}

mixture:
  - {until: 0.8, web: 0.7, code: 0.3}
  - {web: 0.3, math: 0.4, code: 0.3}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    model_serializer,
    model_validator,
)

from stepladder.schema import ranges
from stepladder.schema.settings import DOMAIN, Settings

DomainName = Annotated[str, Field(pattern=DOMAIN)]
UNTIL = "until"
"""Key of a stage that is no domain."""


Until = Annotated[
    Annotated[float, ranges.PART, Tag("share")] | Annotated[Literal["decay"], Tag("word")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "share"),
]


class Stage(Settings):
    """A stretch of training that reads the domains in one proportion."""

    until: Until | None = None
    """Where the stage ends: a share of the run's steps, or `decay`, where the learning rate begins to fall.
    The last stage has none."""
    weights: dict[DomainName, Annotated[float, ranges.MIXTURE_WEIGHT]]
    """Domain to its part of the sequences; any scale. Domains that are not named are not read."""

    @model_validator(mode="before")
    @classmethod
    def _split(cls, written: Any) -> Any:
        """In the file the domains stand beside `until`."""
        if not isinstance(written, dict) or isinstance(written.get("weights"), dict):
            return written
        weights = {name: value for name, value in written.items() if name != UNTIL}
        return {"weights": weights} | ({UNTIL: written[UNTIL]} if UNTIL in written else {})

    @model_serializer
    def _join(self) -> dict[str, Any]:
        return ({} if self.until is None else {UNTIL: self.until}) | self.weights

    @model_validator(mode="after")
    def _reads_something(self) -> Stage:
        if not sum(self.weights.values()):
            raise ValueError("the weights sum to 0, so that nothing would be read: give a domain some")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The weights, scaled to sum to 1; rounded, so that the same mixture on another scale is the same."""
        total = sum(self.weights.values())
        return {name: round(weight / total, 12) for name, weight in self.weights.items()}


def _as_stages(written: Any) -> Any:
    if isinstance(written, dict):
        return (written,)
    return tuple(written) if isinstance(written, list) else written


def _in_order(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    *ends, last = [stage.until for stage in stages]
    if last is not None:
        raise ValueError(f"the last stage goes on to the end of the run: remove its `until: {last}`")
    if None in ends:
        raise ValueError("every stage but the last needs `until`, a share of the steps or `decay`")
    shares = [end for end in ends if isinstance(end, float)]
    if shares != sorted(set(shares)) or "decay" in ends[:-1]:
        raise ValueError(
            f"stages end at {', '.join(map(str, ends))}: put them in order, each end later than the one "
            "before; `decay` is the last"
        )
    return stages


Mixture = Annotated[
    tuple[Stage, ...],
    BeforeValidator(_as_stages),
    Field(min_length=1, max_length=ranges.MOST_STAGES),
    AfterValidator(_in_order),
]
"""One stage, or several in order."""
