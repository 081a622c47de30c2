"""HellaSwag (Zellers et al. 2019, arXiv 1905.07830): how a scene goes on, one of four endings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stepladder.data.rows import Row, stored_items
from stepladder.record.items import Documents, Item
from stepladder.schema.evaluation import Shots

FORMAT = "`<activity>: <context>`, then a space and the ending; marks in brackets are taken out"


class Config(Shots):
    """Settings under `evaluation: tasks: hellaswag:`; fields ind, activity_label, ctx_a, ctx_b, endings,
    label."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """Those of the file."""
    return stored_items(config, _item)


def _item(row: Row) -> Item:
    context = _plain(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")
    choices = tuple(" " + _plain(ending) for ending in row["endings"])
    return Item(str(row.get("ind", "")), context, choices, int(row["label"]))


def _plain(text: str) -> str:
    """Without what the source, WikiHow, marks in brackets."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")
