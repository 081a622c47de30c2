"""Rotary position embedding (Su et al. 2021, arXiv 2104.09864), pairs (2i, 2i+1) of a head.

Position t turns pair i by the angle t * theta^(-2i/C), so that a query-key product depends on the
distance of the two positions only. A pair is one complex number and the turn one complex product; tables
hold real and imaginary parts, because the compiler makes no code for complex tensors.

Shapes: B batch, T positions, H heads, C head width, P = C/2 pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Unit complex numbers (T, P, 2) for the pairs of a head at each position: cosines and sines."""

    turn_TP2: Tensor
    back_TP2: Tensor
    """The turns' conjugates, which the backward pass multiplies by."""


def rotation_table(positions: int, d_head: int, theta: float) -> Rotation:
    """Turns of the first `positions` positions; angles are computed in float64."""
    frequency_P = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    angle_TP = torch.outer(torch.arange(positions, dtype=torch.float64), frequency_P)
    cosine, sine = angle_TP.cos().float(), angle_TP.sin().float()
    return Rotation(torch.stack((cosine, sine), -1), torch.stack((cosine, -sine), -1))


def rotate(x_BTHC: Tensor, turn_TP2: Tensor) -> Tensor:
    """Turn every head of x by its position's angle; written in real numbers, which compile and autocast."""
    even, odd = x_BTHC[..., 0::2], x_BTHC[..., 1::2]
    cosine, sine = (part[:, None].to(x_BTHC.dtype) for part in turn_TP2.unbind(-1))
    turned = torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1)
    return turned.flatten(-2)
