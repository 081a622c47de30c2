"""PIQA (Bisk et al. 2019, arXiv 1911.11641): which of two ways reaches an everyday goal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import model_validator

from stepladder.data.rows import Row, stored_items
from stepladder.record.items import Documents, Item, ItemError
from stepladder.schema.evaluation import Shots
from stepladder.schema.settings import Line

FORMAT = "`Question: <goal>`, a line with `Answer:`, then a space and the solution"


class Config(Shots):
    """Settings under `evaluation: tasks: piqa:`; fields goal, sol1, sol2 and, unless they lie apart,
    label."""

    labels_path: Line | None = None
    """File with one label a line, as the paper's .lst files are: of `path`, not of examples elsewhere."""

    @model_validator(mode="after")
    def _labels_are_of_one_file(self) -> Config:
        if self.labels_path and self.shots_path:
            raise ValueError(
                "labels_path has the labels of path alone: give both files a field label instead"
            )
        return self


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """Those of the file.

    Raises:
        ItemError: there are more or fewer labels than items.
    """
    if config.labels_path is None:
        yield from stored_items(config, lambda row: _item(row, row["label"]))
        return
    labels = iter(_labels(config.labels_path))

    def labelled(row: Row) -> Item:
        label = next(labels, None)
        if label is None:
            raise ItemError(f"{config.labels_path}: has fewer labels than {config.path} has items")
        return _item(row, label)

    yield from stored_items(config, labelled)
    if config.limit is None and (left := len([*labels])):
        raise ItemError(f"{config.labels_path}: has {left} labels more than {config.path} has items")


def _item(row: Row, label: str | int) -> Item:
    answers = (" " + row["sol1"], " " + row["sol2"])
    return Item(str(row.get("id", "")), f"Question: {row['goal']}\nAnswer:", answers, int(label))


def _labels(path: str) -> list[str]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ItemError(f"{path}: no such file of labels (seen from {Path.cwd()})")
    return file.read_text(encoding="utf-8").split()
