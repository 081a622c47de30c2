"""Attention within documents: what a position sees, in plain, hand-written and block-wise form."""

import pytest
import torch
from torch.nn import functional as F

from stepladder.models import functional, windowed
from stepladder.models.cross_entropy import linear_cross_entropy
from stepladder.models.documents import Documents, blocks, mask
from stepladder.models.transformer import Transformer

END = 255
SHAPES = {
    "dense": ("dense", {}),
    "moe": ("moe", {}),
    "sliding": ("sliding", {"window": 5, "local_per_global": 1}),
}


def documents_of(text, bag_size=1, targets=1) -> Documents:
    """Of one window, given as a list of tokens with those after it."""
    tokens = torch.tensor([text])
    length = (tokens.shape[1] - targets) // bag_size * bag_size
    inputs = tokens[:, :length].view(1, -1, bag_size)
    return Documents.of(inputs, tokens[:, bag_size:].unfold(1, targets, bag_size)[:, : inputs.shape[1]], END)


def drawn(batch, length, share=0.1, seed=0) -> torch.Tensor:
    """Text in which that share of the tokens end documents."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(END, (batch, length), generator=generator)
    return tokens.masked_fill_(torch.rand(batch, length, generator=generator) < share, END)


def test_end_of_document_opens_the_next_one_as_input_and_ends_its_own_as_target():
    found = documents_of([1, 2, END, 3, 4, END, 5])
    assert found.number_BT.tolist() == [[0, 0, 1, 1, 1, 2]]
    assert found.read_BTS.all() and found.target_BTL.all()


def test_bags_are_of_the_document_of_their_last_token():
    # bags: 1 2 | E 3 | 4 E | 5 6 with targets E 3 | 4 E | 5 6 | 7 E
    found = documents_of([1, 2, END, 3, 4, END, 5, 6, 7, END], bag_size=2, targets=2)
    assert found.number_BT.tolist() == [[0, 1, 2, 2]]
    assert found.read_BTS.tolist() == [[[True, True], [True, True], [False, True], [True, True]]]
    assert found.target_BTL.tolist() == [[[True, False], [True, True], [True, True], [True, True]]]
    assert found.target_mass_BTL.tolist() == [[[1, 0], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]]


def test_further_targets_count_until_the_document_ends():
    found = documents_of([1, 2, 3, END, 4, 5, 6], targets=3)
    assert found.target_BTL.tolist() == [
        [[True, True, True], [True, True, False], [True, False, False], [True, True, True]]
    ]


@pytest.mark.parametrize("window", [1, 4, 20])
def test_the_mask_by_definition(window):
    number = (drawn(3, 20) == END).cumsum(1)
    found = mask(number, window)
    for b, q, k in torch.cartesian_prod(torch.arange(3), torch.arange(20), torch.arange(20)).tolist():
        assert found[b, q, k] == (0 <= q - k < window and number[b, q] == number[b, k])


@pytest.mark.parametrize("name", SHAPES)
def test_a_packed_document_is_what_it_would_be_alone(make_model, name):
    """Positions are relative, so that where a document lies in its window makes no difference."""
    architecture, options = SHAPES[name]
    model = randomised(make_model(architecture, options=options))
    text = drawn(1, 16, share=0.25)
    number = (text == END).cumsum(1)
    inputs, targets = text.unsqueeze(-1), torch.zeros(1, 16, 1, dtype=torch.long)
    packed, _ = model(F.embedding(text, model.embedding), Documents.of(inputs, targets, END))
    assert number.max() > 2
    for document in number.unique():
        own = number == document
        alone, _ = model(F.embedding(text[own][None], model.embedding))
        torch.testing.assert_close(packed[own][None], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [16, 128])
@pytest.mark.parametrize("window", [None, 70])
def test_passes_by_hand_equal_the_definition(make_model, monkeypatch, window, length):
    """Outputs and gradients; 128 positions are two blocks of queries."""
    architecture, options = ("sliding", {"window": window}) if window else ("dense", {})
    shape = make_model(architecture, n_layers=2, sequence_length=length, options=options)
    text = drawn(2, length + 1, share=0.05)
    found = []
    for by_hand in (True, False):
        monkeypatch.setattr(functional, "runs_by_hand", lambda x, by_hand=by_hand: by_hand)
        model = randomised(shape)
        documents = Documents.of(text[:, :-1, None], text[:, 1:, None], END)
        x, _ = model.trunk(F.embedding(text[:, :-1], model.embedding), documents)
        model.cross_entropy(x, text[:, 1:, None]).backward()
        found.append([x, *(parameter.grad for parameter in model.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [70, 256])
def test_flex_attention_sees_the_same(window):
    """What GPUs run, uncompiled on the CPU, against the mask over the whole square."""
    from torch.nn.attention.flex_attention import flex_attention

    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, 256, 16, generator=generator) for heads in (4, 2, 2))
    number = (drawn(2, 256, share=0.02) == END).cumsum(1)
    flexed = flex_attention(q, k, v, block_mask=blocks(number, window), enable_gqa=True)
    plain = functional.masked_attention(q, k, v, window, mask(number, window))
    torch.testing.assert_close(flexed, plain, rtol=1e-4, atol=1e-5)
    with torch.no_grad():  # as odd batches are evaluated, without compilation
        uncompiled = functional.masked_attention(q, k, v, window, blocks(number, window))
    torch.testing.assert_close(uncompiled, plain)


def test_blocks_of_another_batch_need_no_other_compilation():
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    layer = torch.compile(windowed.attention, dynamic=False, backend=counter)
    q, k, v = torch.randn(3, 2, 2, 128, 16, generator=torch.Generator().manual_seed(0))
    for seed in range(3):
        number = (drawn(2, 128, share=0.05, seed=seed) == END).cumsum(1)
        flexed = layer(q, k, v, blocks(number, 128))
        plain = functional.masked_attention(q, k, v, None, mask(number, 128))
        torch.testing.assert_close(flexed, plain, rtol=1e-4, atol=1e-5)
    assert counter.frame_count == 1


def test_masses_of_targets_by_definition():
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, 8, generator=generator, requires_grad=True) for n in (12, 16))
    targets = torch.randint(4, (12, 3), generator=generator)  # often twice in a bag
    mass = torch.rand(12, 3, generator=generator) * (torch.rand(12, 3, generator=generator) < 0.6)
    found, expected = (
        (*torch.autograd.grad(loss, (x, weight)), loss.detach())
        for loss in (
            linear_cross_entropy(x, weight, targets, mass),
            (-F.linear(x, weight).log_softmax(-1).gather(1, targets) * mass).sum(1).mean(),
        )
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def randomised(shape) -> Transformer:
    """A model whose zero-initialised projections are random, so that every part has an effect."""
    model = Transformer(shape, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model
