"""Linear layers whose products run in FP8 (Hopper and later), with dynamic scales, one per tensor.

Inputs and weights are rounded to e4m3, gradients to e5m2 (Micikevicius et al. 2022, arXiv 2209.05433, section
3), each scaled by its largest magnitude so that it fills the format's range. Sums are kept in fp32 by the
hardware; results are bf16. Attention, norms, routers, experts and the head stay as they are in bf16.

Shapes: N positions, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from stepladder.models.context import ProductContext

ALIGNMENT = 16
"""Both widths of a weight must be multiples of it, and so must the positions: the hardware's tiles."""

_enabled = False


@contextmanager
def enabled() -> Iterator[None]:
    """Let `linear` use FP8 within the block, the backward pass of what was computed there included."""
    global _enabled
    before, _enabled = _enabled, True
    try:
        yield
    finally:
        _enabled = before


def linear(x: Tensor, weight_OI: Tensor) -> Tensor:
    """x (..., I) times weight.T, in FP8 within `enabled`, else as torch does it.

    Sizes that the hardware's tiles do not divide are computed in bf16.
    """
    fits = all(size % ALIGNMENT == 0 for size in (*weight_OI.shape, x.shape[:-1].numel()))
    if not (_enabled and fits):
        return F.linear(x, weight_OI)
    with torch.autocast(x.device.type, enabled=False):
        return Float8Linear.apply(x.flatten(0, -2), weight_OI).view(*x.shape[:-1], -1)


class Float8Linear(Function):
    """x weight.T; see `linear`."""

    if TYPE_CHECKING:
        apply: Callable[[Tensor, Tensor], Tensor]

    @staticmethod
    def forward(ctx: ProductContext, x_NI: Tensor, weight_OI: Tensor) -> Tensor:
        x8, x_scale = quantise(x_NI, torch.float8_e4m3fn)
        weight8, weight_scale = quantise(weight_OI, torch.float8_e4m3fn)
        ctx.save_for_backward(x8, x_scale, weight8, weight_scale)
        ctx.dtypes = (x_NI.dtype, weight_OI.dtype)
        return product(x8, weight8.t(), x_scale, weight_scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: ProductContext, d_y_NO: Tensor) -> tuple[Tensor, Tensor]:
        x8, x_scale, weight8, weight_scale = ctx.saved_tensors
        d_y8, d_scale = quantise(d_y_NO, torch.float8_e5m2)
        d_x = product(d_y8, column_major(weight8), d_scale, weight_scale)
        d_weight = product(d_y8.t().contiguous(), column_major(x8), d_scale, x_scale)
        return d_x.to(ctx.dtypes[0]), d_weight.to(ctx.dtypes[1])


def quantise(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x in FP8, and the fp32 factor that undoes its scaling."""
    scale = x.abs().amax().float().clamp_(min=1e-12) / torch.finfo(dtype).max
    return (x / scale).to(dtype), scale


def column_major(x: Tensor) -> Tensor:
    """The same matrix, columns contiguous, as the second factor of an FP8 product must be."""
    return x.t().contiguous().t()


def product(a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor) -> Tensor:
    """a b in bf16; a is row-major, b column-major."""
    return torch._scaled_mm(a, b, scale_a=a_scale, scale_b=b_scale, out_dtype=torch.bfloat16)
