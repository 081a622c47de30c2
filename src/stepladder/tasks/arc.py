"""ARC (Clark et al. 2018, arXiv 1803.05457): questions of science at school, the answers in full."""

from __future__ import annotations

from collections.abc import Iterator

from stepladder.data.rows import Row, stored_items
from stepladder.record.items import Documents, Item
from stepladder.schema.evaluation import Shots

FORMAT = "`Question: <question>`, a line with `Answer:`, then a space and the answer's text"


class Config(Shots):
    """Settings under `evaluation: tasks: arc:`; fields id, question, choices and answerKey, in the layout of
    the paper's files or of the Hugging Face hub's."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """Those of the file."""
    return stored_items(config, _item)


def _item(row: Row) -> Item:
    question, choices = row["question"], row.get("choices")
    if isinstance(question, dict):  # as the paper's files have it
        question, choices = question["stem"], question["choices"]
    if isinstance(choices, dict):
        texts, labels = list(choices["text"]), list(choices["label"])
    else:
        texts, labels = ([choice[name] for choice in choices or ()] for name in ("text", "label"))
    answers = tuple(" " + text for text in texts)
    return Item(
        str(row.get("id", "")), f"Question: {question}\nAnswer:", answers, labels.index(row["answerKey"])
    )
