"""Tasks, and how runs did on them."""

from __future__ import annotations

from collections.abc import Iterable

from stepladder.display.table import Table, table
from stepladder.record.evaluation import Evaluation

NOTE = (
    "± one standard error over items. Bits per byte are of the right answers, lower is better; margin is by "
    "how "
    "much the right answer beats the best wrong one."
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
