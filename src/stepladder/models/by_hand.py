"""Forward and backward passes written by hand, for small shapes on CPU.

At ladder widths (d_model below about 100) an eager step is bound by the number of tensor
operations, not by arithmetic: autograd records dozens of small operations per layer, each of which
costs more to dispatch than to compute. These functions do the same mathematics in about a third
of the operations: one node per layer part, buffers reused in place, the rotary turn as one complex
product, attention as batched products over whole sequences (which beats the blocked SDPA kernel at
some hundred positions). `functional.py` holds the plain composition of each, used everywhere else
and compared in the tests.

Shapes: N tokens (= B batch x T positions), D model width, H query heads, K key-value heads,
G = H / K, C head width, F hidden width, E experts, M = N x top_k routed tokens, V vocabulary, S bag.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F


def _inverse_rms(x: Tensor, epsilon: float) -> Tensor:
    """1 / root mean square over the last dimension, kept as size 1."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()


class RMSNorm(Function):
    """x / rms(x) * gain over the last dimension."""

    @staticmethod
    def forward(ctx, x, gain_D, epsilon):
        inverse = _inverse_rms(x, epsilon)
        unit = x * inverse
        ctx.save_for_backward(unit, inverse, gain_D)
        return unit * gain_D

    @staticmethod
    def backward(ctx, d_y):
        unit, inverse, gain_D = ctx.saved_tensors
        d_gain_D = (d_y * unit).flatten(0, -2).sum(0)
        d_unit = d_y * gain_D
        mean = (d_unit * unit).mean(-1, keepdim=True)
        return d_unit.addcmul_(unit, mean, value=-1).mul_(inverse), d_gain_D, None


class Attention(Function):
    """Causal grouped-query self-attention, projections included; see `functional.attention`."""

    @staticmethod
    def forward(ctx, x_BTD, qkv_weight, out_weight, gain_q_C, gain_k_C, rotation_TC, epsilon):
        B, T, D = x_BTD.shape
        C = 2 * rotation_TC.shape[1]
        H = out_weight.shape[1] // C
        K = (qkv_weight.shape[0] // C - H) // 2
        x_ND = x_BTD.view(-1, D)
        qkv = torch.mm(x_ND, qkv_weight.t()).view(B, T, H + 2 * K, C)
        qk, unit, inverse, gain = qkv[:, :, : H + K], None, None, None
        if gain_q_C is not None:
            inverse = _inverse_rms(qk, epsilon)
            unit = qk * inverse
            gain = torch.cat((gain_q_C.expand(H, C), gain_k_C.expand(K, C)))
            qk = unit * gain
        turn_T1C = rotation_TC.unsqueeze(1)
        q = x_ND.new_empty(B, H, T, C)
        k = x_ND.new_empty(B, K, T, C)
        scale = C**-0.5
        _turn(qk[:, :, :H], turn_T1C * scale, q.transpose(1, 2))
        _turn(qk[:, :, H:], turn_T1C, k.transpose(1, 2))
        v = qkv[:, :, H + K :].transpose(1, 2).contiguous()
        q, k, v = q.view(B * K, -1, C), k.view(B * K, T, C), v.view(B * K, T, C)
        p = torch.baddbmm(_causal_mask(T, H // K, x_ND), q, k.transpose(1, 2))
        torch.softmax(p, -1, out=p)
        o_ND = torch.bmm(p, v).view(B, H, T, C).transpose(1, 2).reshape(B * T, H * C)
        ctx.save_for_backward(x_ND, qkv_weight, out_weight, unit, inverse, gain, turn_T1C, q, k, v, p, o_ND)
        ctx.shape = (B, T, D, H, K, C)
        return torch.mm(o_ND, out_weight.t()).view(B, T, D)

    @staticmethod
    def backward(ctx, d_y):
        x_ND, qkv_weight, out_weight, unit, inverse, gain, turn_T1C, q, k, v, p, o_ND = ctx.saved_tensors
        B, T, D, H, K, C = ctx.shape
        d_y = d_y.reshape(-1, D)
        d_out_weight = torch.mm(d_y.t(), o_ND)
        d_o = torch.mm(d_y, out_weight).view(B, T, H, C).transpose(1, 2).reshape(B * K, -1, C)
        d_v = torch.bmm(p.transpose(1, 2), d_o)
        d_s = torch.bmm(d_o, v.transpose(1, 2))
        torch._softmax_backward_data(d_s, p, -1, p.dtype, grad_input=d_s)
        d_q = torch.bmm(d_s, k).view(B, H, T, C).transpose(1, 2)
        d_k = torch.bmm(d_s.transpose(1, 2), q).view(B, K, T, C).transpose(1, 2)

        d_qkv = x_ND.new_empty(B, T, H + 2 * K, C)
        d_qk = d_qkv[:, :, : H + K] if gain is None else x_ND.new_empty(B, T, H + K, C)
        back_T1C = turn_T1C.conj().resolve_conj()
        _turn(d_q, back_T1C * C**-0.5, d_qk[:, :, :H])
        _turn(d_k, back_T1C, d_qk[:, :, H:])
        d_gain_q = d_gain_k = None
        if gain is not None:
            product = d_qk * unit
            d_gain = product.view(B * T, -1).sum(0).view(H + K, C)
            d_gain_q, d_gain_k = d_gain[:H].sum(0), d_gain[H:].sum(0)
            mean = product.mul_(gain).mean(-1, keepdim=True)
            d_unit = d_qk.mul_(gain).addcmul_(unit, mean, value=-1)
            torch.mul(d_unit, inverse, out=d_qkv[:, :, : H + K])
        d_qkv[:, :, H + K :] = d_v.view(B, K, T, C).transpose(1, 2)
        d_qkv = d_qkv.view(B * T, -1)
        d_x = torch.mm(d_qkv, qkv_weight).view(B, T, D)
        return d_x, torch.mm(d_qkv.t(), x_ND), d_out_weight, d_gain_q, d_gain_k, None, None


def _turn(x, turn, out) -> None:
    """Multiply pairs of x, taken as complex numbers, by `turn`, into `out` (any layout)."""
    pairs_x, pairs_out = (torch.view_as_complex(t.unflatten(-1, (-1, 2))) for t in (x, out))
    torch.mul(pairs_x, turn, out=pairs_out)


_masks: dict[tuple, Tensor] = {}


def _causal_mask(T: int, G: int, like: Tensor) -> Tensor:
    """Additive mask (G*T, T) for G query heads stacked over the positions of one key head; cached."""
    key = (T, G, like.dtype)
    if key not in _masks:
        _masks[key] = like.new_full((T, T), float("-inf")).triu_(1).repeat(G, 1)
    return _masks[key]


class SwiGLU(Function):
    """(silu(x gate) * (x up)) down; `gate_up` (2F, D) holds both halves, used as two products because
    the elementwise part is twice as fast on contiguous halves."""

    @staticmethod
    def forward(ctx, x, gate_up_weight, down_weight):
        x_ND = x.reshape(-1, x.shape[-1])
        gate_weight, up_weight = gate_up_weight.chunk(2)
        gate, up = torch.mm(x_ND, gate_weight.t()), torch.mm(x_ND, up_weight.t())
        silu = F.silu(gate)
        hidden = silu * up
        ctx.save_for_backward(x_ND, gate_up_weight, down_weight, gate, up, silu, hidden)
        return torch.mm(hidden, down_weight.t()).view(x.shape)

    @staticmethod
    def backward(ctx, d_y):
        x_ND, gate_up_weight, down_weight, gate, up, silu, hidden = ctx.saved_tensors
        shape, d_y = d_y.shape, d_y.reshape(x_ND.shape)
        d_down_weight = torch.mm(d_y.t(), hidden)
        d_hidden = torch.mm(d_y, down_weight)
        d_up = silu * d_hidden
        d_gate = torch.ops.aten.silu_backward(d_hidden.mul_(up), gate)
        d_weight = torch.empty_like(gate_up_weight)
        d_gate_weight, d_up_weight = d_weight.chunk(2)
        torch.mm(d_gate.t(), x_ND, out=d_gate_weight)
        torch.mm(d_up.t(), x_ND, out=d_up_weight)
        gate_weight, up_weight = gate_up_weight.chunk(2)
        d_x = torch.mm(d_gate, gate_weight).addmm_(d_up, up_weight)
        return d_x.view(shape), d_weight, d_down_weight


class CrossEntropy(Function):
    """Mean over N of logsumexp(z) - mean_S z[target]; the gradient is formed while z is in the cache."""

    @staticmethod
    def forward(ctx, logits_NV, targets_NS):
        p_NV = torch.softmax(logits_NV, -1)
        # logsumexp from the largest logit and its probability, which cannot underflow
        logsumexp_N = logits_NV.amax(-1).sub_(p_NV.amax(-1).log_())
        hit_N = logits_NV.gather(1, targets_NS).mean(1)
        N, S = targets_NS.shape
        ctx.save_for_backward(p_NV.scatter_add_(1, targets_NS, p_NV.new_full((1, 1), -1 / S).expand(N, S)))
        return logsumexp_N.sub_(hit_N).mean()

    @staticmethod
    def backward(ctx, d_loss):
        (d_NV,) = ctx.saved_tensors
        return d_NV * (d_loss / d_NV.shape[0]), None
