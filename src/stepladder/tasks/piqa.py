"""PIQA (Bisk et al. 2019, arXiv 1911.11641): which of two ways reaches an everyday goal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stepladder.data.rows import Row, stored_items
from stepladder.record.items import Documents, Item, ItemError
from stepladder.schema.evaluation import Shots
from stepladder.schema.settings import Line

FORMAT = "`Question: <goal>`, a line with `Answer:`, then a space and the solution"


class Config(Shots):
    """Settings under `evaluation: tasks: piqa:`; fields goal, sol1, sol2 and, unless they lie apart,
    label."""

    labels_path: Line | None = None
    """File with one label a line, as the paper's .lst files are."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """Those of the file."""
    labels = iter(_labels(config.labels_path)) if config.labels_path else None

    def item(row: Row) -> Item:
        label = row["label"] if labels is None else next(labels, None)
        if label is None:
            raise ItemError(f"{config.labels_path}: has fewer labels than {config.path} has items")
        answers = (" " + row["sol1"], " " + row["sol2"])
        return Item(str(row.get("id", "")), f"Question: {row['goal']}\nAnswer:", answers, int(label))

    return stored_items(config, item)


def _labels(path: str) -> list[str]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ItemError(f"{path}: no such file of labels (seen from {Path.cwd()})")
    return file.read_text(encoding="utf-8").split()
