"""Sliding-window attention: a query at position t sees positions t - window + 1 to t.

Shapes: B batch, T positions, H query heads, K key-value heads, C head width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask


@lru_cache
def mask(T: int, window: int, device: torch.device) -> Tensor:
    """Which keys each query sees: boolean (T, T)."""
    distance = torch.arange(T, device=device)[:, None] - torch.arange(T, device=device)
    return (distance >= 0) & (distance < window)


def attention(q_BHTC: Tensor, k_BKTC: Tensor, v_BKTC: Tensor, visible: BlockMask) -> Tensor:
    """Attention within the window by flex_attention, whose kernel visits only blocks that hold a visible key.

    Args:
        visible: what `blocks` gave.
    """
    from torch.nn.attention.flex_attention import flex_attention

    grouped = q_BHTC.shape[1] != k_BKTC.shape[1]
    flex = flex_attention if torch.compiler.is_compiling() else _compiled()
    return flex(q_BHTC, k_BKTC, v_BKTC, block_mask=visible, enable_gqa=grouped)  # type: ignore[operator, no-any-return]  # plain or compiled


@lru_cache
def _compiled() -> Callable[..., Tensor]:
    """Uncompiled, flex_attention would hold all T x T scores."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


@lru_cache
def blocks(T: int, window: int, device: torch.device) -> BlockMask:
    """Which blocks of keys each block of queries sees, for `attention`.

    To be called outside compiled code, which would make it anew, from all T x T pairs, in every layer.
    """
    from torch.nn.attention.flex_attention import create_block_mask

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (query - key < window)

    return create_block_mask(visible, None, None, T, T, device=str(device))


def dense(visible: BlockMask, device: torch.device) -> Tensor:
    """What `blocks` of any kind let through, as booleans (B, 1, T, T); B is 1 if all sequences are alike."""
    from torch.nn.attention.flex_attention import create_mask

    B, _, *lengths = visible.shape
    return create_mask(visible.mask_mod, B, None, *lengths, device=str(device))  # type: ignore[misc]  # two lengths
