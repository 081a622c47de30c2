"""Reading text piece by piece: keys and values of what was read are kept, so that it is read once.

The same mathematics as `Transformer.trunk` (a test compares them). Several sequences are read together; the
shorter ones are padded at their right ends, and what follows a piece sees none of the padding.

Shapes: B sequences, T positions of a piece, S positions kept before it, D model width, H query heads,
K key-value heads, C head width, P pairs of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stepladder.models.float8 import linear
from stepladder.models.functional import EPSILON, heads, rms_norm
from stepladder.models.transformer import Attention, Transformer


@dataclass(frozen=True)
class Cache:
    """What a model keeps of text that it has read."""

    keys: tuple[Tensor, ...]
    """By layer (B, K, S, C)."""
    values: tuple[Tensor, ...]
    """By layer (B, K, S, C)."""
    position_BS: Tensor
    """Position of each in its sequence; -1 for padding, which nothing sees."""

    @property
    def next_B(self) -> Tensor:
        """Position of what follows."""
        return self.position_BS.amax(1) + 1

    def rows(self, index_N: Tensor) -> Cache:
        """The sequences of these numbers, each as often as it is named."""
        return Cache(
            tuple(k[index_N] for k in self.keys),
            tuple(v[index_N] for v in self.values),
            self.position_BS[index_N],
        )


def read(
    model: Transformer, tokens_BT: Tensor, lengths_B: Tensor, before: Cache | None = None
) -> tuple[Tensor, Cache]:
    """Read a piece of each sequence.

    Args:
        lengths_B: tokens of each piece; those after them are padding.
        before: what was read before it; None at the beginning.

    Returns:
        The trunk's output (B, T, D), of no meaning at padding; and what is kept now.

    Raises:
        ValueError: a sequence becomes longer than the model's context.
    """
    place_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
    first_B = torch.zeros_like(lengths_B) if before is None else before.next_B
    if int((first_B + lengths_B).max()) > len(model.turn_TP2):
        raise ValueError(
            f"a sequence is longer than the model's context of {len(model.turn_TP2):,} positions"
        )
    position_BT = first_B[:, None] + place_T
    turn_NP2 = model.turn_TP2[position_BT.clamp(max=len(model.turn_TP2) - 1).flatten()]
    own_BT = torch.where(place_T < lengths_B[:, None], position_BT, -1)
    key_BS = own_BT if before is None else torch.cat((before.position_BS, own_BT), 1)
    x_BTD = F.embedding(tokens_BT, model.embedding)
    keys, values = [], []
    for number, layer in enumerate(model.layers):
        kept = None if before is None else (before.keys[number], before.values[number])
        x_BTD, k, v = _attend(layer.attention, x_BTD, turn_NP2, position_BT, key_BS, kept)
        x_BTD, _ = layer.feed_forward(x_BTD)
        keys.append(k)
        values.append(v)
    return x_BTD, Cache(tuple(keys), tuple(values), key_BS)


def _attend(
    part: Attention,
    x_BTD: Tensor,
    turn_NP2: Tensor,
    position_BT: Tensor,
    key_BS: Tensor,
    kept: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """x and what attention adds to it; keys and values of all that is kept now."""
    B, T = position_BT.shape
    C = 2 * turn_NP2.shape[1]
    H = part.out.shape[1] // C
    # positions differ between sequences: all of them as one long sequence, whose turns do not
    qkv = linear(rms_norm(x_BTD, part.gain, EPSILON), part.qkv).view(1, B * T, -1, C)
    q, k, v = (
        t.view(B, T, -1, C).transpose(1, 2)
        for t in heads(qkv, H, part.gain_q, part.gain_k, turn_NP2, EPSILON)
    )
    if kept is not None:
        k, v = torch.cat((kept[0], k), 2), torch.cat((kept[1], v), 2)
    whole = kept is None and (part.window is None or part.window >= T)  # padding comes after all that counts
    mask = None if whole else visible(position_BT, key_BS, part.window)
    o_BHTC = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=whole, enable_gqa=q.shape[1] != k.shape[1]
    )
    return x_BTD + linear(o_BHTC.transpose(1, 2).reshape(B, T, H * C), part.out), k, v


def visible(position_BT: Tensor, key_BS: Tensor, window: int | None) -> Tensor:
    """Which keys each query sees (B, 1, T, S): those at its position and before, within the window; and its
    own, which is among the last T.

    For padding this is all that it sees: a row without any key could be NaN, and reach others by its value.
    """
    T, S = position_BT.shape[1], key_BS.shape[1]
    distance_BTS = position_BT[:, :, None] - key_BS[:, None, :]
    seen_BTS = (distance_BTS >= 0) & (key_BS[:, None, :] >= 0)
    if window is not None:
        seen_BTS &= distance_BTS < window
    place_S = torch.arange(S, device=key_BS.device)
    seen_BTS |= place_S == place_S[S - T :, None]
    return seen_BTS[:, None]


def head_logits(model: Transformer, x_ND: Tensor) -> Tensor:
    """Logits (N, V) of the trunk's output, in float32 whatever the precision of the rest: those of bf16 are
    off by up to 0.4 %, more than many choices differ by."""
    h_ND = rms_norm(x_ND, model.gain, EPSILON)
    with torch.autocast(x_ND.device.type, enabled=False):
        return F.linear(h_ND.float(), model.head.float())


def log_probabilities(model: Transformer, x_ND: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each target in nats (N,), in float32; and whether it is the likeliest token (N,).

    Args:
        x_ND: the trunk's output where each is predicted.
    """
    rows = max(1, LOGITS // len(model.head))
    nats, likeliest = [], []
    for x, target in zip(x_ND.split(rows), target_N.split(rows), strict=True):
        logits_NV = head_logits(model, x)
        own = logits_NV.gather(1, target[:, None])[:, 0]
        nats.append(own - logits_NV.logsumexp(-1))
        likeliest.append(own == logits_NV.amax(-1))
    return torch.cat(nats), torch.cat(likeliest)


LOGITS = 2**25
"""Logits that are held at a time: 128 MB."""
