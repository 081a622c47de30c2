"""Interleaved attention: several layers that see a sliding window, then one that sees everything, and so on.

The order is that of Gemma 3 (arXiv 2503.19786, section 2) and MAI-Base-1: five local layers with a window of
512 positions to one global layer. The feed-forward part is dense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from stepladder.record.kinds import FeedForwardCount
from stepladder.record.spec import ModelSpec
from stepladder.schema import ranges
from stepladder.schema.settings import Settings

if TYPE_CHECKING:
    from torch import nn


class Config(Settings):
    """Settings under `architectures: sliding:` of a ladder file."""

    window: Annotated[int, ranges.SEQUENCE_LENGTH] = Field(default=512, ge=1)
    """Positions that a local layer's attention sees, the query's own included."""
    local_per_global: Annotated[int, ranges.DEPTH] = Field(default=5, ge=1)
    """Local layers before each global one; the layers left over at the end are local."""


def resolve(config: Config, d_ff: int) -> dict[str, Any]:
    """Options of the resolved spec: the settings themselves."""
    return config.model_dump()


def attention_window(model: ModelSpec, layer: int) -> int | None:
    """Window of layer number `layer` (from 0); None for a global layer."""
    is_global = (layer + 1) % (model.options["local_per_global"] + 1) == 0
    window: Annotated[int, ranges.SEQUENCE_LENGTH] = model.options["window"]
    return None if is_global else window


def count_feed_forward(model: ModelSpec, layer: int) -> FeedForwardCount:
    """Parameters of one SwiGLU."""
    parameters = 3 * model.d_model * model.d_ff
    return FeedForwardCount(total=parameters, active=parameters)


def build_feed_forward(model: ModelSpec, layer: int) -> nn.Module:
    """The layer's torch module; torch is imported here so that ladders validate without it."""
    from stepladder.models.feed_forward import SwiGLU

    return SwiGLU(model.d_model, model.d_ff)
