"""Text read in pieces gives what text read at once gives."""

from __future__ import annotations

import pytest
import torch
from small_models import CONTEXT, OPTIONS, model_of
from torch import Tensor
from torch.nn import functional as F

from stepladder.models.inference import Cache, log_probabilities, read, visible
from stepladder.models.transformer import Transformer


def at_once(model: Transformer, tokens_T: Tensor) -> Tensor:
    with torch.no_grad():
        return model.trunk(F.embedding(tokens_T[None], model.embedding))[0][0]


@pytest.mark.parametrize("architecture", [*OPTIONS])
@pytest.mark.parametrize(("n_kv_heads", "qk_norm"), [(4, False), (2, True)])
def test_pieces_are_read_as_the_whole(architecture: str, n_kv_heads: int, qk_norm: bool) -> None:
    model = model_of(architecture, n_kv_heads, qk_norm)
    draw = torch.Generator().manual_seed(2)
    firsts, seconds = [7, 1, 12], [9, 12, 3]
    texts = [torch.randint(50, (a + b,), generator=draw) for a, b in zip(firsts, seconds, strict=True)]
    one = torch.nn.utils.rnn.pad_sequence(
        [t[:n] for t, n in zip(texts, firsts, strict=True)], batch_first=True
    )
    two = torch.nn.utils.rnn.pad_sequence(
        [t[n:] for t, n in zip(texts, firsts, strict=True)], batch_first=True
    )
    x_one, cache = read(model, one, torch.tensor(firsts))
    x_two, cache = read(model, two, torch.tensor(seconds), cache)
    for row, (text, n, m) in enumerate(zip(texts, firsts, seconds, strict=True)):
        expected = at_once(model, text)
        torch.testing.assert_close(x_one[row, :n], expected[:n], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(x_two[row, :m], expected[n:], atol=1e-5, rtol=1e-5)
    assert cache.next_B.tolist() == [a + b for a, b in zip(firsts, seconds, strict=True)]


def test_every_query_sees_a_key_and_none_sees_padding() -> None:
    """Beyond its window padding would see nothing at all."""
    lengths_B, T = torch.tensor([9, 1]), 9
    position_BT = torch.arange(T).expand(2, T)
    key_BS = torch.where(torch.arange(T) < lengths_B[:, None], position_BT, -1)
    seen_BTS = visible(position_BT, key_BS, window=3)[:, 0]
    assert seen_BTS.any(-1).all()
    assert not seen_BTS[1, 0, 1:].any()
    assert seen_BTS[0].sum(-1).tolist() == [1, 2, *[3] * 7]


def test_a_prefix_goes_on_in_several_ways() -> None:
    model = model_of("dense")
    prefix = torch.tensor([[1, 2, 3]])
    _, cache = read(model, prefix, torch.tensor([3]))
    twice = cache.rows(torch.tensor([0, 0]))
    x_BTD, _ = read(model, torch.tensor([[4, 5], [6, 7]]), torch.tensor([2, 2]), twice)
    for row, ends in enumerate([[4, 5], [6, 7]]):
        torch.testing.assert_close(
            x_BTD[row], at_once(model, torch.tensor([1, 2, 3, *ends]))[3:], atol=1e-5, rtol=1e-5
        )


def test_log_probabilities_are_those_of_the_logits() -> None:
    model = model_of("dense")
    tokens = torch.randint(50, (20,), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        logits, _ = model(F.embedding(tokens[None], model.embedding))
    nats, likeliest = log_probabilities(model, at_once(model, tokens)[:-1], tokens[1:])
    expected = logits[0, :-1].log_softmax(-1)
    torch.testing.assert_close(nats, expected.gather(1, tokens[1:, None])[:, 0])
    assert likeliest.tolist() == (expected.argmax(-1) == tokens[1:]).tolist()


def test_a_text_longer_than_the_context_is_refused() -> None:
    model = model_of("dense")
    tokens = torch.zeros((1, CONTEXT), dtype=torch.long)
    _, cache = read(model, tokens, torch.tensor([CONTEXT]))
    with pytest.raises(ValueError, match="context of 24"):
        read(model, tokens[:, :1], torch.tensor([1]), cache)
    assert isinstance(cache, Cache)
