"""Token superposition on a case small enough to work out by hand."""

import math

import pytest
import torch

from stepladder.models import cross_entropy
from stepladder.models.cross_entropy import linear_cross_entropy
from stepladder.recipes import baseline, tst

# One sequence, two positions, bags of two tokens, three words in the vocabulary.
LOGITS = [[[math.log(1.0), math.log(2.0), math.log(5.0)], [0.0, 0.0, 0.0]]]
TARGETS = torch.tensor([[[0, 2], [1, 1]]])
BY_HAND = ((-math.log(1 / 8) - math.log(5 / 8)) / 2 + math.log(3)) / 2
"""Position 1: probabilities 1/8, 2/8, 5/8, targets 0 and 2. Position 2: uniform over three words."""


@pytest.mark.parametrize("rows", [1, 2])
def test_loss_and_gradient(monkeypatch, rows):
    """One position per chunk, or both at once."""
    monkeypatch.setitem(cross_entropy.CHUNK, "cpu", 1)
    monkeypatch.setattr(cross_entropy, "LEAST_ROWS", rows)
    logits = torch.tensor(LOGITS[0], dtype=torch.float64, requires_grad=True)
    loss = linear_cross_entropy(logits, torch.eye(3, dtype=torch.float64), TARGETS[0])
    loss.backward()
    assert loss.item() == pytest.approx(BY_HAND)
    # (probability - share of the target mass) / positions
    first = [(1 / 8 - 1 / 2) / 2, (2 / 8) / 2, (5 / 8 - 1 / 2) / 2]
    second = [(1 / 3) / 2, (1 / 3 - 1) / 2, (1 / 3) / 2]
    torch.testing.assert_close(logits.grad, torch.tensor([first, second], dtype=torch.float64))


def test_embedding_is_the_mean_of_the_bag():
    weight = torch.tensor([[0.0, 0.0], [2.0, 4.0], [6.0, -2.0]], requires_grad=True)
    x = tst.embed(weight, torch.tensor([[[1, 2], [0, 0]]]))
    assert x.tolist() == [[[4.0, 1.0], [0.0, 0.0]]]
    x.sum().backward()
    assert weight.grad.tolist() == [[1.0, 1.0], [0.5, 0.5], [0.5, 0.5]]


def test_bags_of_one_are_embedded_as_the_baseline_does():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(256, 8, generator=generator)
    tokens = torch.randint(256, (2, 6, 1), generator=generator)
    assert torch.equal(tst.embed(weight, tokens), baseline.embed(weight, tokens))


def test_large_bags_equal_many_single_losses():
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(12, 8, generator=generator), torch.randn(256, 8, generator=generator)
    targets = torch.randint(256, (12, 8), generator=generator)
    singles = [linear_cross_entropy(x, weight, targets[:, j : j + 1]) for j in range(8)]
    torch.testing.assert_close(linear_cross_entropy(x, weight, targets), torch.stack(singles).mean())
