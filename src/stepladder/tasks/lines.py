"""Order the lines: three lines of code as they stand, among the same lines in other orders.

Made from held-out Python: nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from random import Random

from stepladder.data.python_source import python_documents, shuffled
from stepladder.record.items import Documents, Item
from stepladder.schema.evaluation import Continued

FORMAT = (
    "the code in front of three lines, then these in their order; the wrong choices are other orders of them"
)

LINES, CHOICES = 3, 4
SHORTEST = 6
"""Bytes of a line, its indentation left out."""
LONGEST = 64
"""Bytes of all three, their indentation included."""
APART = 8
"""Lines from the beginning of one item to that of the next in the same file, at least."""


class Config(Continued):
    """Settings under `evaluation: tasks: lines:`."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """At most so many items, spread over the files."""

    def make(draw: Random) -> Iterator[Item]:
        for place, text in python_documents(held_out()):
            yield from _of_file(place, text, config, draw)

    return shuffled(config, make)


def _of_file(place: str, text: str, config: Config, draw: Random) -> Iterator[Item]:
    lines = text.split("\n")
    first = 1
    while first + LINES <= len(lines):
        own = lines[first : first + LINES]
        block = "\n".join(own)
        short = any(len(line.strip()) < SHORTEST for line in own)
        if short or len(set(own)) < LINES or len(block.encode()) > LONGEST:
            first += 1
            continue
        others = ["\n".join(order) for order in permutations(own) if order != tuple(own)]
        choices = [block, *draw.sample(others, CHOICES - 1)]
        draw.shuffle(choices)
        context = "\n".join(lines[:first]).encode()[-config.context_bytes :].decode(errors="ignore")
        if context.strip():  # with nothing but white space in front there is nothing to go by
            answers = tuple(f"\n{choice}" for choice in choices)
            yield Item(f"{place}:{first + 1}", context, answers, choices.index(block))
        first += APART
