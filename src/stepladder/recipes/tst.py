"""Token Superposition Training (Peng, Gigant, Quesnelle 2026, arXiv 2605.06546, section 3).

For the first fraction r of the steps the text is cut into bags of s neighbouring tokens. A bag
enters as the mean of its embeddings and predicts the next bag by multi-hot cross-entropy (mass
1/s on each token). The rest is ordinary next-token training of the same weights, in the same
optimizer run and schedule. Architecture and inference do not change.

The paper does not say what becomes of bags where documents meet. With attention within documents a bag is of
one document (`stepladder.models.documents`): the mean is over its tokens of that document, and the mass 1/m
on each of the m tokens of the next bag that still are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from stepladder.record.kinds import PhaseShape
from stepladder.schema import ranges
from stepladder.schema.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from stepladder.models.documents import Documents
    from stepladder.models.transformer import Transformer


class Config(Settings):
    """Settings under `recipes: tst:` of a ladder file."""

    bag_size: Annotated[int, ranges.BAG_SIZE] = Field(ge=1)
    """s: tokens per bag. The paper finds 3 to 16 useful, larger for larger models."""
    superposed_fraction: float = Field(ge=0, lt=1)
    """r: share of the steps that are superposed. Near-optimal between 0.2 and 0.4."""
    superpose: Literal["length", "batch"] = "length"
    """Where the s-fold tokens of a superposed step come from. `length` (as published): windows s
    times as long, so that the transformer sees the usual number of positions. `batch`: s times as
    many windows of the usual length, each seen as sequence_length / s positions."""


def phases(config: Config, sequence_length: int, sequences: int) -> list[PhaseShape]:
    """The superposed phase and the recovery phase.

    Raises:
        ValueError: `superpose: batch` and s does not divide the sequence length.
    """
    s, r = config.bag_size, config.superposed_fraction
    recovery = PhaseShape("next_token", 1 - r, 1, sequences, sequence_length)
    if r == 0:
        return [recovery]
    if config.superpose == "length":
        return [PhaseShape("superposed", r, s, sequences, sequence_length), recovery]
    if sequence_length % s:
        divisors = [d for d in range(2, sequence_length + 1) if sequence_length % d == 0]
        raise ValueError(
            f"bag_size {s} does not divide sequence_length {sequence_length}, which `superpose: batch` "
            f"needs: use a divisor ({', '.join(map(str, divisors[:6]))}, ...) or `superpose: length`"
        )
    return [PhaseShape("superposed", r, s, sequences * s, sequence_length // s), recovery]


def embed(weight_VD: Tensor, tokens_BTS: Tensor, documents: Documents | None = None) -> Tensor:
    """Bags of token ids (B, T, S) to the means of their embeddings (B, T, D), summed in fp32."""
    from torch.nn import functional as F

    if tokens_BTS.shape[-1] == 1:
        return F.embedding(tokens_BTS[..., 0], weight_VD)
    tokens_NS = tokens_BTS.flatten(0, 1)
    if documents is None:
        bags_ND = F.embedding_bag(tokens_NS, weight_VD, mode="mean")
    else:
        read_NS = documents.read_BTS.flatten(0, 1).to(weight_VD.dtype)
        bags_ND = F.embedding_bag(tokens_NS, weight_VD, mode="sum", per_sample_weights=read_NS)
        bags_ND = bags_ND / read_NS.sum(1, keepdim=True)
    return bags_ND.view(*tokens_BTS.shape[:2], -1)


def loss(
    model: Transformer, x_BTD: Tensor, targets_BTS: Tensor, heads: None, documents: Documents | None = None
) -> Tensor:
    """Multi-hot cross-entropy in nats: the mean over each target bag of ordinary cross-entropies."""
    mass_BTS = None if documents is None else documents.target_mass_BTL
    return model.cross_entropy(x_BTD, targets_BTS, mass_BTS=mass_BTS)
