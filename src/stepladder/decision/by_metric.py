"""The same runs under every metric that they were scored by: the gain by each, and where verdicts differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pandas as pd

from stepladder.decision.cells import make_cells
from stepladder.decision.compare import compare
from stepladder.decision.comparison import Comparison, Outcome
from stepladder.decision.efficiency import LargestGain
from stepladder.decision.fit import fit
from stepladder.decision.metric import SCORED, SUITE_SCORED, named, on_metric, tasks_of
from stepladder.documents.document import Document, Part
from stepladder.schema.analysis import AnalysisConfig, Axis
from stepladder.schema.metric import DOMAIN, MACRO, TASK, MetricName

DRAWS = 400
"""Bootstrap draws, at most: what decides has as many as the ladder asks for, this is a look around."""


class MetricVerdict(Part):
    """One candidate against one reference by one metric."""

    metric: MetricName
    """What stands for the loss."""
    candidate: str
    """Variant that is judged."""
    reference: str
    """Variant that it is judged against."""
    verdict: Outcome
    """By the ladder's rule, looks between rungs left out."""
    gains: dict[Axis, LargestGain | None]
    """At the candidate's largest cell, by the cost axes of the rule; null where there is none."""

    @classmethod
    def of(cls, found: Comparison) -> Iterator[MetricVerdict]:
        """Those of a comparison."""
        for pair in found.comparisons:
            yield cls(
                metric=found.metric,
                candidate=pair.candidate,
                reference=pair.reference,
                verdict=pair.verdict,
                gains={axis: pair.gains[axis].at_largest for axis in found.rule.axes if axis in pair.gains},
            )


class ByMetric(Document):
    """metrics.json: verdicts by all metrics but the one that decides."""

    SEALED: ClassVar[bool] = True

    metric: MetricName
    """The one that decides, which is left out."""
    rows_sha256: str
    """Digest of what its laws read of the runs, see `Cells.rows_sha256`."""
    draws: int
    """Bootstrap draws."""
    verdicts: tuple[MetricVerdict, ...]
    """Every other metric with every pair, as if it decided."""
    refused: dict[str, str]
    """Metrics by which the runs cannot be judged, and why."""


def metrics_of(runs: pd.DataFrame) -> list[str]:
    """Names of the metrics by which these runs compare, and do not agree of necessity.

    Losses per token compare where all runs have the same tokens; with one domain and the same tokens all
    metrics are one, times a constant.
    """
    domains = named(SCORED, runs)
    same = all(runs[f"validation_{domain}_tokens"].nunique() <= 1 for domain in domains)
    per_token = ["target_loss"] if same else []
    of_tasks = [f"{TASK}{task}" for task in tasks_of(runs)]
    of_tasks += [f"{MACRO}{suite}" for suite in named(SUITE_SCORED, runs)]
    if len(domains) <= 1:
        return [*(per_token or ["bits_per_byte"]), *of_tasks]
    return [*per_token, "bits_per_byte", *(f"{DOMAIN}{domain}" for domain in domains), *of_tasks]


def by_metric(runs: pd.DataFrame, config: AnalysisConfig) -> ByMetric:
    """Fit and compare by every metric that does not decide.

    Args:
        runs: as in runs.parquet, the target loss as its `loss`.

    Raises:
        ValueError: the deciding metric's runs make no cells.
    """
    draws = min(DRAWS, config.bootstrap_draws)
    verdicts: list[MetricVerdict] = []
    refused: dict[str, str] = {}
    for name in metrics_of(runs):
        if name == config.metric:
            continue
        asked = config.model_copy(update={"metric": name, "bootstrap_draws": draws, "leave_one_out": False})
        if isinstance(config.floor, float):  # it is in the unit of the metric that decides
            asked = asked.model_copy(update={"floor": "shared"})
        try:
            table = on_metric(runs, name)
            fits = {axis: fit(table, axis, asked, other_floors=False) for axis in asked.verdict.axes}
            verdicts += MetricVerdict.of(compare(table, fits, asked))
        except ValueError as error:  # such as a profile whose lowest point is outside its sizes
            refused[name] = str(error)
    return ByMetric(
        metric=config.metric,
        rows_sha256=make_cells(on_metric(runs, config.metric)).rows_sha256,
        draws=draws,
        verdicts=tuple(verdicts),
        refused=refused,
    )
