"""The model's operations as plain compositions of torch calls, and the choice of a faster equal.

Each function is the definition: it compiles, autocasts, runs on GPUs. On CPU in fp32, where eager
dispatch would dominate, it hands over to the same mathematics in `by_hand.py`.

Shapes: B batch, T positions, D model width, H query heads, K key-value heads, C head width,
F hidden width, N = B x T.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from stepladder.models import by_hand, windowed
from stepladder.models.float8 import linear
from stepladder.models.rotary import Rotation, rotate

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

EPSILON = 1e-6
"""Added to the mean square in every RMS norm."""

FUSED = False
"""Use the Triton kernels of `fused.py` in compiled code on GPUs. By themselves they are right and faster than
the compiler's; off until a whole step was measured and its losses compared: `benchmarks/gpu_step.py
--fused`."""

LONGEST_BY_HAND = 512
"""Positions up to which whole T x T score matrices are cheaper on CPU than SDPA's blocks."""


def runs_by_hand(x: Tensor) -> bool:
    """Whether the hand-written CPU passes apply: full precision, eager, on the CPU."""
    return (
        x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()
    )


def has_kernels(x: Tensor) -> bool:
    """Whether the passes of `fused.py` are used: asked for, compiled, on a GPU."""
    return FUSED and x.is_cuda and torch.compiler.is_compiling()


def rms_norm(x: Tensor, gain_D: Tensor, epsilon: float) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) * gain over the last dimension (arXiv 1910.07467)."""
    if runs_by_hand(x):
        return by_hand.RMSNorm.apply(x, gain_D, epsilon)
    return F.rms_norm(x, gain_D.shape, gain_D, epsilon)


def attention(
    x_BTD: Tensor,
    gain_D: Tensor,
    qkv_weight: Tensor,
    out_weight: Tensor,
    gain_q_C: Tensor | None,
    gain_k_C: Tensor | None,
    rotation: Rotation,
    epsilon: float,
    window: int | None = None,
    visible: Tensor | BlockMask | None = None,
) -> Tensor:
    """x + causal grouped-query self-attention of norm(x), with rotary positions and optional QK-norm.

    Args:
        gain_D: gain of the norm in front.
        qkv_weight: ((H + 2K) C, D), rows ordered queries, keys, values.
        out_weight: (D, H C).
        gain_q_C, gain_k_C: gains of the RMS norm of queries and keys per head; None for no norm.
        rotation: see `rotary.rotation_table`, for exactly T positions.
        window: positions that a query sees, itself included; None for all before it.
        visible: on a GPU, `windowed.blocks` of the window; within documents, what `documents.Documents`
            gives for it.
    """
    B, T = x_BTD.shape[:2]
    window = None if window is None or window >= T else window
    if T <= LONGEST_BY_HAND and runs_by_hand(x_BTD):
        return by_hand.Attention.apply(
            x_BTD,
            gain_D,
            qkv_weight,
            out_weight,
            gain_q_C,
            gain_k_C,
            *rotation,
            epsilon,
            window,
            visible,  # type: ignore[arg-type]  # no blocks on a CPU
        )
    C = 2 * rotation.turn_TP2.shape[1]
    H = out_weight.shape[1] // C
    K = (qkv_weight.shape[0] // C - H) // 2
    qkv = linear(rms_norm(x_BTD, gain_D, epsilon), qkv_weight).view(B, T, H + 2 * K, C)
    q, k, v = heads(qkv, H, gain_q_C, gain_k_C, rotation.turn_TP2, epsilon)
    o_BHTC = masked_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), window, visible)
    return x_BTD + linear(o_BHTC.transpose(1, 2).reshape(B, T, H * C), out_weight)


def heads(
    qkv: Tensor,
    n_heads: int,
    gain_q_C: Tensor | None,
    gain_k_C: Tensor | None,
    turn_TP2: Tensor,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (B, T, H, C), keys and values (B, T, K, C) of their projection (B, T, H + 2K, C), queries and
    keys normalised if there are gains, and turned."""
    n_kv_heads = (qkv.shape[2] - n_heads) // 2
    q, k, v = qkv.split((n_heads, n_kv_heads, n_kv_heads), dim=2)
    if gain_q_C is not None and gain_k_C is not None:
        if has_kernels(qkv):
            from stepladder.models.fused import NormAndTurn

            return NormAndTurn.apply(qkv, gain_q_C, gain_k_C, turn_TP2, n_heads, epsilon)
        q, k = rms_norm(q, gain_q_C.to(q.dtype), epsilon), rms_norm(k, gain_k_C.to(k.dtype), epsilon)
    return rotate(q, turn_TP2), rotate(k, turn_TP2), v


def masked_attention(
    q_BHTC: Tensor,
    k_BKTC: Tensor,
    v_BKTC: Tensor,
    window: int | None,
    visible: Tensor | BlockMask | None = None,
) -> Tensor:
    """Causal attention (B, H, T, C), over the last `window` positions if there is a window.

    A `visible` of booleans (B, T, T) is the whole mask. With blocks (on a GPU) attention goes through
    flex_attention, which skips blocks of keys that no query of a block may see. SDPA with a mask computes all
    of them, but needs no compilation: it serves the odd batches that are evaluated without.
    """
    T, grouped = q_BHTC.shape[2], q_BHTC.shape[1] != k_BKTC.shape[1]
    if window is None and visible is None:
        return F.scaled_dot_product_attention(q_BHTC, k_BKTC, v_BKTC, is_causal=True, enable_gqa=grouped)
    if isinstance(visible, Tensor):
        mask = visible.unsqueeze(1)
    elif visible is None:
        mask = windowed.mask(T, window, q_BHTC.device)
    elif torch.compiler.is_compiling() or torch.is_grad_enabled():
        return windowed.attention(q_BHTC, k_BKTC, v_BKTC, visible)
    else:
        mask = windowed.dense(visible, q_BHTC.device)
    return F.scaled_dot_product_attention(q_BHTC, k_BKTC, v_BKTC, attn_mask=mask, enable_gqa=grouped)


def swiglu(x: Tensor, gain_D: Tensor, gate_up_weight: Tensor, down_weight: Tensor, epsilon: float) -> Tensor:
    """x + (silu(h gate) * (h up)) down with h = norm(x) (Shazeer 2020, arXiv 2002.05202).

    Args:
        gate_up_weight: (2F, D), the gate's rows first.
        down_weight: (D, F).
    """
    if runs_by_hand(x):
        return by_hand.SwiGLU.apply(x, gain_D, gate_up_weight, down_weight, epsilon)
    return x + linear(gated(linear(rms_norm(x, gain_D, epsilon), gate_up_weight)), down_weight)


def gated(gate_up: Tensor) -> Tensor:
    """silu(gate) * up of the two halves of the last dimension."""
    if has_kernels(gate_up):
        from stepladder.models.fused import Gate

        return Gate.apply(gate_up.flatten(0, -2)).view(*gate_up.shape[:-1], -1)
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up
