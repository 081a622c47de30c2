"""How runs did on tasks, as columns of the table of runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from stepladder.documents.document import DocumentError
from stepladder.record.evaluation import Evaluation, RungEvaluations
from stepladder.record.paths import LadderFolder
from stepladder.record.result import Result

MEANS = ("bits_per_byte", "accuracy")
"""Measures of which a suite has a plain mean over its tasks."""


def scores_of(
    results: Mapping[str, Result],
    evaluations: Collection[RungEvaluations],
) -> dict[str, dict[str, Any]]:
    """Columns of each run that was scored, by its id.

    Args:
        results: by id of the run.

    Raises:
        DocumentError: scores are of another training of a run than its result, some run of the table lacks
            scores that another has, or a task had other items.
    """
    found: dict[str, dict[str, Evaluation]] = {}
    for one in (evaluation for rung in evaluations for evaluation in rung.evaluations):
        if one.run in results:
            _check(one, results[one.run])
            found.setdefault(one.run, {})[one.task] = one
    if evaluations:
        _check_alike(results, found)
    rows: dict[str, dict[str, Any]] = {}
    suites = {suite: names for rung in evaluations for suite, names in rung.suites.items()}
    for run, tasks in found.items():
        rows[run] = {name: value for one in tasks.values() for name, value in one.row().items()}
        for suite, names in suites.items():
            for measure in MEANS:
                values = [rows[run].get(f"task_{name}_{measure}") for name in names]
                known = [value for value in values if value is not None]
                whole = len(known) == len(names)
                rows[run][f"macro_{suite}_{measure}"] = sum(known) / len(known) if whole else None
    return rows


def read_scores(ladder: LadderFolder, rungs: Iterable[str]) -> list[RungEvaluations]:
    """What is there of the scores of these rungs."""
    return [RungEvaluations.read(path) for path in map(ladder.evaluations, rungs) if path.exists()]


REMEDY = "run snakemake again, which scores it again"


def _check(one: Evaluation, result: Result) -> None:
    if one.spec_sha256 != result.spec_sha256 or one.step != result.steps:
        raise DocumentError(
            f"scores of {one.run} on {one.task} are of another training than its result (spec "
            f"{one.spec_sha256[:12]} after {one.step:,} steps, not {result.spec_sha256[:12]} after "
            f"{result.steps:,}): {REMEDY}"
        )


def _check_alike(results: Mapping[str, Result], found: Mapping[str, Mapping[str, Evaluation]]) -> None:
    items: dict[str, tuple[str, str]] = {}
    tasks = {task for scored in found.values() for task in scored}
    for run in results:
        if missing := sorted(tasks - found.get(run, {}).keys()):
            raise DocumentError(f"{run} has no scores on {', '.join(missing)}, which others have: {REMEDY}")
        for task, one in found.get(run, {}).items():
            first, digest = items.setdefault(task, (run, one.items_sha256))
            if digest != one.items_sha256:
                raise DocumentError(f"{run} and {first} were scored on other items of {task}: {REMEDY}")
