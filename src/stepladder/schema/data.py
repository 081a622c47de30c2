"""Settings under `data:` of a ladder file that say which text, and how it becomes tokens.

Importing this module is cheap: ladder files are validated, and the workflow is parsed, through it.
Relative paths count from the directory that the command runs in.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stepladder.schema import ranges
from stepladder.schema.settings import Name, Settings

DomainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$")]
Pattern = Annotated[str, Field(min_length=1)]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1)]


class PythonStdlib(Settings):
    """The embedded corpus: the running Python's standard library and its tests; nothing to download.

    Domain `code` is the source without docstrings, domain `prose` the docstrings and pydoc's topics.
    About 29 MB; it differs a little by Python version, hence the manifest's fingerprint.
    """

    kind: Literal["python_stdlib"]

    @property
    def domain_names(self) -> tuple[str, ...]:
        """Domains that this source fills."""
        return ("code", "prose")


class Files(Settings):
    """Base of the sources that read files which people bring, compressed or not (.gz, .zst, .bz2)."""

    domains: dict[DomainName, Patterns] = Field(min_length=1)
    """Domain to paths or globs (`**` descends into folders). Letters, digits and _ in a domain's name."""

    @property
    def domain_names(self) -> tuple[str, ...]:
        """Domains that this source fills."""
        return tuple(self.domains)


class TextFiles(Files):
    """Plain UTF-8 text, one document per file."""

    kind: Literal["text"]


class JsonLines(Files):
    """JSON Lines: one object per line, one document per object."""

    kind: Literal["jsonl"]
    field: str = Field(default="text", min_length=1)
    """Key of the document's text."""


class ParquetFiles(Files):
    """Parquet: one document per row."""

    kind: Literal["parquet"]
    field: str = Field(default="text", min_length=1)
    """Column of the document's text."""


FileSource = TextFiles | JsonLines | ParquetFiles
SourceConfig = Annotated[PythonStdlib | FileSource, Field(discriminator="kind")]


class ByteTokenizer(Settings):
    """UTF-8 bytes as tokens: vocabulary 256, nothing to train, no padding.

    End of document is 255: the byte 0xFF occurs in no UTF-8 text, so it needs no id of its own.
    """

    kind: Literal["byte"]


class BPETokenizer(Settings):
    """Byte-level byte-pair encoding, trained on the ladder's own training split."""

    kind: Literal["bpe"]
    vocab_size: int = Field(default=1024, ge=257, le=2**20)
    """Ids in all: 256 bytes, the merges, and end of document (the last id). At toy sizes the output
    head dominates the FLOPs: keep it small (1024 to 4096) and a multiple of 32."""
    training_bytes: Annotated[int, ranges.TRAINING_BYTES] = 8_000_000
    """Text that the merges are learnt from, bytes: an even sample of the training documents."""


class PretrainedTokenizer(Settings):
    """A byte-level tokenizer in Hugging Face's `tokenizer.json` format, as published with a model."""

    kind: Literal["pretrained"]
    path: str = Field(min_length=1)
    """The tokenizer.json file."""
    vocab_size: int = Field(ge=257, le=2**24)
    """Rows of the embedding: at least the tokenizer's ids. Stated here so that a plan needs no file."""
    end_of_document: str = Field(default="<|end_of_text|>", min_length=1)
    """The tokenizer's own token that ends a document (default: Llama 3's)."""


TokenizerConfig = Annotated[ByteTokenizer | BPETokenizer | PretrainedTokenizer, Field(discriminator="kind")]


def vocab_size(tokenizer: ByteTokenizer | BPETokenizer | PretrainedTokenizer) -> int:
    """Rows of the embedding and of the output head that this tokenizer needs."""
    return 256 if isinstance(tokenizer, ByteTokenizer) else tokenizer.vocab_size


class Data(Settings):
    """Text, tokenizer and held-out split."""

    source: SourceConfig
    tokenizer: TokenizerConfig
    validation_fraction: Annotated[float, ranges.HELD_OUT_SHARE] = 0.05
    """Share of documents held out, by content hash."""
    degenerate: Literal["count", "drop"] = "count"
    """What becomes of documents of one character, repetitive ones and ones that are no text: the manifest and
    the report count them; `drop` also leaves them out. Limits: src/stepladder/data/quality.py."""
    max_validation_tokens: Annotated[int, ranges.HELD_OUT_TOKENS] = 200_000
    """Held-out tokens scored per domain."""
    domain_weights: dict[Name, Annotated[float, ranges.DOMAIN_WEIGHT]] = Field(min_length=1)
    """Weights of the domains' losses in the target loss; must sum to 1."""

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Data:
        total = sum(self.domain_weights.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"domain_weights sum to {total:g}: scale them to sum to 1")
        return self
