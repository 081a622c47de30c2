"""From text to ids by two encoders of one BPE: the reference, and a faster one as far as it agrees with it.

`tokenizers` says what the ids are. `fastokens` gives the same ids 15 to 50 times faster for the kinds of BPE
that it knows, or so it should: it is taken only where both agree on `NASTY` texts and on places of the very
documents to be encoded. What is taken depends on these documents alone, not on what was encoded before them,
so that shards are the same however the work is shared out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepladder.data.documents import groups
from stepladder.data.errors import DataError
from stepladder.data.panics import panics_in_words

if TYPE_CHECKING:
    import tokenizers

Ids = list[NDArray[np.uint32]]
"""Ids of each text, without end of document."""
Encode = Callable[[Sequence[str]], Ids]

SAMPLES, SAMPLE_CHARACTERS = 16, 4096
"""Places of a batch at which both encoders are compared, and how much is read there: 0.4 % of 16 MB, which
costs as much as a tenth of encoding it."""

REFERENCE_CHARACTERS = 2**20
"""Text given to the reference at once: it keeps some 100 bytes for each token until it returns."""

NASTY = (
    "",
    "\0",
    "a\0b\0\0 \0",
    " ",
    "  a   b\t\tc \t d\n\n\n e\r\n\r\n f \n g\r h\x0b\x0c\x1c\x85i",
    " " * 3000 + "x" + "\n" * 3000 + "\t" * 3000 + "\r\n" * 1000 + " ",
    "w" * 20_000 + " " + "ab" * 5_000 + "7" * 5_000 + "=" * 5_000 + "é" * 3_000,
    "I'm I'M don'T we'Ve it's it'ſ they'LL 'K x'sss ''s ' s",
    "1 12 123 1234 12345 1.5e-10 ½²³Ⅷ ٣٤٥ १२३ 𝟙𝟚",
    "naïve nai\u0308ve e\u0301\u0302\u0303 \u0301 a\u0301\u0302 ﬁ ǅ ß ẞ İ ı K Å \u1e9e",
    "漢字かな交じり文、カタカナ。한국어 조합 \u1112\u1161\u11ab ไทยไม่มีช่องว่าง हिन्दी العربية עברית",
    "🙂🙂🏽👩‍👩‍👧‍👦🇩🇪🏴\U000e0067\U000e0062\U000e007f ❤\ufe0f ☺ 🫠 a🙂b 1🙂2",
    "\ufeffa \u00a0b\u2003c\u3000d\u200be\u200df\u2028g\u2029h\u00adi\u180ej\u2060k\u061c",
    "\ufffd\ufffe\uffff\ue000\U0010ffff\U000f0000 \U0001e4d0\U00011f02 \u0378 \U000323af a\ufffdb",
    "if (x) {\n\t\tfoo(bar[0x1F], \"a\\n\");  // --> '#'\n}\r\n\r\n<a href='b'>&amp;</a>\n----\n====\n    \n",
    "zero\x1b[0m\x7f\x80\x9f\u0001",
)
"""Texts of which encoders are apt to disagree: nothing, NUL, white space of every kind and length, words of
thousands of letters, contractions in odd letters, digits, marks, scripts, emoji, noncharacters, code."""


class Sample(NamedTuple):
    """Text on which both encoders are compared."""

    texts: list[str]
    is_all: bool
    """Whether the texts are all that there is to encode."""


class Encoder:
    """Ids of texts as the reference gives them, by the faster encoder wherever that is known to agree."""

    def __init__(self, inner: tokenizers.Tokenizer, name: str) -> None:
        """Take `inner` as the reference.

        Args:
            inner: with all switched off that changes text for the sake of a model.
            name: of the tokenizer in messages.
        """
        self._inner = inner
        self._name = name

    def __call__(self, texts: Sequence[str]) -> Ids:
        """Ids of each text. Where the slow way is taken, a line on standard error says why."""
        sample = _sample(texts)
        if sample.is_all or self._fast is None:
            return self.reference(texts)
        try:
            with panics_in_words("fastokens"):
                _compare(sample.texts, self._fast, self.reference)
                return self._fast(texts)
        except (
            ValueError,
            DataError,
        ) as error:  # it also gives up on text for which its patterns take too long
            self._say(f"{len(texts):,} documents are", str(error))
        return self.reference(texts)

    def reference(self, texts: Sequence[str]) -> Ids:
        """Ids of each text by `tokenizers`."""
        ids: Ids = []
        for group in groups(map(len, texts), REFERENCE_CHARACTERS):
            encoded = self._inner.encode_batch_fast(texts[group], add_special_tokens=False)
            ids += [np.array(one.ids, dtype=np.uint32) for one in encoded]
        return ids

    @cached_property
    def _fast(self) -> Encode | None:
        """The faster encoder; None, which is said, if it is not installed, does not know this kind of
        tokenizer, or disagrees on nasty texts."""
        try:
            with panics_in_words("fastokens"):
                fast = fast_encoder(self._inner.to_str())
                _compare([*NASTY, *self._spelled()], fast, self.reference)
        except (ImportError, ValueError, DataError) as error:
            self._say("all documents are", str(error))
            return None
        return fast

    def _spelled(self) -> Iterator[str]:
        """Texts that spell added tokens, special ones among them."""
        for token in self._inner.get_added_tokens_decoder().values():
            yield from (token.content, f"a {token.content}  b", f"a{token.content}{token.content}\n")

    def _say(self, what: str, why: str) -> None:
        print(f"{self._name}: {what} encoded 15 times slower than usual: {why}", file=sys.stderr)


def fast_encoder(told: str) -> Encode:
    """The encoder of `fastokens`.

    Args:
        told: content of a tokenizer.json.

    Raises:
        ImportError: it is not installed.
        ValueError: it does not know this kind of tokenizer.
    """
    import fastokens

    inner = fastokens.Tokenizer.from_json_str(told)

    def encode(texts: Sequence[str]) -> Ids:
        # Text that spells a special token is text.
        flat, ends = inner.encode_batch_flat(list(texts), split_special_tokens=True)
        ids, ends_N = np.frombuffer(flat, np.uint32), np.frombuffer(ends, np.uint64).tolist()
        return [ids[first:last] for first, last in pairwise(ends_N)]

    return encode


def _sample(texts: Sequence[str]) -> Sample:
    """Parts of documents evenly over a batch, each from further down in its document."""
    if sum(map(len, texts)) <= SAMPLES * SAMPLE_CHARACTERS:
        return Sample(list(texts), is_all=True)
    numbers = np.linspace(0, len(texts) - 1, SAMPLES).astype(int).tolist()
    parts = []
    for place, number in enumerate(numbers):
        begin = max(0, len(texts[number]) - SAMPLE_CHARACTERS) * place // (SAMPLES - 1)
        parts.append(texts[number][begin : begin + SAMPLE_CHARACTERS])
    return Sample(parts, is_all=False)


def _compare(texts: Sequence[str], fast: Encode, reference: Encode) -> None:
    """Check that both encoders agree.

    Raises:
        ValueError: they give different ids for a text.
    """
    for text, one, other in zip(texts, fast(texts), reference(texts), strict=True):
        if not np.array_equal(one, other):
            raise ValueError(f"fastokens gives other ids than tokenizers for {text[:40]!r}")
