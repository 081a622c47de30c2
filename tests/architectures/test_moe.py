"""Shapes and counts of the MoE architecture."""

import pytest
from pydantic import ValidationError

from stepladder.architectures import dense, moe
from stepladder.models.feed_forward import MixtureOfExperts, SwiGLU


def test_default_experts_have_the_dense_layers_active_size(make_model):
    options = moe.resolve(moe.Config(n_experts=8, top_k=2, n_shared_experts=2), d_ff=16)
    assert options["d_expert"] == 4
    active = moe.count_feed_forward(make_model("moe", options=options), 0).active
    assert active == dense.count_feed_forward(make_model(), 0).active


def test_width_that_does_not_divide():
    with pytest.raises(ValueError, match="d_ff 16 does not divide among 3 active experts"):
        moe.resolve(moe.Config(top_k=3), d_ff=16)


def test_more_choices_than_experts():
    with pytest.raises(ValidationError, match="top_k 3 is more than n_experts 2"):
        moe.Config(n_experts=2, top_k=3)


def test_interleaved_layers(make_model):
    model = make_model("moe", n_layers=4, options={"every": 2})
    built = [type(moe.build_feed_forward(model, layer)) for layer in range(4)]
    assert built == [SwiGLU, MixtureOfExperts, SwiGLU, MixtureOfExperts]
