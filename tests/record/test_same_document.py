"""How much attention within documents computes: expected from their lengths, against counting it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepladder.models.documents import Documents, mask
from stepladder.record.cost import training_flops
from stepladder.record.same_document import SameDocument, attention_flops, chances, within_documents

END = 1


def of_lengths(lengths: list[int], most: int) -> SameDocument:
    longer = np.array([sum(length > k for length in lengths) for k in range(most)])
    return SameDocument(chances(longer, sum(lengths)))


def test_the_chance_by_hand():
    """Documents of 3 and 1 tokens: 4 tokens, of which 2 have one of theirs before them, 1 the one before."""
    assert of_lengths([3, 1], 4).chance.tolist() == [1, 0.5, 0.25, 0, 0]


def test_attended_positions_by_hand():
    """In windows of 2 the first position sees itself, the second half of the time another one."""
    same = of_lengths([3, 1], 4)
    assert same.counting(1).attended(2, None) == (1 + 1.5) / 2
    assert same.counting(1).attended(2, 1) == 1
    assert same.counting(2).attended(2, None) == (1 + 1.25) / 2


def test_one_long_document_is_causal_attention(make_run):
    spec = make_run("sliding", "multi_token")
    found = within_documents(spec, of_lengths([10**9], 64))
    assert found.attention_share == pytest.approx(1)
    assert found.flops == pytest.approx(training_flops(spec.model, spec.recipe))


@settings(max_examples=30, derandomize=True)
@given(
    st.lists(st.integers(1, 12), min_size=8, max_size=20),
    st.integers(1, 3),
    st.sampled_from([None, 2, 3]),
)
def test_it_is_the_mean_over_all_windows(lengths, bag_size, window):
    """Of a text that is a ring, so that a window may begin at any of its tokens, as a token of the end."""
    positions = 4
    lengths = [*lengths, 12]
    text = torch.cat([torch.tensor([0] * (n - 1) + [END]) for n in lengths])
    span = positions * bag_size
    rows = torch.stack([text.roll(-start)[: span + 1] for start in range(len(text))])
    inputs = rows[:, :span].view(len(rows), positions, bag_size)
    documents = Documents.of(inputs, rows[:, -1:, None].expand(-1, positions, 1), END)
    seen = mask(documents.number_BT, window or positions).sum(-1).double().mean().item()
    assert of_lengths(lengths, span).counting(bag_size).attended(positions, window) == pytest.approx(seen)


def test_flops_are_those_of_the_share(make_run):
    """The superposed phase sees further apart tokens, so less of its documents."""
    spec, same = make_run(recipe="tst"), of_lengths([20] * 9, 64)
    found = within_documents(spec, same)
    left = training_flops(spec.model, spec.recipe) - (1 - found.attention_share) * attention_flops(spec)
    assert found.flops == pytest.approx(left)
    ordinary = within_documents(make_run(), same)
    assert found.attention_share < ordinary.attention_share < 1
    causal = (1 + 16) / 2
    assert ordinary.attention_share == pytest.approx(same.counting(1).attended(16, None) / causal)
