"""The head's cross-entropy in chunks against torch's over whole logits."""

import pytest
import torch
from torch.nn import functional as F

from stepladder.models import cross_entropy
from stepladder.models.cross_entropy import linear_cross_entropy

N, D, V = 7, 4, 5


@pytest.fixture
def inputs():
    """x (N, D) and weight (V, D) in float64."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((N, D), (V, D))
    return [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]


def chunks_of(monkeypatch, rows):
    """Let each chunk have so many positions."""
    monkeypatch.setitem(cross_entropy.CHUNK, "cpu", 1)
    monkeypatch.setattr(cross_entropy, "LEAST_ROWS", rows)


def targets(bag):
    drawn = torch.randint(V, (N, bag), generator=torch.Generator().manual_seed(1))
    drawn[0] = 2  # the same token several times in one bag
    return drawn


@pytest.mark.parametrize("rows", [1, 3, 100])
@pytest.mark.parametrize("bag", [1, 3])
def test_equals_torch_in_chunks_of_any_size(monkeypatch, inputs, bag, rows):
    chunks_of(monkeypatch, rows)
    wanted_bag = targets(bag)
    loss = linear_cross_entropy(*inputs, wanted_bag)
    logits = inputs[0] @ inputs[1].T
    plain = torch.stack([F.cross_entropy(logits, wanted_bag[:, j]) for j in range(bag)]).mean()
    torch.testing.assert_close(loss, plain)
    found, wanted = (torch.autograd.grad(3 * value, inputs) for value in (loss, plain))
    torch.testing.assert_close(found, wanted)


def test_survives_extreme_logits():
    logits = torch.tensor([[1000.0, 0.0, -1000.0]], requires_grad=True)
    loss = linear_cross_entropy(logits, torch.eye(3), torch.tensor([[2]]))
    loss.backward()
    assert loss.item() == 2000
    assert logits.grad.tolist() == [[1, 0, -1]]


def test_bf16_products_keep_fp32_softmax_and_sum():
    """Rounded inputs give what fp32 gives for the rounded inputs, but for the rounding of logits (2^-8)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 32, generator=generator).bfloat16().float().requires_grad_()
    weight = (torch.randn(300, 32, generator=generator) / 6).bfloat16().float().requires_grad_()
    drawn = torch.randint(300, (64, 2), generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = linear_cross_entropy(x, weight, drawn)
    exact = linear_cross_entropy(x, weight, drawn)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=3e-3, atol=0)
    for found, wanted in zip(*(torch.autograd.grad(v, (x, weight)) for v in (loss, exact)), strict=True):
        assert found.dtype == torch.float32
        assert (found - wanted).norm() < 0.01 * wanted.norm()


def test_logits_of_all_positions_never_exist(monkeypatch):
    """What lives through the backward pass has the sizes of input and weight, not positions x vocabulary."""
    chunks_of(monkeypatch, 2)
    x, weight = torch.randn(64, 4, requires_grad=True), torch.randn(1000, 4, requires_grad=True)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        linear_cross_entropy(x, weight, torch.zeros(64, 1, dtype=torch.int64))
    assert sum(sizes) <= 2 * (x.numel() + weight.numel()) < 64 * 1000


def test_targets_of_other_positions_are_refused(inputs):
    """Slices of a longer list would go through unnoticed."""
    with pytest.raises(ValueError, match="7 positions have targets for 9"):
        linear_cross_entropy(*inputs, torch.zeros(9, 1, dtype=torch.long))
