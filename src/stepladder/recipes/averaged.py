"""Next-token training at constant learning rate, whose model is a mean of its weights along the last steps.

The mean takes the place of a cooldown (Izmailov et al. 2018, arXiv 1803.05407; along language models Hägele
et al. 2024, arXiv 2405.18392, section 4): beside `baseline` it asks what cooling down is worth. What is
scored, and saved at the end, is the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

from pydantic import Field

from stepladder.record.kinds import PhaseShape
from stepladder.schema import ranges
from stepladder.schema.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from stepladder.models.documents import Documents
    from stepladder.models.transformer import Transformer

    class Options(TypedDict):
        """`Config`, resolved."""

        share: float
        snapshots: int
        weights: Literal["equal", "exponential"]
        half_life: float


DECAYS = False
"""The learning rate stays at its peak after warmup, whatever `optimizer.decay_fraction` says."""


class Config(Settings):
    """Settings under `recipes: averaged:` of a ladder file."""

    share: Annotated[float, ranges.PART] = 0.2
    """Share of the steps, the last ones, along which weights are averaged."""
    snapshots: Annotated[int, ranges.SNAPSHOTS] = Field(default=16, ge=1)
    """How many weights the mean is of, evenly spaced; the last is that of the last step."""
    weights: Literal["equal", "exponential"] = "equal"
    """How much each counts: all the same, or the later ones more (an exponential moving average)."""
    half_life: Annotated[float, ranges.PART] = 0.25
    """With exponential weights: share of the stretch after which a snapshot counts half."""


# The three that follow are those of `baseline`. They are not imported: a recipe's fingerprint is of its own
# file, and a change there would go unnoticed here.


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


def snapshots(options: Options, steps: int) -> dict[int, float]:
    """Steps after which weights are taken into the mean, and how far it then moves towards them.

    After the k-th the mean is that of k weights: moving by 1/k gives equal ones, by (1 - d) / (1 - d^k)
    exponential ones with the ratio d from each to the one before.
    """
    stretch = max(1, round(options["share"] * steps))
    count = min(options["snapshots"], stretch)
    d = 1.0 if options["weights"] == "equal" else 0.5 ** (1 / (options["half_life"] * count))
    moves = {}
    for k in range(1, count + 1):
        step = steps - round((count - k) * stretch / count)
        moves[step] = 1 / k if d == 1 else (1 - d) / (1 - d**k)
    return moves
