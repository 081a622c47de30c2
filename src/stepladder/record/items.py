"""Items of a task: a text to go on from, and one or several ways to go on, of which one is right."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple


class ItemError(ValueError):
    """An item that cannot be scored; the message names file and item."""


class Item(NamedTuple):
    """One question."""

    id: str
    context: str
    """What is read before the answer; may be empty."""
    choices: tuple[str, ...]
    """Answers as they stand after the context, their leading space included; a single one is a gold answer
    that is compared with nothing."""
    gold: int
    """Number of the right one, from 0."""

    @property
    def answer(self) -> str:
        """The right one."""
        return self.choices[self.gold]


class HeldOut(NamedTuple):
    """A document that no run was trained on."""

    domain: str
    place: str
    """File that it is from."""
    text: str


Documents = Callable[[], Iterable[HeldOut]]
"""The held-out documents: a function, because many tasks need none."""


def checked(items: Iterable[Item], where: str) -> Iterator[Item]:
    """Items as they are, if each can be scored.

    Args:
        where: file or task that they are from, for messages.

    Raises:
        ItemError: an answer is missing or empty, two choices are the same, or an id is there twice.
    """
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise ItemError(f"{where}: the id {item.id!r} is there twice: give each item its own")
        seen.add(item.id)
        for what, text in (
            ("context", item.context),
            *((f"choice {n}", c) for n, c in enumerate(item.choices)),
        ):
            _check_text(text, f"{where}: item {item.id}: its {what}")
        if not item.choices or not 0 <= item.gold < len(item.choices):
            told = f"{item.gold} of {len(item.choices)} choices"
            raise ItemError(f"{where}: item {item.id}: its answer is {told}: mend or remove it")
        if "" in item.choices:
            number = item.choices.index("")
            raise ItemError(f"{where}: item {item.id}: choice {number} is empty: mend or remove the item")
        twice, times = Counter(item.choices).most_common(1)[0]
        if times > 1:
            raise ItemError(f"{where}: item {item.id}: the choice {twice!r:.60} is there {times} times")
        yield item


def _check_text(text: object, what: str) -> None:
    """Refuse what is no text, or none that can be written."""
    if not isinstance(text, str):
        raise ItemError(f"{what} is {text!r:.40}, a {type(text).__name__}: text is needed")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ItemError(f"{what} is no Unicode text ({error.reason}, at character {error.start})") from None


def items_sha256(items: Sequence[Item]) -> str:
    """Digest of items, their order included."""
    return sha256("\n".join(json.dumps(item) for item in items).encode()).hexdigest()
