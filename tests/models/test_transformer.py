"""The whole model: counts, FLOPs, causality, positions."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stepladder.models import by_hand as by_hand_passes
from stepladder.models import experts, functional, windowed
from stepladder.models.count import count_parameters
from stepladder.models.rotary import rotate, rotation_table
from stepladder.models.transformer import Transformer
from stepladder.recipes import tst
from stepladder.record.cost import parameters, training_flops_per_position

aten = torch.ops.aten

SHAPES = {
    "dense": {},
    "tied, no QK-norm, one head": {
        "tied_embeddings": True,
        "qk_norm": False,
        "n_heads": 1,
        "n_kv_heads": 1,
        "d_head": 16,
    },
    "moe": {"architecture": "moe"},
    "moe every second layer, shared expert, top 1": {
        "architecture": "moe",
        "n_layers": 4,
        "options": {"every": 2, "n_shared_experts": 1, "top_k": 1},
    },
    "moe balanced by bias": {"architecture": "moe", "options": {"bias_rate": 0.01, "z_loss_weight": 0.001}},
    "sliding": {"architecture": "sliding", "n_layers": 4},
}


@pytest.fixture(params=list(SHAPES))
def shape(request, make_model):
    return make_model(**SHAPES[request.param])


def randomised(model_spec) -> Transformer:
    """A model whose zero-initialised projections are random, so that every part has an effect."""
    model = Transformer(model_spec, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model


def text(*shape) -> torch.Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(2))


def test_parameters_equal_the_pure_count(shape):
    counted, pure = count_parameters(Transformer(shape, seed=0)), parameters(shape).as_dict()
    assert counted == {group: pure[group] for group in counted}
    assert sum(counted.values()) == pure["total"]


def matmul_flops(*inputs, out_shape=None, **settings) -> int:
    """2 x rows x inner x columns of the last two matrices given, batched or grouped by sorted rows."""
    left, right = [shape for shape in inputs if isinstance(shape, torch.Size) and len(shape) > 1][-2:]
    return 2 * math.prod(left) * right[-1]


UNKNOWN_TO_TORCH = {op: matmul_flops for op in (aten.addmm_, aten.baddbmm_, aten._grouped_mm)}


def counted_training_flops(shape) -> int:
    """What torch counts in a forward and backward pass over 2 x 16 tokens, SDPA as its plain products."""
    model, tokens = Transformer(shape, seed=0), text(2, 16)
    counter = FlopCounterMode(display=False, custom_mapping=UNKNOWN_TO_TORCH)
    with counter, sdpa_kernel(SDPBackend.MATH):
        logits, routings = model(F.embedding(tokens, model.embedding))
        (logits.sum() + sum(routing.probability_E[0] for routing in routings)).backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("by_hand", [True, False])
def test_flops_equal_torchs_counter(shape, monkeypatch, by_hand):
    """Both compute the full square of attention, as the PaLM convention counts it without windows."""
    if shape.architecture == "sliding":
        pytest.skip("a window is less than the square: see the next test")
    for module in (functional, experts):
        monkeypatch.setattr(module, "runs_by_hand", lambda x: by_hand)
    assert counted_training_flops(shape) == 32 * training_flops_per_position(shape, 16, "palm")


def test_flops_of_the_causal_convention(shape, monkeypatch):
    """With blocks of one query only what the mask lets through is computed: (T + 1) / 2 keys on average."""
    monkeypatch.setattr(by_hand_passes, "BLOCK", 1)
    assert counted_training_flops(shape) == 32 * training_flops_per_position(shape, 16, "causal")


def test_starts_as_the_identity(shape):
    """Zero projections into the residual stream: logits are those of the embeddings alone."""
    model = Transformer(shape, seed=0)
    x = F.embedding(text(2, 16), model.embedding)
    expected = F.linear(F.rms_norm(x, x.shape[-1:], eps=1e-6), model.head)
    torch.testing.assert_close(model(x)[0], expected)


def test_seed_decides_the_weights(make_model):
    first, same, other = (Transformer(make_model(), seed) for seed in (0, 0, 1))
    assert torch.equal(first.embedding, same.embedding)
    assert not torch.equal(first.embedding, other.embedding)


def test_the_future_does_not_change_the_past(shape):
    model, tokens = randomised(shape), text(2, 16)
    changed = tokens.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 256
    before, after = (model(F.embedding(t, model.embedding))[0] for t in (tokens, changed))
    torch.testing.assert_close(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_windows_hide_what_is_further_back(make_model):
    """Two local layers of window 4 carry a change 3 positions each; a global layer carries it on."""
    local = make_model("sliding", options={"window": 4, "local_per_global": 2})
    mixed = make_model("sliding", options={"window": 4, "local_per_global": 1})
    tokens = text(1, 16)
    changed = tokens.clone()
    changed[:, 2] = (changed[:, 2] + 1) % 256
    for shape, reach in ((local, 6), (mixed, 13)):
        model = randomised(shape)
        before, after = (model(F.embedding(t, model.embedding))[0] for t in (tokens, changed))
        differs = (before - after).abs().amax((0, 2)) > 1e-6
        assert differs.nonzero().flatten().tolist() == list(range(2, 3 + reach)), shape.options


def test_flex_attention_is_the_same_window():
    """What GPUs run, uncompiled on the CPU, against a mask over the whole square."""
    from torch.nn.attention.flex_attention import flex_attention

    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, 256, 16, generator=generator) for heads in (4, 2, 2))
    flexed = flex_attention(q, k, v, block_mask=windowed.blocks(256, 70, q.device), enable_gqa=True)
    torch.testing.assert_close(flexed, functional.masked_attention(q, k, v, 70), rtol=1e-4, atol=1e-5)


def test_the_future_does_not_change_the_past_in_bags(make_model):
    """Changing the second token of bag 5 leaves the logits of bags 0 to 4 alone."""
    model, tokens = randomised(make_model()), text(2, 8, 4)
    changed = tokens.clone()
    changed[:, 5, 1] = (changed[:, 5, 1] + 1) % 256
    before, after = (model(tst.embed(model.embedding, t))[0] for t in (tokens, changed))
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5], after[:, 5])


def test_grouped_heads_equal_repeated_heads(make_model):
    """Two key heads shared by four query heads are four key heads in equal pairs."""
    grouped = randomised(make_model(n_heads=4, n_kv_heads=2))
    full = Transformer(make_model(n_heads=4, n_kv_heads=4), seed=0)
    state = grouped.state_dict()
    for name in [name for name in state if name.endswith("qkv")]:
        q, k, v = state[name].split((16, 8, 8))
        repeated = (kv.view(2, 4, -1).repeat_interleave(2, dim=0).flatten(0, 1) for kv in (k, v))
        state[name] = torch.cat((q, *repeated))
    full.load_state_dict(state)
    x = F.embedding(text(2, 16), grouped.embedding)
    torch.testing.assert_close(grouped(x)[0], full(x)[0])


def test_rotary_products_depend_on_distance_only():
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table = rotation_table(20, 8, 100.0).turn_TP2.double()
    turned_q, turned_k = (rotate(x.expand(1, 20, 1, 8), table)[0, :, 0] for x in (q, k))
    products = turned_q @ turned_k.T
    for distance in range(1, 5):
        along = products.diagonal(-distance)
        torch.testing.assert_close(along, along[0].expand_as(along), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm().expand(20), rtol=1e-6, atol=1e-6)


def test_bf16_autocast_stays_near_fp32(shape):
    model, tokens = randomised(shape), text(2, 16)
    x = F.embedding(tokens, model.embedding)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(x)[0].float()
    exact = model(x)[0]
    assert (rounded - exact).norm() < 0.05 * exact.norm()
