"""Items to requests: which tokens are read, and which of them are scored.

As lm-evaluation-harness does it, so that numbers compare: white space at the end of a context goes to the
answer; an answer's tokens are those of context and answer together that come after as many as the context has
by itself; what is too long for the model is cut from the left; an empty context is the end of a document. An
answer without context that is longer than the model's context is cut into windows, each of which sees as much
of what is before it as fits beside it: only the last one sees more than a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.tokenization import Tokenizer
from stepladder.record.items import Item, ItemError

Ids = NDArray[np.int64]


class Request(NamedTuple):
    """A stretch of tokens whose likelihood is wanted."""

    item: int
    """Number of the item."""
    choice: int
    """Number of the answer."""
    context: Ids
    """What is read before it; at least one token."""
    answer: Ids
    """At least one token."""
    cut: int
    """Tokens of the context that were cut away."""
    merged: bool = False
    """Whether a token of context and answer together holds the end of the one and the beginning of the
    other, so that not all of the answer is scored."""


def requests(items: Sequence[Item], tokenizer: Tokenizer, context: int, where: str) -> Iterator[Request]:
    """Requests of all items and choices, in order.

    Args:
        context: most tokens that the model reads at once.
        where: task that they are of, for messages.

    Raises:
        ItemError: an answer has no tokens of its own, or more than fit; or the text cannot be tokenized.
    """
    pairs = [moved(item.context, choice) for item in items for choice in item.choices]
    encoded = _encode(
        [text for before, answer in pairs for text in (before, before + answer)], tokenizer, where
    )
    place = 0
    for number, item in enumerate(items):
        for choice in range(len(item.choices)):
            before, both = encoded[place], encoded[place + 1]
            place += 2
            answer = both[len(before) :]
            merged = not np.array_equal(both[: len(before)], before)
            if not len(answer):
                raise ItemError(
                    f"{where}: item {item.id}: choice {choice} has no token of its own after the context: "
                    "begin it with a space, or end the context earlier"
                )
            if not len(before):
                yield from rolling(number, choice, answer, tokenizer.end_of_document, context)
                continue
            if len(answer) > context:
                raise ItemError(
                    f"{where}: item {item.id}: choice {choice} has {len(answer):,} tokens, and the model "
                    f"reads {context:,} at once: leave the item out, or score models with a longer "
                    "sequence_length"
                )
            kept = before[max(0, len(before) + len(answer) - 1 - context) :]
            yield Request(number, choice, kept, answer, len(before) - len(kept), merged)


def moved(context: str, answer: str) -> tuple[str, str]:
    """Context and answer, white space at the end of the context given to the answer."""
    kept = context.rstrip()
    return kept, context[len(kept) :] + answer


def rolling(item: int, choice: int, tokens: Ids, end_of_document: int, context: int) -> Iterator[Request]:
    """Windows of a text by itself, in which every token is predicted once."""
    begin = np.array([end_of_document], np.int64)
    whole = np.concatenate((begin, tokens))
    for first in range(0, len(tokens), context):
        end = min(first + context, len(tokens))
        start = 0 if first == 0 else max(0, end - context)
        yield Request(item, choice, whole[start : first + 1], tokens[first:end], 0)


def _encode(texts: list[str], tokenizer: Tokenizer, where: str) -> list[Ids]:
    """Ids of each text, each different text once."""
    different = list(dict.fromkeys(texts))
    try:
        spelled = [text.encode() for text in different]
    except UnicodeEncodeError as error:
        raise ItemError(f"{where}: {error.object[:60]!r} is no Unicode text: {error.reason}") from None
    found = tokenizer.encode(spelled)
    if (changed := tokenizer.first_changed(spelled, found)) is not None:
        text = different[changed.number]
        raise ItemError(f"{where}: {tokenizer.name} cannot encode {text!r:.60}: {changed.why}")
    ids = dict(zip(different, (one.astype(np.int64) for one in found), strict=True))
    return [ids[text] for text in texts]
