"""Text to token ids and back, exactly: every tokenizer here works on UTF-8 bytes.

What a tokenizer.json can do to text besides (normalize it, pad, cut, swallow spaces around a token) would
leave bits per byte counting on. So every document's tokens are spelled out again and compared with it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stepladder.data.encoding import Encoder
from stepladder.data.errors import DataError
from stepladder.data.spelling import Spellings
from stepladder.schema.data import BPETokenizer, ByteTokenizer, PretrainedTokenizer

if TYPE_CHECKING:
    import tokenizers

PROBES = ("  naïve x1 += 漢字\n\t'🙂'\r\n", "x", "A b")
"""Texts that a tokenizer which is not byte-level, or puts a space before a text, would change."""


def _byte_of_letter() -> dict[str, int]:
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in plain)
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


BYTE_OF_LETTER = _byte_of_letter()
"""GPT-2's alphabet, in which tokens are written: visible Latin-1 characters are their own bytes, the others
come from U+0100 on (github.com/openai/gpt-2, src/encoder.py)."""


class Changed(NamedTuple):
    """A text that a tokenizer does not keep."""

    number: int
    """Among those that were given."""
    why: str


class Tokenizer(Protocol):
    """What the shards need to know of a tokenizer."""

    name: str
    """How messages call it."""
    vocab_size: int
    end_of_document: int
    """Id that no text contains."""

    @property
    def token_bytes(self) -> NDArray[np.uint16]:
        """Bytes of text that each id stands for (vocab_size,); end of document stands for none."""
        ...

    @property
    def spellings(self) -> list[bytes | None]:
        """Bytes of text that each id stands for (vocab_size,); None for special tokens, which stand for none,
        and for ids that no token has."""
        ...

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether a token has an id (vocab_size,)."""
        ...

    @property
    def key(self) -> str:
        """Equal keys give equal ids for every text."""
        ...

    def encode(self, texts: Sequence[bytes]) -> list[NDArray[np.uint32]]:
        """Ids of each text, without end of document."""
        ...

    def decode(self, ids: NDArray[np.integer]) -> bytes:
        """Text of ids that hold no end of document."""
        ...

    def first_changed(self, texts: Sequence[bytes], ids: Sequence[NDArray[np.integer]]) -> Changed | None:
        """The first text whose ids do not stand for exactly its bytes; None if all do."""
        ...

    def save(self, path: Path) -> bool:
        """Write tokenizer.json, if there is anything to write."""
        ...


class Bytes:
    """UTF-8 bytes as ids; 0xFF, which occurs in no UTF-8 text, ends a document."""

    name = "bytes"
    vocab_size = 256
    end_of_document = 255
    key = "byte"

    @property
    def token_bytes(self) -> NDArray[np.uint16]:
        sizes = np.ones(256, dtype=np.uint16)
        sizes[self.end_of_document] = 0
        return sizes

    @property
    def spellings(self) -> list[bytes | None]:
        return [None if one == self.end_of_document else bytes([one]) for one in range(256)]

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.ones(256, dtype=np.bool_)

    def encode(self, texts: Sequence[bytes]) -> list[NDArray[np.uint32]]:
        return [np.frombuffer(text, dtype=np.uint8).astype(np.uint32) for text in texts]

    def decode(self, ids: NDArray[np.integer]) -> bytes:
        return ids.astype(np.uint8).tobytes()

    def first_changed(self, texts: Sequence[bytes], ids: Sequence[NDArray[np.integer]]) -> Changed | None:
        return None  # the ids are the bytes

    def save(self, path: Path) -> bool:
        return False


class Subwords:
    """A byte-level BPE of the Hugging Face `tokenizers` library."""

    def __init__(
        self, inner: tokenizers.Tokenizer, vocab_size: int, end_of_document: int, name: str = "the BPE"
    ) -> None:
        """Take over `inner`, whose settings for running a model, which change text, are switched off.

        Args:
            name: of the tokenizer in messages.
        """
        inner.encode_special_tokens = True  # text that spells a special token is text
        inner.no_truncation()
        inner.no_padding()
        if getattr(inner.model, "dropout", None):
            inner.model.dropout = None  # random merges
        self.vocab_size = vocab_size
        self.end_of_document = end_of_document
        self.name = name
        self._inner = inner
        self._encode = Encoder(inner, name)

    @cached_property
    def token_bytes(self) -> NDArray[np.uint16]:
        sizes = np.zeros(self.vocab_size, dtype=np.uint16)
        added = self._inner.get_added_tokens_decoder()
        for token, id_ in self._inner.get_vocab(with_added_tokens=True).items():
            # In the byte-level alphabet each character is one byte; added tokens are plain text.
            if id_ not in added:
                sizes[id_] = len(token)
            elif not added[id_].special:
                sizes[id_] = len(token.encode())
        sizes[self.end_of_document] = 0
        return sizes

    @cached_property
    def key(self) -> str:
        return f"{hashlib.sha256(self._inner.to_str().encode()).hexdigest()}-{self.end_of_document}"

    def encode(self, texts: Sequence[bytes]) -> list[NDArray[np.uint32]]:
        return self._encode([text.decode() for text in texts])

    def decode(self, ids: NDArray[np.integer]) -> bytes:
        return self._inner.decode(ids.tolist(), skip_special_tokens=False).encode()

    def first_changed(self, texts: Sequence[bytes], ids: Sequence[NDArray[np.integer]]) -> Changed | None:
        number = self._spellings.first_changed(texts, ids)
        return None if number is None else Changed(number, self._explain(texts[number], ids[number]))

    @property
    def known(self) -> NDArray[np.bool_]:
        known = np.zeros(self.vocab_size, dtype=np.bool_)
        known[[self.end_of_document, *self._inner.get_vocab(with_added_tokens=True).values()]] = True
        return known

    @cached_property
    def _spellings(self) -> Spellings:
        return Spellings(self.spellings)

    @property
    def spellings(self) -> list[bytes | None]:
        spellings: list[bytes | None] = [None] * self.vocab_size
        added = self._inner.get_added_tokens_decoder()
        for token, id_ in self._inner.get_vocab(with_added_tokens=True).items():
            if id_ in added:
                spellings[id_] = None if added[id_].special else added[id_].content.encode()
            elif all(letter in BYTE_OF_LETTER for letter in token):
                spellings[id_] = bytes(BYTE_OF_LETTER[letter] for letter in token)
        spellings[self.end_of_document] = None
        return spellings

    def _explain(self, text: bytes, ids: NDArray[np.integer]) -> str:
        """How a text and what its ids stand for differ, and which settings may have done it."""
        spelling = self._spellings.spell(ids)
        if spelling is None:
            token = next(one for one in ids if self._spellings.spell(one[None]) is None)
            return f"its token {self._inner.id_to_token(int(token))!r} appears in text and stands for none"
        same = next((i for i, (a, b) in enumerate(zip(text, spelling, strict=False)) if a != b), -1)
        place = same if same >= 0 else min(len(text), len(spelling))
        shown = [part[place : place + 12].decode(errors="replace") for part in (text, spelling)]
        causes = _suspects(json.loads(self._inner.to_str()))
        why = f" ({'; '.join(causes)})" if causes else ""
        return f"from byte {place} on {shown[0]!r} became {shown[1]!r}{why}"

    def save(self, path: Path) -> bool:
        self._inner.save(str(path))
        return True


def train_bpe(settings: BPETokenizer, texts: Iterable[bytes]) -> Subwords:
    """Learn merges from `texts`. Ids: merges first, end of document last.

    End of document is no token of the trained tokenizer, so no text can spell it.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size - 1,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator((text.decode() for text in texts), trainer)
    return Subwords(inner, settings.vocab_size, settings.vocab_size - 1)


def load_trained(settings: BPETokenizer, path: Path) -> Subwords:
    """Read what `train_bpe` made and `save` wrote.

    Raises:
        DataError: it is missing, or no such tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        inner = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"{path}: not a tokenizer.json: {error}: remove it and run snakemake again") from None
    return Subwords(inner, settings.vocab_size, settings.vocab_size - 1)


def ready_made(settings: ByteTokenizer | PretrainedTokenizer) -> Tokenizer:
    """A tokenizer that needs no text to be trained on.

    Raises:
        DataError: see `load_pretrained`.
    """
    return Bytes() if isinstance(settings, ByteTokenizer) else load_pretrained(settings)


def load_pretrained(settings: PretrainedTokenizer) -> Subwords:
    """Read a tokenizer.json.

    Raises:
        DataError: it is missing, no tokenizer, not byte-level, too large for `vocab_size`, or has no
            such end-of-document token.
    """
    from tokenizers import Tokenizer

    path = os.path.expanduser(settings.path)
    if not Path(path).is_file():
        raise DataError(f"{path}: no such tokenizer file (seen from {Path.cwd()})")
    try:
        inner = Tokenizer.from_file(path)
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"{path}: not a tokenizer.json: {error}") from None
    end = inner.token_to_id(settings.end_of_document)
    specials = {id_: token for id_, token in inner.get_added_tokens_decoder().items() if token.special}
    named = ", ".join(token.content for token in list(specials.values())[:8]) or "none"
    if end is None:
        raise DataError(
            f"{path}: no token {settings.end_of_document!r} for `end_of_document`; special tokens: {named}"
        )
    largest = max(inner.get_vocab(with_added_tokens=True).values())
    if largest >= settings.vocab_size:
        raise DataError(f"{path}: has ids up to {largest}: set vocab_size to {largest + 1} or more")
    tokenizer = Subwords(inner, settings.vocab_size, end, path)
    probes = [probe.encode() for probe in PROBES]
    changed = tokenizer.first_changed(probes, tokenizer.encode(probes))
    if changed is not None:
        raise DataError(
            f"{path}: not a byte-level tokenizer: bits per byte could not be counted exactly: of "
            f"{PROBES[changed.number]!r} {changed.why}; use one of the GPT-2, Llama 3 or Qwen kind"
        )
    (spelled,) = tokenizer.encode([settings.end_of_document.encode()])
    if end not in specials or end in spelled:
        raise DataError(
            f"{path}: `end_of_document` is {settings.end_of_document!r}, which is an ordinary token: text "
            f"may contain it; name one that no text becomes; its special tokens: {named}"
        )
    return tokenizer


def _suspects(settings: dict[str, Any]) -> list[str]:
    """Settings of a tokenizer.json that change text."""
    found = []
    if normalizer := settings.get("normalizer"):
        kinds = [part["type"] for part in normalizer.get("normalizers", [normalizer])]
        found.append(f"its normalizer {', '.join(kinds)} changes text: remove it in a copy of the file")
    for token in settings.get("added_tokens", []):
        sides = [side for side in ("lstrip", "rstrip") if token[side] and not token["special"]]
        if sides:
            found.append(
                f"its token {token['content']!r} has {' and '.join(sides)}: set it to false in a copy"
            )
    if '"add_prefix_space": true' in json.dumps(settings.get("pre_tokenizer")):
        found.append("its pre_tokenizer has add_prefix_space: set it to false in a copy")
    return found
