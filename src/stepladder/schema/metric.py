"""`analysis.metric`: what laws, gains and verdicts are about. Importing it is cheap."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator

DOMAIN = "domain:"
"""How the metric of one domain begins."""

Unit = Literal["nats/token", "bits/byte"]

BITS: Unit = "bits/byte"
"""Unit of what compares across tokenizers."""


class Metric(NamedTuple):
    """A column of the table of runs that stands for how good a model is; lower is better."""

    column: str
    """Of the table of runs."""
    title: str
    """What figures and sentences call it."""
    unit: Unit

    @property
    def label(self) -> str:
        """What a figure's axis is called."""
        return f"{self.title[0].upper()}{self.title[1:]} ({self.unit})"

    @property
    def per_byte(self) -> bool:
        """Whether it compares models of different tokenizers."""
        return self.unit == BITS


METRICS = {
    "target_loss": Metric("loss", "held-out loss", "nats/token"),
    "bits_per_byte": Metric("bits_per_byte", "held-out loss", BITS),
}
"""The metrics that every ladder has, by name."""


def domain_of(name: str) -> str | None:
    """The domain that a metric is about; None if it is about all."""
    return name.removeprefix(DOMAIN) if name.startswith(DOMAIN) else None


def metric(name: str) -> Metric:
    """The metric of a name that `MetricName` lets through."""
    domain = domain_of(name)
    return METRICS[name] if domain is None else Metric(f"bits_per_byte_{domain}", f"loss on {domain}", BITS)


def _known(name: str) -> str:
    if name not in METRICS and not re.fullmatch(rf"{DOMAIN}\w+", name, re.ASCII):
        raise ValueError(f"no metric {name!r}; there are {', '.join(METRICS)}, {DOMAIN}<name>")
    return name


MetricName = Annotated[str, AfterValidator(_known)]
"""target_loss, bits_per_byte, or domain:<name>."""
