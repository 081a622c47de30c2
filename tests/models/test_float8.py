"""FP8 layers against fp32, on the CPU's own FP8 products."""

import pytest
import torch
from torch.nn import functional as F

from stepladder.models import float8


@pytest.fixture
def inputs():
    """x (2, 32, 48) and weight (64, 48) of different magnitudes."""
    generator = torch.Generator().manual_seed(0)
    x = 30 * torch.randn(2, 32, 48, generator=generator)
    weight = 0.02 * torch.randn(64, 48, generator=generator)
    return x.requires_grad_(), weight.requires_grad_()


def test_values_and_gradients_are_near_fp32(inputs):
    """e4m3 has 3 bits after the leading one: 2^-4 per factor, less in sums; e5m2 has 2."""
    plain = F.linear(*inputs)
    with float8.enabled():
        found = float8.linear(*inputs)
    assert found.dtype == torch.bfloat16
    assert 0.005 < (found - plain).norm() / plain.norm() < 0.06
    weight = torch.linspace(-1, 1, plain.numel()).view(plain.shape)
    wanted = torch.autograd.grad((plain * weight).sum(), inputs)
    for gradient, expected in zip(torch.autograd.grad((found * weight).sum(), inputs), wanted, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - expected).norm() / expected.norm() < 0.1


def test_outside_the_block_and_for_odd_sizes_it_is_torchs(inputs):
    x, weight = inputs
    assert torch.equal(float8.linear(x, weight), F.linear(x, weight))
    with float8.enabled():
        assert torch.equal(float8.linear(x[:, :31], weight), F.linear(x[:, :31], weight))


def test_scale_fills_the_range():
    x8, scale = float8.quantise(torch.tensor([[0.0, -896.0, 7.0]]), torch.float8_e4m3fn)
    assert scale.item() == 2
    assert x8.float().tolist() == [[0, -448, 3.5]]
