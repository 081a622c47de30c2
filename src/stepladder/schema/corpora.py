"""`corpora:`, an axis of the ladder beside architectures and recipes: data against data.

    corpora:
      natural: {}
      prose_heavy: {mixture: {code: 0.4, prose: 0.6}}
      bytes: {tokenizer: {kind: byte}}
      other: {source: {kind: jsonl, domains: {web: ["/data/other/*.jsonl"]}}}

Each is the section `data:` with what it replaces. All of them are scored on the held-out text of `data:`.
"""

from __future__ import annotations

from typing import Literal

from stepladder.schema.data import Data, NearDuplicates, SourceConfig, TokenizerConfig
from stepladder.schema.mixture import Mixture
from stepladder.schema.settings import Settings


class Corpus(Settings):
    """What one corpus replaces of `data:`. With a source of its own it takes no mixture from there."""

    source: SourceConfig | None = None
    """Text to train on. The held-out text is that of `data:`, which no corpus trains on."""
    tokenizer: TokenizerConfig | None = None
    """Into which tokens text is cut, the held-out text as well: `analysis.metric` must then be per byte."""
    mixture: Mixture | None = None
    """In which proportion training reads the domains."""
    degenerate: Literal["count", "drop"] | None = None
    """What becomes of degenerate documents."""
    near_duplicates: NearDuplicates | None = None
    """Which near-duplicates are left out."""

    def of(self, data: Data) -> Data:
        """The section `data:` as it is for this corpus."""
        own = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        if self.source is not None:
            own = {"mixture": None} | own
        return data.model_copy(update=own)
