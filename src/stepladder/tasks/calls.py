"""Complete the call: which arguments follow `name(`, among those of other calls in the same file.

Made from held-out Python: nothing is downloaded.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import islice

from stepladder.data.python_source import Call, calls_in, python_documents
from stepladder.record.items import Documents, Item
from stepladder.schema.evaluation import Continued

FORMAT = (
    "the code in front of a call and its name with the opening parenthesis, then the arguments with the "
    "closing "
    "one; the wrong choices are arguments of other calls in the same file, of about the same length"
)

SHORTEST, LONGEST = 5, 48
"""Bytes of the arguments."""
CHOICES = 4


class Config(Continued):
    """Settings under `evaluation: tasks: calls:`."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """At most so many items, spread over the files."""
    draw = random.Random(config.seed)
    found = [
        item for place, text in python_documents(held_out()) for item in _of_file(place, text, config, draw)
    ]
    draw.shuffle(found)
    yield from islice(found, config.items)


def _of_file(place: str, text: str, config: Config, draw: random.Random) -> Iterator[Item]:
    calls = [call for call in calls_in(text) if SHORTEST <= len(call.arguments.encode()) <= LONGEST]
    for call in calls:
        others = sorted({other.arguments for other in calls} - {call.arguments}, key=_near(call))
        if len(others) >= CHOICES - 1:
            choices = [call.arguments, *draw.sample(others[: 3 * CHOICES], CHOICES - 1)]
            draw.shuffle(choices)
            context = text[: call.start].encode()[-config.context_bytes :].decode(errors="ignore")
            right = choices.index(call.arguments)
            yield Item(f"{place}:{call.line}:{call.start}", context, tuple(choices), right)


def _near(call: Call) -> Callable[[str], tuple[int, str]]:
    """How far arguments are from a call's in length."""
    return lambda arguments: (abs(len(arguments) - len(call.arguments)), arguments)
