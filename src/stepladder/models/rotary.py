"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864), pairs (2i, 2i+1) of a head.

Position t turns pair i by the angle t * theta^(-2i/C), so that a query-key product depends on the
distance of the two positions only. A pair is one complex number and the turn one complex product.

Shapes: B batch, T positions, H heads, C head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Unit complex numbers (T, C/2) for the pairs of a head at each position."""

    turn_TC: Tensor
    back_TC: Tensor
    """The turns' conjugates, which the backward pass multiplies by."""


def rotation_table(positions: int, d_head: int, theta: float) -> Rotation:
    """Turns of the first `positions` positions; angles are computed in float64."""
    frequency_C = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    angle_TC = torch.outer(torch.arange(positions, dtype=torch.float64), frequency_C)
    turn_TC = torch.polar(torch.ones_like(angle_TC), angle_TC).to(torch.complex64)
    return Rotation(turn_TC, turn_TC.conj().resolve_conj())


def rotate(x_BTHC: Tensor, turn_TC: Tensor) -> Tensor:
    """Turn every head of x by its position's angle; written in real numbers, which compile and autocast."""
    even, odd = x_BTHC[..., 0::2], x_BTHC[..., 1::2]
    cosine, sine = (part[:, None].to(x_BTHC.dtype) for part in (turn_TC.real, turn_TC.imag))
    turned = torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1)
    return turned.flatten(-2)
