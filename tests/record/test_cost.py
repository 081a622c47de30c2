"""Counts derived by hand. tests/models compares them with torch modules and torch's FLOP counter."""

import pytest

from stepladder.record.cost import attended_positions, parameters, training_flops_per_position
from stepladder.record.spec import ModelSpec

DENSE = ModelSpec(
    architecture="dense",
    n_layers=2,
    d_model=8,
    n_heads=4,
    n_kv_heads=2,
    d_head=2,
    d_ff=24,
    vocab_size=16,
    sequence_length=5,
    tied_embeddings=False,
    qk_norm=True,
    rope_theta=1e4,
    options={},
)


def test_parameters_by_hand():
    count = parameters(DENSE)
    assert count.embedding == count.head == 16 * 8
    # per layer: q 8x8, k 8x4, v 8x4, o 8x8
    assert count.attention == 2 * (64 + 32 + 32 + 64)
    assert count.feed_forward_active == count.feed_forward_total == 2 * 3 * 8 * 24
    # per layer: two norms of 8, QK-norm gains of 2 for q and k; final norm of 8
    assert count.norms == 2 * (8 + 8 + 2 + 2) + 8
    assert count.total == count.active == 128 + 128 + 384 + 1152 + 48


def test_tied_head_is_stored_once_and_computed_all_the_same():
    tied = DENSE.model_copy(update={"tied_embeddings": True})
    assert parameters(tied).total == parameters(DENSE).total - 128
    assert training_flops_per_position(tied) == training_flops_per_position(DENSE)


def test_flops_by_hand():
    matrices = 384 + 1152 + 8 * 16
    scores = 2 * 4 * 2  # 2 FLOPs x heads x head width, per attended position
    causal = 2 * matrices + 2 * 2 * scores * 3  # (5 + 1) / 2 = 3 positions on average; scores and values
    palm = 2 * matrices + 2 * 2 * scores * 5
    assert training_flops_per_position(DENSE) == 3 * causal
    assert training_flops_per_position(DENSE, convention="palm") == 3 * palm


def test_palm_convention_is_palms_formula():
    """6N + 12 L H Q T (arXiv 2204.02311, appendix B), N without the embedding and the norms."""
    n = 384 + 1152 + 8 * 16
    assert training_flops_per_position(DENSE, convention="palm") == 6 * n + 12 * 2 * 4 * 2 * 5


def test_experts_by_hand():
    moe = DENSE.model_copy(
        update={
            "architecture": "moe",
            "options": {"n_experts": 6, "top_k": 2, "n_shared_experts": 1, "d_expert": 5, "every": 2},
        }
    )
    count = parameters(moe)  # layer 0 dense, layer 1 MoE
    assert count.feed_forward_active == 3 * 8 * 24 + (2 + 1) * 3 * 8 * 5
    assert count.feed_forward_total == 3 * 8 * 24 + (6 + 1) * 3 * 8 * 5
    assert count.router == 8 * 6
    assert count.total - count.active == 4 * 3 * 8 * 5


def test_positions_that_a_window_lets_through():
    """Five positions, window 3: 1, 2, 3, 3, 3."""
    assert attended_positions(5, 3, "causal") == 12 / 5
    assert attended_positions(5, 3, "palm") == 3
    assert attended_positions(5, None, "causal") == attended_positions(5, 9, "causal") == 3
    assert attended_positions(5, 9, "palm") == 5


def test_flops_of_interleaved_windows_by_hand():
    """One local layer that sees 2.4 positions in the mean, one global layer that sees 3."""
    options = {"window": 3, "local_per_global": 1}
    sliding = DENSE.model_copy(update={"architecture": "sliding", "options": options})
    assert parameters(sliding) == parameters(DENSE)
    scores = 2 * 4 * 2
    saved = 3 * 2 * scores * (3 - 12 / 5)
    assert training_flops_per_position(sliding) == pytest.approx(training_flops_per_position(DENSE) - saved)
