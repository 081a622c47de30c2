"""Match docstring to function: the first line of a function's or a class's docstring, among those of others.

Made from the running Python's standard library, of whose files only those are read that the ladder's corpus
holds out: nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from stepladder.data.python_source import documented_in, shuffled
from stepladder.data.stdlib import cut_docstrings, library
from stepladder.record.items import Documents, Item
from stepladder.schema.evaluation import Made

FORMAT = (
    "the head of a function or class, then a line with the first line of its docstring in quotes; the wrong "
    "choices are first lines of other docstrings, of the same file if it has enough"
)

SHORTEST, LONGEST = 8, 96
"""Bytes of a first line."""
LONGEST_HEAD = 96
CHOICES = 4
QUOTES = '"""'


class Config(Made):
    """Settings under `evaluation: tasks: docstrings:`. The ladder's data must be of `python_stdlib`."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """At most so many items, spread over the files."""

    def make(draw: Random) -> Iterator[Item]:
        by_file = {place: _summaries(text) for place, text in _sources(held_out)}
        every = sorted({summary for found in by_file.values() for summary in found.values()})
        for place, found in by_file.items():
            yield from _of_file(place, found, every, draw)

    return shuffled(config, make)


def _sources(held_out: Documents) -> Iterator[tuple[str, str]]:
    """Held-out files as they are in the library, docstrings included; a file that has changed since the data
    were prepared is left out."""
    for document in held_out():
        path = Path(library(), document.place)
        if document.domain != "code" or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
            if cut_docstrings(text).code == document.text:
                yield document.place, text
        except (SyntaxError, ValueError):
            continue


def _summaries(text: str) -> dict[str, str]:
    """Heads of functions to first lines of their docstrings; one head once."""
    return {
        function.head: function.summary
        for function in documented_in(text)
        if len(function.head.encode()) <= LONGEST_HEAD
        and SHORTEST <= len(function.summary.encode()) <= LONGEST
    }


def _of_file(place: str, found: dict[str, str], every: list[str], draw: Random) -> Iterator[Item]:
    own = sorted(set(found.values()))
    for head, summary in found.items():
        others = [other for other in (own if len(own) >= CHOICES else every) if other != summary]
        if len(others) < CHOICES - 1:
            continue
        choices = [summary, *draw.sample(others, CHOICES - 1)]
        draw.shuffle(choices)
        answers = tuple(f"\n    {QUOTES}{choice}{QUOTES}" for choice in choices)
        yield Item(f"{place}:{head}", head, answers, choices.index(summary))
