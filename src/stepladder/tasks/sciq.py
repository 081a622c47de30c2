"""SciQ (Welbl et al. 2017, arXiv 1707.06209): questions of science, mostly with a text that answers them."""

from __future__ import annotations

from collections.abc import Iterator

from stepladder.data.rows import Row, stored_items
from stepladder.record.items import Documents, Item
from stepladder.schema.evaluation import Shots

FORMAT = (
    "the supporting text, a line `Question: <question>`, a line with `Answer:`, then a space and the answer"
)

WRONG = ("distractor1", "distractor2", "distractor3")


class Config(Shots):
    """Settings under `evaluation: tasks: sciq:`; fields question, support, distractor1 to distractor3,
    correct_answer."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """Those of the file."""
    return stored_items(config, _item)


def _item(row: Row) -> Item:
    context = f"{row['support'].lstrip()}\nQuestion: {row['question']}\nAnswer:"
    answers = tuple(" " + row[name] for name in (*WRONG, "correct_answer"))
    return Item(str(row.get("id", "")), context, answers, len(WRONG))
