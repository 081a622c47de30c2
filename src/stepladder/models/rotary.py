"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864), pairs (2i, 2i+1) of a head.

Position t turns pair i by the angle t * theta^(-2i/C), so that a query-key product depends on the
distance of the two positions only. A pair is one complex number and the turn one complex product.

Shapes: B batch, T positions, H heads, C head width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_table(positions: int, d_head: int, theta: float) -> Tensor:
    """Unit complex numbers (T, C/2): the turn of pair i at position t. Computed in float64."""
    frequency_C = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    angle_TC = torch.outer(torch.arange(positions, dtype=torch.float64), frequency_C)
    return torch.polar(torch.ones_like(angle_TC), angle_TC).to(torch.complex64)


def rotate(x_BTHC: Tensor, rotation_TC: Tensor) -> Tensor:
    """Turn every head of x by its position's angle; written in real numbers, which compile and autocast."""
    even, odd = x_BTHC[..., 0::2], x_BTHC[..., 1::2]
    cosine, sine = (part[:, None].to(x_BTHC.dtype) for part in (rotation_TC.real, rotation_TC.imag))
    turned = torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1)
    return turned.flatten(-2)
