"""What shards are made from, and how."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from stepladder.data.manifest import Split
from stepladder.record.fingerprint import preparation_fingerprint
from stepladder.schema.data import PART_BYTES, NearDuplicates, SourceConfig, TokenizerConfig

OF_THE_WORKFLOW = ("code", "seen")
"""What the workflow writes beside the settings, so that it notices changes: the fingerprint of the code, and
what the files were."""


class Request(NamedTuple):
    """A ladder's section `data:`, as far as it determines shards."""

    source: SourceConfig
    tokenizer: TokenizerConfig
    validation_fraction: float
    drop_degenerate: bool
    held_out: SourceConfig | None = None
    """Of the held-out text, where it is another source than that of training."""
    held_out_drop: bool = False
    """Whether degenerate documents are left out of that."""
    near_duplicates: NearDuplicates | None = None
    """Which are left out of the training text; None: none."""
    part_bytes: int = PART_BYTES
    """Of files that one job reads; the shards do not depend on it."""

    @classmethod
    def of(
        cls,
        source: dict[str, Any],
        tokenizer: dict[str, Any],
        validation_fraction: float,
        drop_degenerate: bool = False,
        held_out: dict[str, Any] | None = None,
        held_out_drop: bool = False,
        near_duplicates: dict[str, Any] | None = None,
        part_bytes: int = PART_BYTES,
    ) -> Request:
        """From what a ladder file says.

        Raises:
            pydantic.ValidationError: a setting is none.
        """
        return cls(
            _source(source),
            TypeAdapter[TokenizerConfig](TokenizerConfig).validate_json(json.dumps(tokenizer)),
            validation_fraction,
            drop_degenerate,
            None if held_out is None else _source(held_out),
            held_out_drop,
            None if near_duplicates is None else NearDuplicates.model_validate(near_duplicates),
            part_bytes,
        )

    @classmethod
    def of_json(cls, text: str) -> Request:
        """From the settings that the workflow passes on: those of `stepladder data`."""
        fields = json.loads(text)
        drop, scored = (fields.pop(name, "count") == "drop" for name in ("degenerate", "held_out_degenerate"))
        for name in OF_THE_WORKFLOW:
            fields.pop(name, None)
        return cls.of(**fields, drop_degenerate=drop, held_out_drop=scored)

    @property
    def digest(self) -> str:
        """Equal for equal settings and code."""
        said = [self.source.model_dump_json(), self.tokenizer.model_dump_json(), *map(repr, self[2:7])]
        return hashlib.sha256("\n".join([*said, preparation_fingerprint()]).encode()).hexdigest()

    @property
    def drop(self) -> dict[Split, bool]:
        """Whether degenerate documents are left out, by split."""
        held_out = self.drop_degenerate if self.held_out is None else self.held_out_drop
        return {"train": self.drop_degenerate, "validation": held_out}

    @property
    def domains(self) -> dict[Split, tuple[str, ...]]:
        """Those that must have documents, by split."""
        return {
            "train": self.source.domain_names,
            "validation": (self.held_out or self.source).domain_names,
        }

    def sources(self) -> Iterator[tuple[SourceConfig, Split | None]]:
        """What is read, and the split that its documents are for; None: either, as their hash says."""
        if self.held_out is None:
            yield self.source, None
        else:
            yield self.source, "train"
            yield self.held_out, "validation"


def _source(written: dict[str, Any]) -> SourceConfig:
    return TypeAdapter[SourceConfig](SourceConfig).validate_json(json.dumps(written))
