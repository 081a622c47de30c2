"""Text to token ids and back, exactly: every tokenizer here works on UTF-8 bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from stepladder.data.errors import DataError
from stepladder.schema.data import BPETokenizer, PretrainedTokenizer

if TYPE_CHECKING:
    import tokenizers

PROBE = "  naïve x1 += 漢字\n\t'🙂'\r\n"
"""Text that a tokenizer which is not byte-level would change or count wrongly."""


class Tokenizer(Protocol):
    """What the shards need to know of a tokenizer."""

    vocab_size: int
    end_of_document: int
    """Id that no text contains."""

    @property
    def token_bytes(self) -> NDArray[np.uint16]:
        """Bytes of text that each id stands for (vocab_size,); end of document stands for none."""
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

    def save(self, path: Path) -> bool:
        """Write tokenizer.json, if there is anything to write."""
        ...


class Bytes:
    """UTF-8 bytes as ids; 0xFF, which occurs in no UTF-8 text, ends a document."""

    vocab_size = 256
    end_of_document = 255
    key = "byte"

    @property
    def token_bytes(self) -> NDArray[np.uint16]:
        sizes = np.ones(256, dtype=np.uint16)
        sizes[self.end_of_document] = 0
        return sizes

    def encode(self, texts: Sequence[bytes]) -> list[NDArray[np.uint32]]:
        return [np.frombuffer(text, dtype=np.uint8).astype(np.uint32) for text in texts]

    def decode(self, ids: NDArray[np.integer]) -> bytes:
        return ids.astype(np.uint8).tobytes()

    def save(self, path: Path) -> bool:
        return False


class Subwords:
    """A byte-level BPE of the Hugging Face `tokenizers` library."""

    def __init__(self, inner: tokenizers.Tokenizer, vocab_size: int, end_of_document: int) -> None:
        inner.encode_special_tokens = True  # text that spells a special token is text
        self.vocab_size = vocab_size
        self.end_of_document = end_of_document
        self._inner = inner

    @property
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

    @property
    def key(self) -> str:
        return f"{hashlib.sha256(self._inner.to_str().encode()).hexdigest()}-{self.end_of_document}"

    def encode(self, texts: Sequence[bytes]) -> list[NDArray[np.uint32]]:
        encoded = self._inner.encode_batch_fast([text.decode() for text in texts], add_special_tokens=False)
        return [np.array(one.ids, dtype=np.uint32) for one in encoded]

    def decode(self, ids: NDArray[np.integer]) -> bytes:
        return self._inner.decode(ids.tolist(), skip_special_tokens=False).encode()

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


def load_pretrained(settings: PretrainedTokenizer) -> Subwords:
    """Read a tokenizer.json.

    Raises:
        DataError: it is missing, no tokenizer, not byte-level, too large for `vocab_size`, or has no
            such end-of-document token.
    """
    from tokenizers import Tokenizer

    path = settings.path
    if not Path(path).is_file():
        raise DataError(f"{path}: no such tokenizer file (seen from {Path.cwd()})")
    try:
        inner = Tokenizer.from_file(path)
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"{path}: not a tokenizer.json: {error}") from None
    end = inner.token_to_id(settings.end_of_document)
    if end is None:
        special = [token.content for token in inner.get_added_tokens_decoder().values() if token.special]
        raise DataError(
            f"{path}: no token {settings.end_of_document!r} for `end_of_document`; "
            f"its special tokens: {', '.join(special[:8]) or 'none'}"
        )
    largest = max(inner.get_vocab(with_added_tokens=True).values())
    if largest >= settings.vocab_size:
        raise DataError(f"{path}: has ids up to {largest}: set vocab_size to {largest + 1} or more")
    tokenizer = Subwords(inner, settings.vocab_size, end)
    (ids,) = tokenizer.encode([PROBE.encode()])
    if tokenizer.decode(ids) != PROBE.encode() or tokenizer.token_bytes[ids].sum() != len(PROBE.encode()):
        raise DataError(
            f"{path}: not a byte-level tokenizer: bits per byte could not be counted exactly; "
            "use one of the GPT-2, Llama 3 or Qwen kind"
        )
    return tokenizer


def id_dtype(vocab_size: int) -> Literal["uint8", "uint16", "uint32"]:
    """Smallest unsigned integer that holds every id."""
    return "uint8" if vocab_size <= 2**8 else "uint16" if vocab_size <= 2**16 else "uint32"
