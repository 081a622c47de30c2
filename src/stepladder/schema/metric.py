"""`analysis.metric`: what laws, gains and verdicts are about. Importing it is cheap."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator

DOMAIN = "domain:"
TASK = "task:"
MACRO = "macro:"
"""How the metrics of one domain, one task and one suite of tasks begin."""

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


def task_of(name: str) -> str | None:
    """The task that a metric is about; None if it is about none."""
    return name.removeprefix(TASK) if name.startswith(TASK) else None


def macro_of(name: str) -> str | None:
    """The suite of tasks that a metric is the mean of; None if it is not."""
    return name.removeprefix(MACRO) if name.startswith(MACRO) else None


def of_tasks(name: str) -> bool:
    """Whether a metric is known only when runs are scored on tasks."""
    return task_of(name) is not None or macro_of(name) is not None


def metric(name: str) -> Metric:
    """The metric of a name that `MetricName` lets through."""
    if (domain := domain_of(name)) is not None:
        return Metric(f"bits_per_byte_{domain}", f"loss on {domain}", BITS)
    if (task := task_of(name)) is not None:
        return Metric(f"task_{task}_bits_per_byte", f"loss on the answers of {task}", BITS)
    if (suite := macro_of(name)) is not None:
        return Metric(f"macro_{suite}_bits_per_byte", f"mean loss on the answers of {suite}", BITS)
    return METRICS[name]


def _known(name: str) -> str:
    if name not in METRICS and not re.fullmatch(rf"{DOMAIN}\w+|({TASK}|{MACRO})[\w.-]+", name, re.ASCII):
        listed = ", ".join([*METRICS, f"{DOMAIN}<name>", f"{TASK}<name>", f"{MACRO}<suite>"])
        raise ValueError(f"no metric {name!r}; there are {listed}")
    return name


MetricName = Annotated[str, AfterValidator(_known)]
"""target_loss, bits_per_byte, domain:<name>, task:<name>, or macro:<suite>."""
