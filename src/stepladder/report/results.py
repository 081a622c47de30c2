"""Everything in a ladder's results folder that the report reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from stepladder.data.manifest import Manifest, parse
from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.by_metric import ByMetric
from stepladder.decision.cells import Cells, make_cells
from stepladder.decision.comparison import Comparison
from stepladder.decision.metric import on_metric
from stepladder.decision.signal import Signal, signal_rows_sha256
from stepladder.decision.size_laws import SizeLaws
from stepladder.decision.tasks import TaskLaws, task_rows_sha256
from stepladder.documents.document import DocumentError
from stepladder.record.coordinates import CoordinateCheck
from stepladder.record.evaluation import Task
from stepladder.record.learning_rates import Tuning
from stepladder.record.paths import LadderFolder
from stepladder.record.swarm import SwarmOutcome
from stepladder.record.tables import LOOK_COLUMNS, read_table
from stepladder.record.top import TopRung
from stepladder.schema.analysis import AXES, Axis
from stepladder.schema.design import MixtureSwarm
from stepladder.schema.ladder import Ladder

RUN_NAMES = ("id", "variant", "architecture", "recipe", "rung", "budget")
RUN_NUMBERS = (
    *("seed", "depth", "budget_multiple", "learning_rate", "learning_rate_factor", "loss", "bits_per_byte"),
    *(
        "parameters_total",
        "parameters_active_non_embedding",
        "tokens",
        "steps",
        "flops",
        "accelerator_seconds",
    ),
    *("seconds_total", "restarts"),
)
STEP_NAMES = ("id", "variant", "rung", "phase")
STEP_NUMBERS = ("seed", "step", "flops")
"""Columns of the two tables that the report cannot do without."""

NO_LOOKS = pd.DataFrame(columns=LOOK_COLUMNS)


@dataclass(frozen=True)
class Results:
    """The collected tables, the fits and the comparison of one ladder."""

    runs: pd.DataFrame
    steps: pd.DataFrame
    fits: dict[Axis, AxisFit]
    comparison: Comparison
    manifests: dict[str | None, Manifest]
    """By the name under which shards lie; None: `data/`."""
    looks: pd.DataFrame = field(default_factory=lambda: NO_LOOKS)
    """Held-out loss along the runs; empty where training never looked."""
    tasks: dict[str, Task] = field(default_factory=dict)
    """What runs were scored on, by label."""
    metrics: ByMetric | None = None
    """metrics.json: other metrics than the one that decides."""
    signal: Signal | None = None
    """signal.json: what each metric tells at which rung."""
    task_laws: TaskLaws | None = None
    """task_laws.json, of a ladder with tasks."""
    tuning: Tuning | None = None
    """learning_rates.json, of a ladder with a sweep."""
    size_laws: SizeLaws | None = None
    """laws.json, of a ladder with several budgets."""
    top: TopRung | None = None
    """top.json, of a ladder whose laws size its top rung."""
    swarm: SwarmOutcome | None = None
    """swarm.json, of a ladder with a swarm of mixtures."""
    coordinates: CoordinateCheck | None = None
    """coordinates.json, of a ladder with a parametrization."""

    @classmethod
    def read(cls, folder: Path, ladder: Ladder | None = None) -> Results:
        """Read results/<ladder>/.

        Args:
            ladder: says which files there are beside those of every ladder.

        Raises:
            FileNotFoundError: a file is missing; all of them are made by the workflow.
            DocumentError: a file is of another version, or was made from other files than are there.
            DataError: the manifest is missing or malformed.
        """
        lies = LadderFolder(folder)
        runs = read_table(lies.runs_table, RUN_NAMES, RUN_NUMBERS)
        fits = {axis: AxisFit.read(lies.fit(axis)) for axis in AXES}
        comparison = Comparison.read(lies.comparison)
        size_laws = SizeLaws.read(lies.size_laws) if ladder and ladder.several_budgets else None
        metrics = ByMetric.read(lies.metrics) if lies.metrics.exists() else None
        signal = Signal.read(lies.signal) if lies.signal.exists() else None
        scored = ladder is not None and bool(ladder.evaluation.tasks) and lies.task_laws.exists()
        task_laws = TaskLaws.read(lies.task_laws) if scored else None
        check_lineage(lies, runs, fits, comparison, size_laws, metrics)
        check_scores(lies, runs, signal, task_laws)
        return cls(
            runs=runs.sort_values(["parameters_active_non_embedding", "flops", "id"], kind="stable"),
            steps=read_table(lies.steps_table, STEP_NAMES, STEP_NUMBERS),
            fits=fits,
            comparison=comparison,
            manifests={name: parse(p) for name, p in (lies.manifests or {None: lies.manifest}).items()},
            looks=read_table(lies.looks_table) if lies.looks_table.exists() else NO_LOOKS,
            tasks=_tasks(lies, ladder),
            metrics=metrics,
            signal=signal,
            task_laws=task_laws,
            tuning=Tuning.read(lies.learning_rates) if ladder and ladder.sweep else None,
            size_laws=size_laws,
            top=TopRung.read(lies.top) if ladder and ladder.top else None,
            swarm=SwarmOutcome.read(lies.swarm)
            if ladder and isinstance(ladder.design, MixtureSwarm)
            else None,
            coordinates=CoordinateCheck.read(lies.coordinates)
            if ladder and ladder.optimizer.parametrization
            else None,
        )

    @cached_property
    def cells(self) -> Cells:
        """What laws and gains rest on; their loss is the metric that decides."""
        return make_cells(on_metric(self.runs, self.fits["flops"].made_from.metric))

    @property
    def judged(self) -> pd.DataFrame:
        """The runs behind the laws: all, but in a learning-rate sweep only each cell's best factor."""
        return self.cells.made_of

    @cached_property
    def rungs(self) -> list[str]:
        """Names of the rungs, smallest first."""
        return list(self.runs.groupby("rung")["parameters_active_non_embedding"].mean().sort_values().index)

    def variants(self, ladder: Ladder) -> list[str]:
        """The variants that have runs, in the ladder file's order."""
        present = list(dict.fromkeys(self.runs["variant"]))
        order = ladder.variants
        return [v for v in order if v in present] + [v for v in present if v not in order]


def _tasks(lies: LadderFolder, ladder: Ladder | None) -> dict[str, Task]:
    """What is made of the tasks of the ladder file; of no ladder, all that lie there."""
    asked = lies.tasks if ladder is None else ladder.evaluation.tasks
    return {name: Task.read(lies.task(name)) for name in asked if lies.task(name).exists()}


def check_scores(
    lies: LadderFolder, runs: pd.DataFrame, signal: Signal | None, task_laws: TaskLaws | None
) -> None:
    """Signal and noise, and the laws of tasks, are of these runs.

    Raises:
        DocumentError: one is not; the message names it.
    """
    told = f"made from other runs than {lies.runs_table}"
    if signal is not None and signal.rows_sha256 != signal_rows_sha256(runs, signal.metric):
        raise DocumentError(f"{lies.signal}: {told}: {signal.REMEDY}")
    if task_laws is not None and task_laws.rows_sha256 != task_rows_sha256(runs):
        raise DocumentError(f"{lies.task_laws}: {told}: {task_laws.REMEDY}")


def check_lineage(
    lies: LadderFolder,
    runs: pd.DataFrame,
    fits: Mapping[Axis, AxisFit],
    comparison: Comparison,
    size_laws: SizeLaws | None,
    metrics: ByMetric | None = None,
) -> None:
    """The fits are of these runs, and the comparison of these fits, on every axis; the laws of size and data
    are of these runs.

    Raises:
        DocumentError: one is not; the message names it.
    """
    rows = make_cells(on_metric(runs, fits["flops"].made_from.metric)).rows_sha256
    if size_laws is not None and size_laws.rows_sha256 != rows:
        told = f"made from other runs than {lies.runs_table}"
        raise DocumentError(f"{lies.size_laws}: {told}: {size_laws.REMEDY}")
    if metrics is not None and metrics.rows_sha256 != rows:
        told = f"made from other runs than {lies.runs_table}"
        raise DocumentError(f"{lies.metrics}: {told}: {metrics.REMEDY}")
    for axis, fit in fits.items():
        if fit.axis != axis:
            raise DocumentError(f"{lies.fit(axis)}: axis = {fit.axis!r}: {fit.REMEDY}")
        if fit.made_from.rows_sha256 != rows:
            raise DocumentError(
                f"{lies.fit(axis)}: made from other runs than {lies.runs_table}: {fit.REMEDY}"
            )
        if comparison.fits.get(axis) != fit.content_sha256():
            told = f"made from another {lies.fit(axis)}"
            raise DocumentError(f"{lies.comparison}: {told}: {comparison.REMEDY}")
