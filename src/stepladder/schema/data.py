"""Settings under `data:` of a ladder file that say which text, and how it becomes tokens.

Importing this module is cheap: ladder files are validated, and the workflow is parsed, through it.
Relative paths count from the directory that the command runs in.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    TypeAdapter,
    model_serializer,
    model_validator,
)

from stepladder.schema import ranges
from stepladder.schema.domains import DescribedDomain, Domain, Provenance
from stepladder.schema.mixture import DomainName, Mixture
from stepladder.schema.settings import Name, Settings

Forbidden = Literal["synthetic", "unknown"]

MAX_EPOCHS = 4.0
"""Up to four passes, repeated text is about as good as new (Muennighoff et al. 2023, arXiv 2305.16264)."""

PART_BYTES = 512 * 2**20

Epochs = Annotated[float, ranges.EPOCHS]
MaxEpochs = Annotated[
    Annotated[Epochs, Tag("passes")] | Annotated[dict[DomainName, Epochs], Tag("by_domain")],
    Discriminator(lambda value: "by_domain" if isinstance(value, dict) else "passes"),
]


def read_max_epochs(text: str) -> MaxEpochs:
    """`max_epochs` from JSON.

    Raises:
        ValueError: it is none.
    """
    try:
        value = json.loads(text)
    except ValueError:
        raise ValueError(f'{text!r} is neither a number nor JSON such as {{"web": 2}}') from None
    return TypeAdapter[MaxEpochs](MaxEpochs).validate_python(value)


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

    def without_provenance(self) -> Self:
        """What of it determines the shards: all."""
        return self

    @property
    def provenance(self) -> dict[str, Provenance]:
        """Domain to what is known of its text."""
        python = Provenance(licence="PSF-2.0", synthetic="no", source="Python's standard library")
        return dict.fromkeys(self.domain_names, python)


class Files(Settings):
    """Base of the sources that read files which people bring, here or elsewhere (`stepladder.schema.domains`
    says which schemes there are)."""

    domains: dict[DomainName, Domain] = Field(min_length=1)
    """Domain to paths or globs (`**` descends into folders, `~` is home; what exists is taken as it is, with
    its brackets), or to `{paths, licence, synthetic, source, snapshot}`. Letters, digits and _ in a domain's
    name."""

    @property
    def domain_names(self) -> tuple[str, ...]:
        """Domains that this source fills."""
        return tuple(self.domains)

    @property
    def patterns(self) -> dict[str, tuple[str, ...]]:
        """Domain to paths or globs."""
        return {
            name: domain.paths if isinstance(domain, DescribedDomain) else domain
            for name, domain in self.domains.items()
        }

    def without_provenance(self) -> Self:
        """What of it determines the shards."""
        return self.model_copy(update={"domains": self.patterns})

    @property
    def provenance(self) -> dict[str, Provenance]:
        """Domain to what is known of its text."""
        return {
            name: domain if isinstance(domain, DescribedDomain) else Provenance()
            for name, domain in self.domains.items()
        }


class TextFiles(Files):
    """Plain UTF-8 text, one document per file, compressed or not (gzip, xz, zstd, bzip2, lz4: told by the
    first bytes)."""

    kind: Literal["text"]


class Records(Files):
    """Base of the sources whose documents are fields of records."""

    field: str = Field(default="text", min_length=1)
    """Key or column of the document's text; `doc.text` is the field `text` of the object or struct `doc`,
    unless there is a key or column of that very name."""
    null_text: Literal["refuse", "skip"] = "refuse"
    """What becomes of records whose text is null or missing: they are refused with file and row, or skipped
    and counted in the manifest and the report."""

    @model_serializer(mode="wrap")
    def _leave_out_default(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        if self.null_text == "refuse":  # specs of before the option stay what they were
            del fields["null_text"]
        return fields


class JsonLines(Records):
    """JSON Lines: one object per line, one document per object; compressed or not, as text."""

    kind: Literal["jsonl"]


class ParquetFiles(Records):
    """Parquet: one document per row."""

    kind: Literal["parquet"]


class ArrowFiles(Records):
    """Arrow, as Hugging Face's `datasets` keeps it: one document per row. A path is a .arrow file, or a
    folder that `save_to_disk` wrote."""

    kind: Literal["arrow"]


class FlatTokens(Files):
    """Tokens already made: ids one after the other, documents told apart by the tokenizer's end-of-document
    id. OLMo's and Dolma's .npy, nanoGPT's .bin, and with a header modded-nanogpt's and llm.c's."""

    kind: Literal["tokens"]
    dtype: Literal["uint16", "uint32"] = "uint16"
    """Of an id, little-endian. Files with a header (numpy's or llm.c's) say it themselves."""


class MegatronTokens(Files):
    """Tokens already made: Megatron's .bin files, each with its .idx beside it. A path may leave out
    `.bin`."""

    kind: Literal["megatron"]


FileSource = TextFiles | JsonLines | ParquetFiles | ArrowFiles
TokenSource = FlatTokens | MegatronTokens
SourceConfig = Annotated[PythonStdlib | FileSource | TokenSource, Field(discriminator="kind")]


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


def needs_text(source: SourceConfig, tokenizer: TokenizerConfig) -> str | None:
    """Why this tokenizer cannot be had for this source; None if it can."""
    if isinstance(source, TokenSource) and isinstance(tokenizer, BPETokenizer):
        return (
            f"a source of kind {source.kind} holds tokens, and no text that a BPE could be trained on: name "
            "the tokenizer that they were made with (kind: pretrained, with its tokenizer.json; or byte)"
        )
    return None


class NearDuplicates(Settings):
    """Documents that are nearly the same as another, and left out."""

    threshold: Annotated[float, ranges.SIMILARITY] = 0.8
    """Share of their runs of words, of all that are in either, which two documents have in common (Jaccard):
    from about here on they are found; docs/data.md says how surely."""
    words: Annotated[int, ranges.RUN_WORDS] = 5
    """Words in a run."""


class Data(Settings):
    """Text, tokenizer and held-out split."""

    source: SourceConfig
    tokenizer: TokenizerConfig
    validation_fraction: Annotated[float, ranges.HELD_OUT_SHARE] = 0.05
    """Share of documents held out, by content hash."""
    degenerate: Literal["count", "drop"] = "count"
    """What becomes of documents of one character, repetitive ones and ones that are no text: the manifest and
    the report count them; `drop` also leaves them out. Limits: src/stepladder/data/quality.py."""
    near_duplicates: NearDuplicates | None = None
    """Leave out training documents that are nearly the same as another, and count them. Default: only those
    that are exactly the same."""
    part_bytes: Annotated[int, ranges.PART_BYTES] = PART_BYTES
    """Files that one job prepares, bytes as they lie on disk; a source of less is prepared in one go. Shards
    do not depend on it."""
    mixture: Mixture | None = None
    """In which proportion training reads the domains, and where that changes: `stepladder.schema.mixture`.
    Default: natural proportion, each as large as it is."""
    forbid: tuple[Forbidden, ...] = ()
    """Text that no run may read: `synthetic`, of domains whose provenance says so; `unknown`, of those where
    it does not say. A ladder with such a domain is refused."""
    max_epochs: MaxEpochs = MAX_EPOCHS
    """Passes over the training text above which a run is refused: raw tokens read over training tokens, of
    every domain or `{domain: passes}`. Above one pass there is a warning."""
    max_validation_tokens: Annotated[int, ranges.HELD_OUT_TOKENS] = 200_000
    """Held-out tokens scored per domain."""
    domain_weights: dict[Name, Annotated[float, ranges.DOMAIN_WEIGHT]] = Field(min_length=1)
    """Weights of the domains' losses in the target loss; must sum to 1."""
    document_attention: Literal["across", "within"] = "across"
    """Whether attention reaches into the other documents of a sequence; `within`: neither attention nor bags
    nor further targets cross the end of a document, in training and in scoring."""

    @property
    def preparation(self) -> dict[str, Any]:
        """What determines the shards: equal for corpora that share them."""
        names = {"source", "tokenizer", "validation_fraction", "degenerate"}
        if self.near_duplicates is not None:  # specs of before the option stay what they were
            names |= {"near_duplicates"}
        bare = self.model_copy(update={"source": self.source.without_provenance()})
        return bare.model_dump(mode="json", include=names)

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Data:
        total = sum(self.domain_weights.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"domain_weights sum to {total:g}: scale them to sum to 1")
        return self
