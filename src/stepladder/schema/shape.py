"""`shape:` how a rung's widths and heads follow from its depth."""

from __future__ import annotations

from typing import Annotated

from stepladder.schema import ranges
from stepladder.schema.settings import Settings


class Width(Settings):
    """d_model as a function of depth: base + per_layer * depth, rounded to `multiple_of`."""

    per_layer: Annotated[float, ranges.LAYER_WIDTH]
    """Features per layer (nanochat: 64; MAI-Thinking-1: 256/3)."""
    base: Annotated[int, ranges.LAYER_WIDTH] = 0
    """Features at depth 0."""
    multiple_of: Annotated[int, ranges.ROUNDING] = 1
    """Round to the nearest multiple of this."""


class FeedForwardWidth(Settings):
    """d_ff as a function of d_model: ratio * d_model, rounded up to `multiple_of`."""

    ratio: Annotated[float, ranges.FEED_FORWARD_RATIO] = 8 / 3
    """8/3 gives SwiGLU's three matrices the parameters of a two-matrix MLP of ratio 4 (Shazeer 2020)."""
    multiple_of: Annotated[int, ranges.ROUNDING] = 16
    """Round up to a multiple of this; keep it a multiple of the active experts."""


class Shape(Settings):
    """Shape rule of the ladder: everything follows from depth."""

    sequence_length: Annotated[int, ranges.SEQUENCE_LENGTH]
    """Positions per sequence (context length)."""
    d_model: Width
    d_head: Annotated[int, ranges.WIDTH]
    """Smallest features per head: as many heads as divide d_model into heads at least this wide."""
    queries_per_key: Annotated[int, ranges.HEADS] = 1
    """Query heads that share one key/value head (1: multi-head; more: grouped-query attention)."""
    d_ff: FeedForwardWidth = FeedForwardWidth()
    tied_embeddings: bool = False
    """Whether the output head shares the embedding's weights."""
    qk_norm: bool = True
    """RMS-normalise queries and keys per head before RoPE (Dehghani et al. 2023, arXiv 2302.05442)."""
    rope_theta: Annotated[float, ranges.ROPE_THETA] = 10_000.0
    """Base of the rotary frequencies."""
