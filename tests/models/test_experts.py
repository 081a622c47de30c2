"""The mixture of experts against a loop over tokens, and its router's numbers by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from stepladder.models import experts

N, D, E, WIDTH = 10, 8, 4, 8


@pytest.fixture
def weights():
    """x (B, T, D), gain, router, gate_up, down: float32, so that grouped products exist."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, N // 2, D), (D,), (E, D), (E, 2 * WIDTH, D), (E, D, WIDTH)]
    return [torch.randn(*shape, generator=generator).requires_grad_() for shape in shapes]


def mixture_of_experts(*args):
    """Output and routing by names."""
    y, routing = experts.mixture_of_experts(*args)
    return y, experts.Routing(*routing)


def loop_over_tokens(x, gain, router, gate_up, down, top_k, bias):
    """One token at a time: the definition. Returns what the experts add, balance loss and z-loss."""
    rows, probabilities, load, squares = [], [], torch.zeros(E, dtype=x.dtype), []
    for token in x.reshape(-1, D):
        h = token / (token.square().mean() + 1e-6).sqrt() * gain
        probability = (router @ h).softmax(0)
        squares.append((router @ h).logsumexp(0) ** 2)
        chosen = (probability + bias).argsort(descending=True)[:top_k].tolist()
        total = probability[chosen].sum() if top_k > 1 else 1
        row = 0
        for expert in chosen:
            gate, up = (gate_up[expert] @ h).chunk(2)
            row = row + probability[expert] / total * (down[expert] @ (F.silu(gate) * up))
            load[expert] += 1 / (N * top_k)
        rows.append(row)
        probabilities.append(probability)
    balance = E * (load * torch.stack(probabilities).mean(0)).sum()
    return torch.stack(rows).view(x.shape), balance, torch.stack(squares).mean()


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize(("top_k", "bias"), [(1, None), (2, None), (3, None), (2, [0.0, 5.0, 0.0, 0.1])])
def test_equals_a_loop_over_tokens(weights, monkeypatch, top_k, bias, by_hand):
    """A bias of 5 sends every token to expert 1, which changes the choice and not the gates."""
    monkeypatch.setattr(experts, "runs_by_hand", lambda x: by_hand)
    bias_E = None if bias is None else torch.tensor(bias)
    y, routing = mixture_of_experts(*weights, top_k, 1e-6, bias_E)
    exact = [w.detach().double().requires_grad_() for w in weights]
    y_loop, balance_loop, z_loop = loop_over_tokens(*exact, top_k, 0 if bias_E is None else bias_E.double())
    torch.testing.assert_close(routing.z_loss.double(), z_loop, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(y.double(), y_loop, rtol=1e-4, atol=1e-5)
    balance = experts.balance_loss(routing.probability_E, routing.load_E)
    torch.testing.assert_close(balance.double(), balance_loop, rtol=1e-5, atol=1e-6)
    weight = torch.linspace(-1, 1, y.numel()).view(y.shape)
    losses, exact_losses = (3 * balance + routing.z_loss, 3 * balance_loop + z_loop)
    found = torch.autograd.grad((y * weight).sum() + losses, weights)
    expected = torch.autograd.grad((y_loop * weight.double()).sum() + exact_losses, exact)
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient.double(), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("by_hand", [True, False])
def test_dropless_under_total_imbalance(weights, monkeypatch, by_hand):
    """All tokens to expert 2: it takes them all, at any capacity; the loss is E, its maximum."""
    monkeypatch.setattr(experts, "runs_by_hand", lambda x: by_hand)
    x, gain, _, gate_up, down = weights
    x = x.detach().abs() + 0.1
    router = torch.zeros(E, D)
    router[2] = 100.0
    y, routing = mixture_of_experts(x, gain.abs(), router, gate_up, down, 1, 1e-6)
    assert routing.load_E.tolist() == [0, 0, 1, 0]
    assert experts.balance_loss(routing.probability_E, routing.load_E).item() == pytest.approx(E, rel=1e-5)
    assert routing.entropy.item() == pytest.approx(0, abs=1e-5)
    h = F.rms_norm(x, (D,), gain.abs(), 1e-6)
    gate, up = (h @ gate_up[2].T).chunk(2, -1)
    torch.testing.assert_close(y, (F.silu(gate) * up) @ down[2].T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("by_hand", [True, False])
def test_undecided_router(weights, monkeypatch, by_hand):
    """Equal probabilities: entropy log E, and the balance loss is 1 whatever the ties give."""
    monkeypatch.setattr(experts, "runs_by_hand", lambda x: by_hand)
    x, gain, _, gate_up, down = weights
    _, routing = mixture_of_experts(x, gain, torch.zeros(E, D), gate_up, down, 2, 1e-6)
    assert experts.balance_loss(routing.probability_E, routing.load_E).item() == pytest.approx(1)
    assert routing.entropy.item() == pytest.approx(math.log(E))
    assert routing.load_E.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("by_hand", [True, False])
def test_halves_of_a_batch_average_to_the_whole(weights, monkeypatch, by_hand):
    """With the whole batch's load, the mean over ranks of balance losses and gradients is the whole's."""
    monkeypatch.setattr(experts, "runs_by_hand", lambda x: by_hand)
    x, *shared = weights
    routing = mixture_of_experts(x, *shared, 2, 1e-6)[1]
    whole = experts.balance_loss(routing.probability_E, routing.load_E)
    halves = [mixture_of_experts(half, *shared, 2, 1e-6)[1] for half in x.split(1)]
    mean = torch.stack([experts.balance_loss(half.probability_E, routing.load_E) for half in halves]).mean()
    torch.testing.assert_close(mean, whole)
    wanted, found = (torch.autograd.grad(loss, (x, *shared[:2]), retain_graph=True) for loss in (whole, mean))
    for gradient, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_balance_loss_by_hand():
    """Mean probabilities of two experts, all to expert 0: 2 * (1 * 0.75 + 0 * 0.25)."""
    probability = torch.tensor([0.75, 0.25])
    assert experts.balance_loss(probability, torch.tensor([1.0, 0.0])).item() == pytest.approx(1.5)
