"""Text from a trained model, token by token."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from stepladder.data.tokenization import Tokenizer
from stepladder.evaluation.weights import Weights
from stepladder.models.inference import Cache, head_logits, read
from stepladder.models.transformer import Transformer


def sample(
    weights: Weights,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
) -> Iterator[bytes]:
    """What the model says after a prompt, piece by piece, until it ends the document.

    A text that outgrows the model's context is read again from its last half on.

    Args:
        prompt: may be empty: then a document begins.
        tokens: most that are drawn.
        temperature: 0 takes the likeliest token.
        top_p: of the likeliest tokens so many as have this probability together (Holtzman et al. 2019,
            arXiv 1904.09751); 1 for all.
    """
    (ids,) = tokenizer.encode([prompt.encode()])
    text = [tokenizer.end_of_document, *ids.tolist()]
    draw = torch.Generator().manual_seed(seed)
    cache: Cache | None = None
    piece = text[-weights.context :]
    for _ in range(tokens):
        if cache is not None and int(cache.next_B) + 1 > weights.context:
            cache, piece = None, text[-max(1, weights.context // 2) :]
        with weights.scoring():
            logits_V, cache = _next(weights.model, piece, cache, weights.device)
        drawn = choose(logits_V, temperature, top_p, draw)
        if drawn == tokenizer.end_of_document:
            return
        text.append(drawn)
        piece = [drawn]
        yield tokenizer.decode(np.array([drawn]))


def _next(
    model: Transformer, piece: list[int], cache: Cache | None, device: torch.device
) -> tuple[Tensor, Cache]:
    """Logits (V,) of the token after a piece."""
    tokens_1T = torch.tensor([piece], device=device)
    x_1TD, cache = read(model, tokens_1T, torch.tensor([len(piece)], device=device), cache)
    return head_logits(model, x_1TD[:, -1])[0].cpu(), cache


def choose(logits_V: Tensor, temperature: float, top_p: float, draw: torch.Generator) -> int:
    """A token drawn from logits."""
    if temperature == 0:
        return int(logits_V.argmax())
    probability_V, order_V = (logits_V / temperature).softmax(0).sort(descending=True)
    before_V = probability_V.cumsum(0) - probability_V
    kept_V = torch.where(before_V <= top_p, probability_V, 0)  # the likeliest always, before which there is 0
    return int(order_V[torch.multinomial(kept_V, 1, generator=draw)])
