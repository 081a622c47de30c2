"""Forward and backward passes written by hand, for CPUs.

At ladder widths (d_model below about 100) an eager step on a CPU is bound by the number of tensor
operations and by moving intermediate results, not by arithmetic. These functions do the same
mathematics with fewer of both:

- one autograd node per sublayer, buffers reused in place, the residual added by the last product;
- norm gains folded into the (small) weights instead of multiplied onto the (large) activations;
- row sums as matrix-vector products, the rotary turn as one complex product;
- attention as batched products over blocks of queries and the keys they may see, which at some hundred
  positions beats the SDPA kernel twofold, backward above all.

`functional.py` holds the plain composition of each: the definition, used everywhere else, and what the
tests compare with. Double backward is not supported.

Shapes: N tokens (= B batch x T positions), D model width, H query heads, K key-value heads,
G = H / K, C head width, n blocks of t queries each (n t = T), F hidden width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from stepladder.models.context import AttentionContext, Context

BLOCK = 64
"""Queries per attention block: smaller ones skip more of the masked half, larger ones need fewer calls."""


@lru_cache
def _averager(width: int, dtype: torch.dtype) -> Tensor:
    """Vector (width,) whose product with a row is the row's mean; faster than a reduction of short rows."""
    return torch.full((width,), 1 / width, dtype=dtype)


@lru_cache
def _offset(epsilon: float, dtype: torch.dtype) -> Tensor:
    """Epsilon as the vector that `addmv` adds to each mean."""
    return torch.full((1,), epsilon, dtype=dtype)


def normalise(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """x divided by its root mean square over the last dimension, and the factor (..., 1) that did it."""
    width = x.shape[-1]
    square = torch.mul(x, x).view(-1, width)
    mean = torch.addmv(_offset(epsilon, x.dtype), square, _averager(width, x.dtype))
    factor = mean.rsqrt_().view(*x.shape[:-1], 1)
    return x * factor, factor


def normalise_backward(d_unit: Tensor, unit: Tensor, factor: Tensor, out: Tensor | None = None) -> Tensor:
    """Gradient of `normalise` with respect to x. Overwrites `d_unit`."""
    width = unit.shape[-1]
    mean = torch.mv((d_unit * unit).view(-1, width), _averager(width, unit.dtype)).view(factor.shape)
    return torch.mul(d_unit.addcmul_(unit, mean, value=-1), factor, out=out)


def project_backward(
    d_z: Tensor, unit: Tensor, gain_D: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of z = (unit * gain) weight.T: of unit, gain and weight."""
    d_folded = torch.mm(d_z.t(), unit)
    d_gain_D = (d_folded * weight).sum(0)
    return torch.mm(d_z, weight * gain_D), d_gain_D, d_folded.mul_(gain_D)


class RMSNorm(Function):
    """x / rms(x) * gain over the last dimension."""

    if TYPE_CHECKING:
        apply: Callable[[Tensor, Tensor, float], Tensor]

    @staticmethod
    def forward(ctx: Context, x: Tensor, gain_D: Tensor, epsilon: float) -> Tensor:
        unit, factor = normalise(x, epsilon)
        ctx.save_for_backward(unit, factor, gain_D)
        return unit * gain_D

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, d_y: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, factor, gain_D = ctx.saved_tensors
        d_gain_D = (d_y * unit).flatten(0, -2).sum(0)
        return normalise_backward(d_y * gain_D, unit, factor), d_gain_D, None


class Attention(Function):
    """x + causal grouped-query self-attention of norm(x); see `functional.attention`."""

    if TYPE_CHECKING:
        apply: Callable[
            [
                Tensor,
                Tensor,
                Tensor,
                Tensor,
                Tensor | None,
                Tensor | None,
                Tensor,
                Tensor,
                float,
                int | None,
                Tensor | None,
            ],
            Tensor,
        ]

    @staticmethod
    def forward(
        ctx: AttentionContext,
        x_BTD: Tensor,
        gain_D: Tensor,
        qkv_weight: Tensor,
        out_weight: Tensor,
        gain_q_C: Tensor | None,
        gain_k_C: Tensor | None,
        turn_TP2: Tensor,
        back_TP2: Tensor,
        epsilon: float,
        window: int | None = None,
        visible_BTT: Tensor | None = None,
    ) -> Tensor:
        B, T, D = x_BTD.shape
        C = 2 * turn_TP2.shape[1]
        H = out_weight.shape[1] // C
        K = (qkv_weight.shape[0] // C - H) // 2
        n = T // BLOCK if T % BLOCK == 0 else 1
        t, G = T // n, H // K
        x_ND = x_BTD.reshape(-1, D)
        unit, factor = normalise(x_ND, epsilon)
        qkv = torch.mm(unit, (qkv_weight * gain_D).t()).view(B, T, H + 2 * K, C)
        qk, qk_unit, qk_factor, qk_gain = qkv[:, :, : H + K], None, None, None
        if gain_q_C is not None:
            qk_gain = torch.cat((gain_q_C.expand(H, C), gain_k_C.expand(K, C)))  # type: ignore[union-attr]  # as gain_q_C
            qk_unit, qk_factor = normalise(qk, epsilon)
            qk = qk_unit * qk_gain
        q = x_ND.new_empty(n, B, K, G, t, C)
        k = x_ND.new_empty(B, K, T, C)
        # Queries carry the factor of the scores, so that the products below need none.
        turn_TP, back_TP = torch.view_as_complex(turn_TP2), torch.view_as_complex(back_TP2)
        scaled_TP = turn_TP * C**-0.5
        _turn(qk[:, :, :H].view(B, n, t, K, G, C), scaled_TP.view(n, t, 1, 1, -1), _rows(q))
        _turn(qk[:, :, H:], turn_TP.unsqueeze(1), k.transpose(1, 2))
        v = qkv[:, :, H + K :].transpose(1, 2).contiguous()
        q, k, v = q.view(n, B * K, G * t, C), k.view(B * K, T, C), v.view(B * K, T, C)
        o = torch.empty_like(q)
        probabilities = []
        for i in range(n):
            seen = _seen(i, t, window)
            p = torch.bmm(q[i], k[:, seen].transpose(1, 2))
            _hide(p, seen, t, window, G, visible_BTT)
            torch.softmax(p, -1, out=p)
            torch.bmm(p, v[:, seen], out=o[i])
            probabilities.append(p)
        o_ND = _rows(o.view(n, B, K, G, t, C)).reshape(B * T, H * C)
        saved = (unit, factor, gain_D, qkv_weight, out_weight, qk_unit, qk_factor, qk_gain, back_TP)
        ctx.save_for_backward(*saved, q, k, v, o_ND, *probabilities)
        ctx.shape, ctx.window = (B, T, D, H, K, C, n), window
        return torch.addmm(x_ND, o_ND, out_weight.t()).view(B, T, D)

    @staticmethod
    @once_differentiable
    def backward(ctx: AttentionContext, d_y: Tensor) -> tuple[Tensor | None, ...]:
        unit, factor, gain_D, qkv_weight, out_weight, *rest = ctx.saved_tensors
        qk_unit, qk_factor, qk_gain, back_TP, q, k, v, o_ND, *probabilities = rest
        B, T, D, H, K, C, n = ctx.shape
        t, G = T // n, H // K
        d_y = d_y.reshape(-1, D)
        d_out_weight = torch.mm(d_y.t(), o_ND)
        d_o = torch.mm(d_y, out_weight).view(B, n, t, K, G, C).permute(1, 0, 3, 4, 2, 5).reshape(q.shape)
        d_q = torch.empty_like(q)
        new = torch.empty_like if ctx.window is None else torch.zeros_like
        d_k, d_v = new(k), new(v)
        for i in reversed(
            range(n)
        ):  # without a window the last block sees all keys: it writes, the others add
            seen, p = _seen(i, t, ctx.window), probabilities[i]
            d_s = torch.bmm(d_o[i], v[:, seen].transpose(1, 2))
            torch._softmax_backward_data(d_s, p, -1, p.dtype, grad_input=d_s)
            torch.bmm(d_s, k[:, seen], out=d_q[i])
            if i == n - 1 and ctx.window is None:
                torch.bmm(p.transpose(1, 2), d_o[i], out=d_v)
                torch.bmm(d_s.transpose(1, 2), q[i], out=d_k)
            else:  # baddbmm_ into a part would run one product per head
                d_v[:, seen] += torch.bmm(p.transpose(1, 2), d_o[i])
                d_k[:, seen] += torch.bmm(d_s.transpose(1, 2), q[i])

        d_qkv = unit.new_empty(B, T, H + 2 * K, C)
        d_qk = d_qkv[:, :, : H + K] if qk_gain is None else unit.new_empty(B, T, H + K, C)
        d_q_BntKGC = d_qk[:, :, :H].view(B, n, t, K, G, C)
        scaled_TP = back_TP * C**-0.5
        _turn(_rows(d_q.view(n, B, K, G, t, C)), scaled_TP.view(n, t, 1, 1, -1), d_q_BntKGC)
        _turn(d_k.view(B, K, T, C).transpose(1, 2), back_TP.unsqueeze(1), d_qk[:, :, H:])
        d_qkv[:, :, H + K :] = d_v.view(B, K, T, C).transpose(1, 2)
        d_gain_q = d_gain_k = None
        if qk_gain is not None:
            d_gain = (d_qk * qk_unit).view(B * T, -1).sum(0).view(H + K, C)
            d_gain_q, d_gain_k = d_gain[:H].sum(0), d_gain[H:].sum(0)
            normalise_backward(d_qk.mul_(qk_gain), qk_unit, qk_factor, out=d_qkv[:, :, : H + K])
        d_unit, d_gain_D, d_qkv_weight = project_backward(d_qkv.view(B * T, -1), unit, gain_D, qkv_weight)
        d_x = normalise_backward(d_unit, unit, factor).add_(d_y).view(B, T, D)
        return d_x, d_gain_D, d_qkv_weight, d_out_weight, d_gain_q, d_gain_k, None, None, None, None, None


def _rows(q_nBKGtC: Tensor) -> Tensor:
    """View of block-major queries as (B, n, t, K, G, C): the order of the residual stream."""
    return q_nBKGtC.permute(1, 0, 4, 2, 3, 5)


def _turn(x: Tensor, turn: Tensor, out: Tensor) -> None:
    """Multiply pairs of x, taken as complex numbers, by `turn`, into `out` (any layout)."""
    torch.mul(x.view(turn.dtype), turn, out=out.view(turn.dtype))


def _seen(block: int, t: int, window: int | None) -> slice:
    """Keys that any query of a block of t may see."""
    return slice(0 if window is None else max(0, block * t - window + 1), (block + 1) * t)


def _hide(p: Tensor, seen: slice, t: int, window: int | None, G: int, visible_BTT: Tensor | None) -> None:
    """Take keys that queries must not see out of scores (B K, G t, seen), whose queries are the last t of
    `seen`."""
    if visible_BTT is not None:
        hidden_Bts = ~visible_BTT[:, seen.stop - t : seen.stop, seen]
        p.view(len(hidden_Bts), -1, *hidden_Bts.shape[1:]).masked_fill_(
            hidden_Bts.unsqueeze(1), float("-inf")
        )
        return
    # without a window all earlier blocks are visible: only the last t columns hide something
    masked = slice(-t, None) if window is None else slice(None)
    p[:, :, masked] += _mask(t, seen.stop - p[0, :, masked].shape[1], seen.stop, window, G, p.dtype)


@lru_cache
def _mask(t: int, start: int, end: int, window: int | None, G: int, dtype: torch.dtype) -> Tensor:
    """Additive mask (G t, end - start) of the t queries before `end`, for keys from `start`, G heads
    stacked."""
    distance = torch.arange(end - t, end)[:, None] - torch.arange(start, end)
    hidden = (distance < 0) | (distance >= (window or end))
    return torch.zeros(t, end - start, dtype=dtype).masked_fill_(hidden, float("-inf")).repeat(G, 1)


class SwiGLU(Function):
    """x + (silu(h gate) * (h up)) down with h = norm(x); `gate_up` (2F, D) holds both halves.

    It is used as two products, because the elementwise part is twice as fast on contiguous halves.
    """

    if TYPE_CHECKING:
        apply: Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]

    @staticmethod
    def forward(
        ctx: Context,
        x: Tensor,
        gain_D: Tensor,
        gate_up_weight: Tensor,
        down_weight: Tensor,
        epsilon: float,
    ) -> Tensor:
        x_ND = x.reshape(-1, x.shape[-1])
        unit, factor = normalise(x_ND, epsilon)
        gate_weight, up_weight = (gate_up_weight * gain_D).chunk(2)
        gate, up = torch.mm(unit, gate_weight.t()), torch.mm(unit, up_weight.t())
        silu = F.silu(gate)
        hidden = silu * up
        ctx.save_for_backward(unit, factor, gain_D, gate_up_weight, down_weight, gate, up, silu, hidden)
        return torch.addmm(x_ND, hidden, down_weight.t()).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, d_y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        unit, factor, gain_D, gate_up_weight, down_weight, gate, up, silu, hidden = ctx.saved_tensors
        shape, d_y = d_y.shape, d_y.reshape(unit.shape)
        d_down_weight = torch.mm(d_y.t(), hidden)
        d_hidden = torch.mm(d_y, down_weight)
        d_up = silu * d_hidden
        d_gate = torch.ops.aten.silu_backward(d_hidden.mul_(up), gate)
        d_folded = torch.empty_like(gate_up_weight)
        for half, d_half in zip(d_folded.chunk(2), (d_gate, d_up), strict=True):
            torch.mm(d_half.t(), unit, out=half)
        gate_weight, up_weight = (gate_up_weight * gain_D).chunk(2)
        d_unit = torch.mm(d_gate, gate_weight).addmm_(d_up, up_weight)
        d_gain_D = (d_folded * gate_up_weight).sum(0)
        d_x = normalise_backward(d_unit, unit, factor).add_(d_y).view(shape)
        return d_x, d_gain_D, d_folded.mul_(gain_D), d_down_weight, None
