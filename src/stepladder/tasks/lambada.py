"""LAMBADA (Paperno et al. 2016, arXiv 1606.06031): the last word of a passage."""

from __future__ import annotations

from collections.abc import Iterator

from stepladder.data.rows import Row, stored_items
from stepladder.record.items import Documents, Item
from stepladder.schema.evaluation import Stored

FORMAT = "the passage without its last word, then a space and that word"


class Config(Stored):
    """Settings under `evaluation: tasks: lambada:`; field text."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """Those of the file."""
    return stored_items(config, _item)


def _item(row: Row) -> Item:
    context, found, word = row["text"].rpartition(" ")
    if not found:
        raise ValueError(f"its text is a single word, {row['text']!r:.40}")
    return Item(str(row.get("id", "")), context, (" " + word,), 0)
