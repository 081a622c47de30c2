"""MMLU (Hendrycks et al. 2020, arXiv 2009.03300): questions of 57 subjects with four answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from stepladder.data.rows import Row, stored_items
from stepladder.record.items import Documents, Item
from stepladder.schema.evaluation import Shots

LETTERS = "ABCD"

FORMAT = (
    "answers: `Question: <question>`, a line with `Answer:`, then a space and the answer's text; letters: "
    "the question, the answers with their letters, a line with `Answer:`, then a space and the letter"
)


class Config(Shots):
    """Settings under `evaluation: tasks: mmlu:`; fields question, choices and answer, or the paper's CSV
    files without a header."""

    ask_for: Literal["answers", "letters"] = "answers"
    """What is scored: the answers' texts, of which small models know something; or their letters, as the
    paper has it, by which models are at chance up to some 10^22 FLOPs."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """Those of the file."""
    return stored_items(config, lambda row: _item(row, config.ask_for))


def _item(row: Row, ask_for: str) -> Item:
    if "question" in row:
        question, texts, answer = row["question"], list(row["choices"]), row["answer"]
    else:
        question, *texts = (row[str(number)] for number in range(5))
        answer = row["5"]
    gold = LETTERS.index(answer) if isinstance(answer, str) and answer in LETTERS else int(answer)
    if ask_for == "answers":
        context = f"Question: {question.strip()}\nAnswer:"
        return Item(str(row.get("id", "")), context, tuple(" " + text for text in texts), gold)
    listed = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=True))
    context = f"{question.strip()}\n{listed}\nAnswer:"
    return Item(str(row.get("id", "")), context, tuple(" " + letter for letter in LETTERS), gold)
