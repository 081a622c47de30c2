"""Held-out loss by domain: next-token prediction on every held-out token once.

Windows of `sequence_length` tokens do not overlap; each predicts the token after each of its positions.
Evaluation has no effect on training: no gradients, no random numbers, no state. Ranks take turns at the
batches of windows; their number changes only the order of a float64 sum.

Shapes: B windows, T positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from stepladder.data.batches import Validation
from stepladder.training.trainer import Trainer

POSITIONS_PER_BATCH = {"cpu": 2**12, "cuda": 2**15}
"""On a CPU enough to be bound by arithmetic, and small enough for a core's cache at ladder widths."""


Batch = tuple[Tensor, Tensor]
"""Inputs and targets, each (B, T)."""


class DomainLoss(NamedTuple):
    """Score of one domain."""

    nats_per_token: float
    bits_per_byte: float


def target_loss(losses: dict[str, DomainLoss], weights: dict[str, float]) -> DomainLoss:
    """Mean over domains by the ladder's weights, which sum to 1: what laws are fitted to."""
    return DomainLoss(
        sum(weight * losses[domain].nats_per_token for domain, weight in weights.items()),
        sum(weight * losses[domain].bits_per_byte for domain, weight in weights.items()),
    )


def evaluate(trainer: Trainer, held_out: Validation) -> DomainLoss:
    """Score one domain: every token but the first is predicted once."""
    tokens = torch.from_numpy(held_out.tokens).to(trainer.device)
    nats = torch.zeros((), dtype=torch.float64, device=trainer.device)
    length = trainer.spec.model.sequence_length
    rows = max(1, POSITIONS_PER_BATCH[trainer.device.type] // length)
    batches = list(windows(tokens, length, rows))
    for (inputs_BT, targets_BT), counts in turns(trainer, batches):
        # what is left over at the end is of other shapes: not worth compilations of its own
        odd = trainer.compiled and inputs_BT.shape != (rows, length)
        stance = torch.compiler.set_stance("force_eager") if odd else nullcontext()
        with torch.no_grad(), trainer.autocast(), stance:
            loss, _ = trainer.objective(inputs_BT.unsqueeze(-1), targets_BT.unsqueeze(-1))
        if counts:
            nats += loss.double() * targets_BT.numel()
    nats_per_token = trainer.ranks.sum_(nats).item() / (len(tokens) - 1)
    return DomainLoss(nats_per_token, bits_per_byte(nats_per_token, len(tokens), held_out.bytes))


def turns(trainer: Trainer, batches: list[Batch]) -> Iterator[tuple[Batch, bool]]:
    """This rank's batches, and whether each counts.

    With sharded weights every rank has to take part in every pass: one without a batch repeats the last.
    """
    world = trainer.ranks.world
    for first in range(0, len(batches), world.size):
        own = first + world.rank
        if own < len(batches) or trainer.sharding.shards:
            yield batches[min(own, len(batches) - 1)], own < len(batches)


def bits_per_byte(nats_per_token: float, tokens: int, n_bytes: int) -> float:
    """Bits that the model needs per byte of text: comparable across tokenizers."""
    return nats_per_token * tokens / (n_bytes * math.log(2))


def windows(tokens: Tensor, sequence_length: int, rows: int) -> Iterator[Batch]:
    """Batches (inputs, targets) of up to `rows` windows, each (B, T); what is left at the end is one shorter
    window."""
    whole = (len(tokens) - 1) // sequence_length
    inputs = tokens[: whole * sequence_length].view(whole, sequence_length)
    targets = tokens[1 : whole * sequence_length + 1].view(whole, sequence_length)
    if whole:
        yield from zip(inputs.split(rows), targets.split(rows), strict=True)
    if rest := (len(tokens) - 1) % sequence_length:
        yield tokens[-rest - 1 : -1][None], tokens[-rest:][None]
