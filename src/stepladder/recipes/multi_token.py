"""Multi-token prediction (Gloeckle et al. 2024, arXiv 2404.19737, section 2).

Besides the next token, the trunk's output at each position predicts the n - 1 tokens after it: each by one
further layer and norm of its own, through the model's unembedding. The extra layers are trained with the
model and then thrown away: architecture and inference do not change. Their FLOPs count, so that at an
equal budget the model takes fewer steps than the baseline's.

Here the model itself stays whole and keeps its own next-token loss; the paper takes the layers of the heads
out of the trunk. The weight of the further tokens follows DeepSeek-V3 (arXiv 2412.19437, section 2.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypedDict

from pydantic import Field

from stepladder.record.cost import Convention, forward_flops_per_position
from stepladder.record.kinds import PhaseShape
from stepladder.record.spec import ModelSpec
from stepladder.schema import ranges
from stepladder.schema.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from stepladder.models.documents import Documents
    from stepladder.models.transformer import Layer, Transformer

    class Options(TypedDict):
        """`Config`, resolved."""

        tokens: int
        weight: float

    class Head(nn.Module):
        """What predicts one of the further tokens."""

        layer: Layer
        gain: nn.Parameter

    class Heads(nn.ModuleList):
        """Those of all further tokens, nearest first, and the weight of their loss."""

        weight: float

        def __iter__(self) -> Iterator[Head]: ...


class Config(Settings):
    """Settings under `recipes: multi_token:` of a ladder file."""

    tokens: Annotated[int, ranges.TOKENS_AHEAD] = Field(default=4, ge=2)
    """n: tokens that each position predicts. The paper finds 4 best on code at 7B, 2 to 4 at smaller
    sizes."""
    weight: Annotated[float, ranges.LOSS_WEIGHT] = Field(default=0.3, gt=0)
    """Weight of the mean loss of the n - 1 further tokens; DeepSeek-V3 begins with 0.3."""


def phases(config: Config, sequence_length: int, sequences: int) -> list[PhaseShape]:
    """One phase, in which each position has n targets."""
    return [PhaseShape("multi_token", 1.0, 1, sequences, sequence_length, targets=config.tokens)]


def embed(weight_VD: Tensor, tokens_BTS: Tensor, documents: Documents | None = None) -> Tensor:
    """Token ids (B, T, 1) to input vectors (B, T, D)."""
    from torch.nn import functional as F

    return F.embedding(tokens_BTS[..., 0], weight_VD)


def build_heads(options: Options, model: ModelSpec) -> nn.Module:
    """A layer and a norm for each further token; they are numbered on from the model's layers."""
    import torch
    from torch import nn

    from stepladder.models.transformer import Layer

    heads = nn.ModuleList()
    for _ in range(options["tokens"] - 1):
        head = nn.Module()
        head.layer = Layer(_one_layer(model), 0)
        head.gain = nn.Parameter(torch.ones(model.d_model))
        heads.append(head)
    heads.weight = options["weight"]  # type: ignore[assignment]  # no tensor
    return heads


def extra_forward_flops(options: Options, model: ModelSpec, positions: int, convention: Convention) -> float:
    """FLOPs per position of the further heads: a layer and the unembedding each."""
    return (options["tokens"] - 1) * forward_flops_per_position(_one_layer(model), positions, convention)


def loss(
    model: Transformer,
    x_BTD: Tensor,
    targets_BTn: Tensor,
    heads: Heads,
    documents: Documents | None = None,
) -> Tensor:
    """Next-token loss plus the weighted mean loss of the further tokens, nats.

    Within documents, a further token after the document's end costs nothing.
    """
    import torch

    def of_head(head: Head, n: int) -> Tensor:
        target = (..., slice(n, n + 1))
        mass = None if documents is None else documents.target_BTL[target]
        x = predict(head, model, x_BTD, documents)
        return model.cross_entropy(x, targets_BTn[target], head.gain, mass)

    further = torch.stack([of_head(head, n) for n, head in enumerate(heads, start=1)])
    return model.cross_entropy(x_BTD, targets_BTn[..., :1]) + heads.weight * further.mean()


def predict(head: Head, model: Transformer, x_BTD: Tensor, documents: Documents | None = None) -> Tensor:
    """A head's output (B, T, D). Balance losses of its router, if it has one, are left out."""
    return model.apply_layer(head.layer, x_BTD, model.rotation(x_BTD.shape[1]), documents)[0]


def _one_layer(model: ModelSpec) -> ModelSpec:
    return model.model_copy(update={"n_layers": 1})
