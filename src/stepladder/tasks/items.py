"""Items of your own, in Stepladder's layout.

{"id": "1", "context": "2 + 2 =", "choices": [" 4", " 5"], "gold": 0}
{"id": "2", "context": "The capital of France is", "gold": " Paris"}
"""

from __future__ import annotations

from collections.abc import Iterator

from stepladder.data.rows import Row, stored_items
from stepladder.record.items import Documents, Item
from stepladder.schema.evaluation import Shots

FORMAT = "the context, then the answer as it stands in the file"


class Config(Shots):
    """Settings under `evaluation: tasks: items:`; fields id, context, and choices with gold, the number of
    the right one from 0, or gold alone, the answer itself."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """Those of the file."""
    return stored_items(config, _item)


def _item(row: Row) -> Item:
    id_, context, gold = str(row.get("id", "")), row["context"], row["gold"]
    if "choices" not in row and isinstance(gold, str):
        return Item(id_, context, (gold,), 0)
    if isinstance(gold, bool) or not isinstance(gold, int):
        raise ValueError(f"gold is {gold!r:.40}: with choices it is the number of the right one, from 0")
    return Item(id_, context, tuple(row["choices"]), gold)
