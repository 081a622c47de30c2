"""Attention within documents: which document each position of a batch is of, and which others it sees.

As an input, end of document opens the document that follows it: what predicts a document's first token sees
nothing else. As a target, it ends the document before it. So ordinary training keeps every target.

A bag of several tokens is of the document of its last token, which is the one that goes on after it. Of its
tokens those of this document are read, and of its targets those count that come before the document's end,
that end included: the first always.

Shapes: B sequences, T positions, S tokens per bag, L targets per position.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from stepladder.models import windowed

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


@dataclass(frozen=True, eq=False)
class Documents:
    """Where documents lie in a batch."""

    number_BT: Tensor
    """Document of each position, counted from the beginning of its window."""
    read_BTS: Tensor
    """Which tokens of its bag are of the position's document; the last always."""
    target_BTL: Tensor
    """Which of its targets are; the first always."""
    _visible: dict[int, Tensor | BlockMask] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs_BTS: Tensor, targets_BTL: Tensor, end_of_document: int) -> Documents:
        """Find them by the id of the token that ends each."""
        number_BTS = (inputs_BTS == end_of_document).flatten(1).cumsum(1).view_as(inputs_BTS)
        number_BT = number_BTS[..., -1]
        ends_BTL = targets_BTL == end_of_document
        return cls(
            number_BT=number_BT,
            read_BTS=number_BTS == number_BT.unsqueeze(-1),
            target_BTL=ends_BTL.cumsum(-1) - ends_BTL.long() == 0,
        )

    @property
    def target_mass_BTL(self) -> Tensor:
        """Mass of each target of a position: equal ones for those of the document, 0 for others."""
        return self.target_BTL / self.target_BTL.sum(-1, keepdim=True)

    def visible(self, window: int | None) -> Tensor | BlockMask:
        """What positions see of their document in a layer with this window: boolean (B, T, T), or blocks for
        flex_attention where a GPU computes gradients. Made once for all layers that are alike."""
        T = self.number_BT.shape[1]
        reach = T if window is None else min(window, T)
        if reach not in self._visible:
            make = blocks if goes_in_blocks(self.number_BT.device) else mask
            self._visible[reach] = make(self.number_BT, reach)
        return self._visible[reach]


def goes_in_blocks(device: torch.device) -> bool:
    """Whether to go through flex_attention, which is compiled: not to score, where some batches are odd."""
    return device.type == "cuda" and torch.is_grad_enabled()


def mask(number_BT: Tensor, window: int) -> Tensor:
    """Which keys each query sees: boolean (B, T, T)."""
    same_BTT = number_BT.unsqueeze(2) == number_BT.unsqueeze(1)
    return same_BTT & windowed.mask(number_BT.shape[1], window, number_BT.device)


def blocks(number_BT: Tensor, window: int) -> BlockMask:
    """Which blocks of keys each block of queries sees, for `windowed.attention`.

    To be called outside compiled code, once per batch: no compilation of a layer is bound to one batch.
    """

    def visible(batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        near = (query >= key) & (query - key < window)
        return near & (number_BT[batch, query] == number_BT[batch, key])

    B, T = number_BT.shape
    found: BlockMask = _create_blocks(number_BT.is_cuda)(visible, B, None, T, T, device=str(number_BT.device))
    return found


@lru_cache
def _create_blocks(compiled: bool) -> Any:
    """Uncompiled, it would hold all T x T pairs of every sequence."""
    from torch.nn.attention.flex_attention import create_block_mask

    return torch.compile(create_block_mask, dynamic=False) if compiled else create_block_mask
