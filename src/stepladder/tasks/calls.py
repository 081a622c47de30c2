"""Complete the call: which arguments follow `name(`, among those of other calls in the same file.

Made from held-out Python: nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from stepladder.data.python_source import Call, calls_in, python_documents, shuffled
from stepladder.record.items import Documents, Item
from stepladder.schema.evaluation import Continued

FORMAT = (
    "the code in front of a call and its name, then the arguments in their parentheses; the wrong choices "
    "are arguments of other calls in the same file, of about the same length"
)

SHORTEST, LONGEST = 5, 48
"""Bytes of the arguments."""
CHOICES = 4


class Config(Continued):
    """Settings under `evaluation: tasks: calls:`."""


def items(config: Config, held_out: Documents) -> Iterator[Item]:
    """At most so many items, spread over the files."""

    def make(draw: Random) -> Iterator[Item]:
        for place, text in python_documents(held_out()):
            yield from _of_file(place, text, config, draw)

    return shuffled(config, make)


def _of_file(place: str, text: str, config: Config, draw: Random) -> Iterator[Item]:
    calls = [call for call in calls_in(text) if _is_asked(call, text)]
    for call in calls:
        others = sorted({other.arguments for other in calls} - {call.arguments}, key=_near(call))
        if len(others) >= CHOICES - 1:
            choices = [call.arguments, *draw.sample(others[: 3 * CHOICES], CHOICES - 1)]
            draw.shuffle(choices)
            # the parenthesis is the answer's: tokens may hold it together with what follows
            context = text[: call.start - 1].encode()[-config.context_bytes :].decode(errors="ignore")
            right = choices.index(call.arguments)
            answers = tuple(f"({choice}" for choice in choices)
            yield Item(f"{place}:{call.line}:{call.start}", context, answers, right)


def _is_asked(call: Call, text: str) -> bool:
    """Whether its arguments are neither too short nor too long, and what is called ends in a name: tokens
    hold signs on end, such as `](`, together."""
    before = text[call.start - 2 : call.start - 1]
    return SHORTEST <= len(call.arguments.encode()) <= LONGEST and before.isalnum()


def _near(call: Call) -> Callable[[str], tuple[int, str]]:
    """How far arguments are from a call's in length."""
    return lambda arguments: (abs(len(arguments) - len(call.arguments)), arguments)
