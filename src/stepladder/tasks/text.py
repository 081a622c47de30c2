"""Text as it is: bits per byte of whole documents, each by itself."""

from __future__ import annotations

from collections.abc import Iterator

from stepladder.data.rows import Row, stored_items
from stepladder.record.items import Documents, Item
from stepladder.schema.evaluation import Stored
from stepladder.schema.settings import Line

FORMAT = (
    "each document from its beginning; one that is longer than the model's context in windows, every token "
    "predicted once"
)


class Config(Stored):
    """Settings under `evaluation: tasks: text:`; a .txt file is one document."""

    field: Line = "text"
    """Field of the text, in files of records."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """The file's documents."""

    def item(row: Row) -> Item:
        return Item(str(row.get("id", "")), "", (row[config.field],), 0)

    return stored_items(config, item)
