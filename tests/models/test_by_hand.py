"""The hand-written CPU passes against numerical gradients and against the plain compositions."""

import pytest
import torch

from stepladder.models import by_hand, functional
from stepladder.models.rotary import Rotation, rotation_table


@pytest.fixture
def draw():
    """Seeded normal float64 tensors that want gradients."""
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def compare(monkeypatch, function, inputs):
    """Values and gradients of `function` by hand and as plain composition, in float64."""
    results = []
    for by_hand_applies in (True, False):
        monkeypatch.setattr(functional, "runs_by_hand", lambda x, on=by_hand_applies: on)
        value = function()
        weight = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).view(value.shape)
        wanted = [x for x in inputs if x.requires_grad]
        results.append([value, *torch.autograd.grad((value * weight).sum(), wanted)])
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-9)


def attention_inputs(draw, H, K, T, qk_norm):
    B, D, C = 2, 6, 4
    rotation = Rotation(*(part.double() for part in rotation_table(T, C, 100.0)))
    gains = [draw(C), draw(C)] if qk_norm else [None, None]
    return [draw(B, T, D), draw(D), draw((H + 2 * K) * C, D), draw(D, H * C), *gains, rotation, 1e-6]


@pytest.mark.parametrize(("H", "K", "qk_norm"), [(1, 1, False), (2, 1, True), (4, 2, True), (3, 3, True)])
@pytest.mark.parametrize(("block", "window"), [(2, None), (64, None), (2, 1), (2, 3), (64, 4)])
def test_attention_gradients(draw, monkeypatch, H, K, qk_norm, block, window):
    monkeypatch.setattr(by_hand, "BLOCK", block)  # three blocks, or one that holds all positions
    inputs = attention_inputs(draw, H, K, T=6, qk_norm=qk_norm)
    *tensors, rotation, epsilon = inputs
    flat = (*tensors, *rotation, epsilon, window)
    assert torch.autograd.gradcheck(by_hand.Attention.apply, flat, fast_mode=True)


@pytest.mark.parametrize(("H", "K"), [(1, 1), (4, 2), (4, 1)])
@pytest.mark.parametrize("T", [128, 192, 7])
@pytest.mark.parametrize(("qk_norm", "window"), [(True, None), (False, None), (True, 70), (False, 3)])
def test_attention_equals_sdpa(draw, monkeypatch, H, K, T, qk_norm, window):
    inputs = attention_inputs(draw, H, K, T, qk_norm)
    tensors = [x for x in inputs[:-2] if x is not None]
    compare(monkeypatch, lambda: functional.attention(*inputs, window), tensors)


def test_swiglu(draw, monkeypatch):
    inputs = [draw(2, 3, 5), draw(5), draw(14, 5), draw(5, 7)]
    assert torch.autograd.gradcheck(by_hand.SwiGLU.apply, (*inputs, 1e-6))
    compare(monkeypatch, lambda: functional.swiglu(*inputs, 1e-6), inputs)


def test_rms_norm(draw, monkeypatch):
    inputs = [draw(2, 3, 5), draw(5)]
    assert torch.autograd.gradcheck(by_hand.RMSNorm.apply, (*inputs, 1e-6))
    compare(monkeypatch, lambda: functional.rms_norm(*inputs, 1e-6), inputs)
