"""Tasks, and how runs did on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from stepladder.decision.metric import tasks_of
from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.record.evaluation import Evaluation, Task

NOTE = (
    "± one standard error over items. Bits per byte are of the right answers, lower is better; margin is by "
    "how much the right answer beats the best wrong one."
)


def scores_table(evaluations: Iterable[Evaluation]) -> Table:
    """How one checkpoint did, a row per task."""
    columns = (
        "<task",
        "items",
        "bits/byte",
        "accuracy",
        "chance",
        "acc. per byte",
        "margin, bits/byte",
        "~cut",
        "~s",
    )
    return table(columns, [_row(one) for one in evaluations], note=NOTE)


def _row(one: Evaluation) -> tuple[str, ...]:
    scores = one.scores
    return (
        one.task,
        f"{scores.items:,}",
        with_error(scores.bits_per_byte, scores.bits_per_byte_error, 3),
        with_error(scores.accuracy, scores.accuracy_error, 3),
        f"{one.chance:.3f}" if scores.accuracy is not None else "—",
        "—" if scores.accuracy_per_byte is None else f"{scores.accuracy_per_byte:.3f}",
        "—" if scores.margin is None else f"{scores.margin:+.3f}",
        f"{one.cut_items:,}",
        f"{one.seconds:.1f}",
    )


def with_error(value: float | None, error: float | None, digits: int) -> str:
    """A mean and its standard error."""
    if value is None:
        return "—"
    return f"{value:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def tasks_context(runs: pd.DataFrame, tasks: Mapping[str, Task], rungs: list[str]) -> dict[str, Any] | None:
    """What the report says of tasks; None of a ladder without."""
    names = tasks_of(runs)
    if not names:
        return None
    return {
        "sets": sets_table(tasks, runs),
        "formats": [f"{name}: {task.format}." for name, task in tasks.items() if name in names],
        "scores": variants_table(runs, names, rungs),
    }


def sets_table(tasks: Mapping[str, Task], runs: pd.DataFrame) -> Table:
    """What each task is: items, chance, how many were cut, and how many were found in the training text."""
    rows = [
        [
            name,
            task.kind,
            fmt.whole(task.items),
            f"{task.chance:.3f}" if task.several_choices else fmt.MISSING,
            _most(runs, f"task_{name}_cut_items"),
            _most(runs, f"task_{name}_merged_items"),
            *_searched(task),
        ]
        for name, task in tasks.items()
        if f"task_{name}_items" in runs
    ]
    columns = [
        "<Task",
        "<Kind",
        "Items",
        "Chance",
        "Cut",
        "Merged",
        "In the training text",
        "Too short to tell",
        "Read",
    ]
    return table(
        columns,
        rows,
        note="Cut: items whose beginning is left out, because they are longer than the model reads at once. "
        "Merged: items of which a token holds the end of the context and the beginning of an answer, which "
        "is then not scored whole. In the training text: 13 words on end of context and right answer are "
        "there. Items with fewer words cannot be told. Of several corpora the most.",
    )


def _most(runs: pd.DataFrame, column: str) -> str:
    """Items of which something is so; of runs that differ in it the most."""
    return fmt.whole(float(runs[column].max())) if column in runs else fmt.MISSING


def _searched(task: Task) -> tuple[str, str, str]:
    if not task.searched:
        return ("not looked for", fmt.MISSING, fmt.MISSING)
    places = task.searched.values()
    return (
        fmt.whole(max(place.found for place in places)),
        fmt.whole(max(place.too_short for place in places)),
        fmt.bytes_(max(place.training_bytes for place in places)),
    )


def variants_table(runs: pd.DataFrame, names: list[str], rungs: list[str]) -> Table:
    """Bits per byte and accuracy of each variant at the smallest and the largest rung, at its largest budget:
    means over seeds."""
    shown = list(dict.fromkeys([rungs[0], rungs[-1]]))
    rows = []
    for variant in dict.fromkeys(runs["variant"]):
        for rung in shown:
            own = largest_budget(runs[(runs["variant"] == variant) & (runs["rung"] == rung)])
            if len(own):
                cells = [cell for name in names for cell in _means(own, name)]
                rows.append([variant if rung == shown[0] else "", rung, str(len(own)), *cells])
    return table(
        [
            "<Variant",
            "<Rung",
            "n",
            *(title for name in names for title in (f"{name}, bits/byte", "accuracy")),
        ],
        rows,
        note="Means over n runs, ± one standard deviation over them (none for n = 1). Bits per byte are of "
        "the right answers: lower is better.",
    )


def largest_budget(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the budget with the most FLOPs."""
    return runs[runs["budget"] == runs.sort_values("flops")["budget"].iloc[-1]] if len(runs) else runs


def _means(runs: pd.DataFrame, task: str) -> tuple[str, str]:
    bits, accuracy = runs[f"task_{task}_bits_per_byte"], runs[f"task_{task}_accuracy"]
    return (
        _spread(bits, 3),
        fmt.MISSING if accuracy.isna().all() else _spread(accuracy, 3),
    )


def _spread(values: pd.Series, digits: int) -> str:
    mean = f"{values.mean():.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {values.std(ddof=1):.{digits}f}"
