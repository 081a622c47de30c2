"""Passes over activations as single Triton kernels, where the code that the compiler makes reads and writes
more than once.

Each is the mathematics of a composition in `functional.py`, which is the definition: norm and rotary turn of
queries and keys, and the gate of SwiGLU. Inside they compute in fp32. Double backward is not supported.
Triton comes with a CUDA build of torch; `TRITON_INTERPRET=1` runs the kernels on a CPU.

Shapes: B batch, T positions, H query heads, K key-value heads, C head width, N = B x T tokens, F hidden
width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from stepladder.models.context import Context, HeadsContext

ROWS = 16
"""Positions of one head that a program has at once."""

BLOCK = 1024
"""Elements of a token's hidden width that a program has."""


@triton.jit  # type: ignore[untyped-decorator]
def _pairs(x, ROWS: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Even and odd columns of a tile."""
    return tl.split(tl.reshape(x, (ROWS, WIDTH // 2, 2)))


@triton.jit  # type: ignore[untyped-decorator]
def _norm_and_turn(  # type: ignore[no-untyped-def]
    qkv, gains, turn, q, k, v, N, T, EPSILON: tl.constexpr,
    H: tl.constexpr, K: tl.constexpr, C: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    head, block = tl.program_id(0) % (H + 2 * K), tl.program_id(0) // (H + 2 * K)
    position, column = block.to(tl.int64) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    inside = (position < N)[:, None] & (column < C)[None, :]
    x = tl.load(qkv + (position * (H + 2 * K) + head)[:, None] * C + column, mask=inside, other=0.0)
    z = x.to(tl.float32)
    if head < H + K:
        gain = tl.load(gains + (head >= H).to(tl.int32) * C + column, mask=column < C, other=0.0)
        y = z * tl.rsqrt(tl.sum(z * z, 1) / C + EPSILON)[:, None] * gain[None, :]
        turns = tl.load(turn + (position % T)[:, None] * C + column, mask=inside, other=0.0)
        cosine, sine = _pairs(turns, ROWS, WIDTH)
        even, odd = _pairs(y, ROWS, WIDTH)
        turned = tl.join(even * cosine - odd * sine, even * sine + odd * cosine)
        z = tl.reshape(turned, (ROWS, WIDTH))
    if head < H:
        tl.store(q + (position * H + head)[:, None] * C + column, z, mask=inside)
    elif head < H + K:
        tl.store(k + (position * K + head - H)[:, None] * C + column, z, mask=inside)
    else:
        tl.store(v + (position * K + head - H - K)[:, None] * C + column, z, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _norm_and_turn_backward(  # type: ignore[no-untyped-def]
    d_q, d_k, d_v, qkv, gains, turn, d_qkv, d_gains, N, T,
    q_b, q_t, q_h, k_b, k_t, k_h, v_b, v_t, v_h, EPSILON: tl.constexpr,
    H: tl.constexpr, K: tl.constexpr, C: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    head, block = tl.program_id(0) % (H + 2 * K), tl.program_id(0) // (H + 2 * K)
    position, column = block.to(tl.int64) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    inside = (position < N)[:, None] & (column < C)[None, :]
    b, t = position // T, position % T
    if head < H:
        d = tl.load(d_q + (b * q_b + t * q_t + head * q_h)[:, None] + column, mask=inside, other=0.0)
    elif head < H + K:
        d = tl.load(d_k + (b * k_b + t * k_t + (head - H) * k_h)[:, None] + column, mask=inside, other=0.0)
    else:
        first_v = b * v_b + t * v_t + (head - H - K) * v_h
        d = tl.load(d_v + first_v[:, None] + column, mask=inside, other=0.0)
    here = (position * (H + 2 * K) + head)[:, None] * C + column
    d_x = d.to(tl.float32)
    if head < H + K:
        turns = tl.load(turn + t[:, None] * C + column, mask=inside, other=0.0)
        cosine, sine = _pairs(turns, ROWS, WIDTH)
        even, odd = _pairs(d_x, ROWS, WIDTH)
        back = tl.join(even * cosine + odd * sine, odd * cosine - even * sine)
        d_y = tl.reshape(back, (ROWS, WIDTH))
        x = tl.load(qkv + here, mask=inside, other=0.0).to(tl.float32)
        factor = tl.rsqrt(tl.sum(x * x, 1) / C + EPSILON)[:, None]
        unit = x * factor
        sums = d_gains + (block.to(tl.int64) * (H + K) + head) * C + column
        tl.store(sums, tl.sum(d_y * unit, 0), mask=column < C)
        gain = tl.load(gains + (head >= H).to(tl.int32) * C + column, mask=column < C, other=0.0)
        d_unit = d_y * gain[None, :]
        d_x = factor * (d_unit - unit * (tl.sum(d_unit * unit, 1) / C)[:, None])
    tl.store(d_qkv + here, d_x, mask=inside)


class NormAndTurn(Function):
    """Queries (B, T, H, C), keys and values (B, T, K, C) of their projection (B, T, H + 2K, C): each head of
    queries and keys divided by its root mean square, times its gain, turned by its position's angle."""

    if TYPE_CHECKING:
        apply: Callable[[Tensor, Tensor, Tensor, Tensor, int, float], tuple[Tensor, Tensor, Tensor]]

    @staticmethod
    def forward(
        ctx: HeadsContext,
        qkv: Tensor,
        gain_q_C: Tensor,
        gain_k_C: Tensor,
        turn_TP2: Tensor,
        n_heads: int,
        epsilon: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        B, T, heads, C = qkv.shape
        N, H, K = B * T, n_heads, (heads - n_heads) // 2
        gains = torch.stack((gain_q_C, gain_k_C)).float()
        ctx.save_for_backward(qkv, gains, turn_TP2)
        ctx.heads, ctx.epsilon = (H, K), epsilon
        q, k, v = (qkv.new_empty(B, T, n, C) for n in (H, K, K))
        _norm_and_turn[(triton.cdiv(N, ROWS) * heads,)](
            qkv, gains, turn_TP2, q, k, v, N, T,
            EPSILON=epsilon, H=H, K=K, C=C, WIDTH=_power_of_two(C), ROWS=ROWS,
        )  # fmt: skip
        return q, k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: HeadsContext, d_q: Tensor, d_k: Tensor, d_v: Tensor) -> tuple[Tensor | None, ...]:
        qkv, gains, turn_TP2 = ctx.saved_tensors
        (B, T, heads, C), (H, K) = qkv.shape, ctx.heads
        d_q, d_k, d_v = (d if d.stride(-1) == 1 else d.contiguous() for d in (d_q, d_k, d_v))
        blocks = triton.cdiv(B * T, ROWS)
        d_qkv = torch.empty_like(qkv)
        d_gains = torch.empty(blocks, H + K, C, dtype=torch.float32, device=qkv.device)
        _norm_and_turn_backward[(blocks * heads,)](
            d_q, d_k, d_v, qkv, gains, turn_TP2, d_qkv, d_gains, B * T, T,
            *d_q.stride()[:3], *d_k.stride()[:3], *d_v.stride()[:3],
            EPSILON=ctx.epsilon, H=H, K=K, C=C, WIDTH=_power_of_two(C), ROWS=ROWS,
        )  # fmt: skip
        d_gain_HC = d_gains.sum(0)
        return d_qkv, d_gain_HC[:H].sum(0), d_gain_HC[H:].sum(0), None, None, None


def _power_of_two(size: int) -> int:
    """The smallest that is at least `size`: a tile's width."""
    return 1 << (size - 1).bit_length()


@triton.jit  # type: ignore[untyped-decorator]
def _gate(gate_up, hidden, F: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < F
    gate = tl.load(gate_up + token * 2 * F + column, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + token * 2 * F + F + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(hidden + token * F + column, gate * tl.sigmoid(gate) * up, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _gate_backward(  # type: ignore[no-untyped-def]
    d_hidden, gate_up, d_gate_up, F: tl.constexpr, BLOCK: tl.constexpr
):
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside, first = column < F, token * 2 * F + column
    d = tl.load(d_hidden + token * F + column, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(gate_up + first, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + first + F, mask=inside, other=0.0).to(tl.float32)
    sigmoid = tl.sigmoid(gate)
    tl.store(d_gate_up + first, d * up * sigmoid * (1 + gate * (1 - sigmoid)), mask=inside)
    tl.store(d_gate_up + first + F, d * gate * sigmoid, mask=inside)


class Gate(Function):
    """silu(gate) * up (N, F) of both as halves of one tensor (N, 2F)."""

    if TYPE_CHECKING:
        apply: Callable[[Tensor], Tensor]

    @staticmethod
    def forward(ctx: Context, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        N, F = gate_up.shape[0], gate_up.shape[1] // 2
        hidden = gate_up.new_empty(N, F)
        _gate[(N, triton.cdiv(F, BLOCK))](gate_up, hidden, F=F, BLOCK=BLOCK)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, d_hidden: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        N, F = d_hidden.shape
        d_gate_up = torch.empty_like(gate_up)
        grid = (N, triton.cdiv(F, BLOCK))
        _gate_backward[grid](d_hidden.contiguous(), gate_up, d_gate_up, F=F, BLOCK=BLOCK)
        return d_gate_up
