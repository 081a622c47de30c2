"""Dense: every token goes through one SwiGLU feed-forward per layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepladder.record.kinds import FeedForwardCount
from stepladder.record.spec import ModelSpec
from stepladder.schema.settings import Settings

if TYPE_CHECKING:
    from torch import nn


class Config(Settings):
    """Dense has no settings of its own; its width is the ladder's `d_ff` rule."""


def resolve(config: Config, d_ff: int) -> dict[str, Any]:
    """Options of the resolved spec: none."""
    return {}


def count_feed_forward(model: ModelSpec, layer: int) -> FeedForwardCount:
    """Parameters of one SwiGLU: gate, up and down projections, no biases."""
    parameters = 3 * model.d_model * model.d_ff
    return FeedForwardCount(total=parameters, active=parameters)


def build_feed_forward(model: ModelSpec, layer: int) -> nn.Module:
    """The layer's torch module; torch is imported here so that ladders validate without it."""
    from stepladder.models.feed_forward import SwiGLU

    return SwiGLU(model.d_model, model.d_ff)
