"""Baseline: ordinary next-token training from the first step to the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepladder.record.kinds import PhaseShape
from stepladder.schema.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from stepladder.models.documents import Documents
    from stepladder.models.transformer import Transformer


class Config(Settings):
    """The baseline has no settings."""


def phases(config: Config, sequence_length: int, sequences: int) -> list[PhaseShape]:
    """One phase: `sequences` windows of `sequence_length` tokens per step."""
    return [PhaseShape("next_token", 1.0, 1, sequences, sequence_length)]


def embed(weight_VD: Tensor, tokens_BTS: Tensor, documents: Documents | None = None) -> Tensor:
    """Token ids (B, T, 1) to input vectors (B, T, D)."""
    from torch.nn import functional as F

    return F.embedding(tokens_BTS[..., 0], weight_VD)


def loss(
    model: Transformer, x_BTD: Tensor, targets_BTS: Tensor, heads: None, documents: Documents | None = None
) -> Tensor:
    """Mean cross-entropy in nats of targets (B, T, 1) given the trunk's output x."""
    return model.cross_entropy(x_BTD, targets_BTS)
