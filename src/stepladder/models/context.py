"""What a forward pass written by hand keeps for its backward pass: types that torch leaves out."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Context(Protocol):
    """The first argument of both passes of a `torch.autograd.Function`."""

    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple[Tensor, ...]
    """What was saved, in order; None where None was."""

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...

    def mark_non_differentiable(self, *tensors: Tensor) -> None: ...

    def set_materialize_grads(self, value: bool) -> None: ...


class AttentionContext(Context, Protocol):
    """Of `by_hand.Attention`."""

    shape: tuple[int, int, int, int, int, int, int]
    """B, T, D, H, K, C, n."""
    window: int | None


class ExpertsContext(Context, Protocol):
    """Of `experts_by_hand.MixtureOfExperts`."""

    shape: torch.Size
    """Of x."""
    weights: tuple[Tensor, Tensor, Tensor, Tensor]
    """Gain, router, gate and up, down."""


class HeadsContext(Context, Protocol):
    """Of `fused.NormAndTurn`."""

    heads: tuple[int, int]
    """Of queries, and of keys or values."""
    epsilon: float


class CopiesContext(Context, Protocol):
    """Of `experts.Dispatch`."""

    top_k: int


class ProductContext(Context, Protocol):
    """Of a product of x and a weight."""

    dtypes: tuple[torch.dtype, torch.dtype]
    """Of x and of the weight."""
