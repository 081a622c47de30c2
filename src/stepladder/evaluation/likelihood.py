"""Likelihoods of answers: requests sorted into batches, each context read once for all its answers.

Shapes: B contexts, R answers, T positions, D model width, N scored tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from stepladder.evaluation.requests import Ids, Request
from stepladder.evaluation.weights import Weights
from stepladder.models.inference import log_probabilities, read
from stepladder.models.transformer import Transformer
from stepladder.training.evaluate import POSITIONS_PER_BATCH

COST_OF_BRANCHES = {"cpu": 1.7, "cuda": 1.2}
"""What a position costs where answers go on from a kept context, in positions that are read from the
beginning: measured on a CPU, whose hand-written passes have no such way (benchmarks/evaluation_speed.py); on
a GPU a guess."""

PIECES = 4
"""Groups of answers of like lengths that go on from the contexts of a batch: less padding."""


class Likelihood(NamedTuple):
    """How likely a request's answer is."""

    nats: float
    """Log-probability of all its tokens; at most 0."""
    likeliest: bool
    """Whether each token of it is the likeliest where it stands."""


class Prefix(NamedTuple):
    """A context and the requests that go on from it, by their numbers."""

    context: Ids
    requests: list[int]


def likelihoods(weights: Weights, requests: Sequence[Request]) -> list[Likelihood]:
    """Score all requests, in their order."""
    found: list[Likelihood | None] = [None] * len(requests)
    kind = weights.device.type
    kept = prefixes(requests, COST_OF_BRANCHES[kind])
    for batch in batches(kept, requests, POSITIONS_PER_BATCH[kind]):
        alone = len(batch) == sum(len(prefix.requests) for prefix in batch)
        score = _whole if alone else _branched
        numbers = [number for prefix in batch for number in prefix.requests]
        with weights.scoring():
            told = score(weights.model, batch, requests, weights.device)
        for number, one in zip(numbers, told, strict=True):
            found[number] = one
    return [one for one in found if one is not None]


def prefixes(requests: Sequence[Request], cost: float) -> list[Prefix]:
    """Contexts with the answers that go on from them; each answer by itself where reading its context once
    for all of them would cost more than reading it again.

    Args:
        cost: of a position of an answer that goes on from a kept context.
    """
    found: dict[tuple[int, bytes], Prefix] = {}
    for number, request in enumerate(requests):
        key = (request.item, request.context.tobytes())
        found.setdefault(key, Prefix(request.context, [])).requests.append(number)
    kept = []
    for prefix in found.values():
        answers = sum(len(requests[number].answer) - 1 for number in prefix.requests)
        own = len(prefix.context)
        again = own * len(prefix.requests) + answers
        if again > cost * (own + answers):
            kept.append(prefix)
        else:
            kept += [Prefix(prefix.context, [number]) for number in prefix.requests]
    return kept


def batches(found: Sequence[Prefix], requests: Sequence[Request], positions: int) -> Iterator[list[Prefix]]:
    """Contexts that are read together: of like lengths, those with one answer apart from others."""

    def length(prefix: Prefix) -> tuple[bool, int, int]:
        longest = max(len(requests[number].answer) for number in prefix.requests)
        several = len(prefix.requests) > 1
        return several, len(prefix.context) + (0 if several else longest), longest

    batch: list[Prefix] = []
    width, answers = 0, 0
    for prefix in sorted(found, key=length, reverse=True):
        several, own, longest = length(prefix)
        same = not batch or several == (len(batch[0].requests) > 1)
        width, answers = max(width, own), max(answers, longest * len(prefix.requests))
        if batch and (not same or (len(batch) + 1) * max(width, answers) > positions):
            yield batch
            batch, width, answers = [], own, longest * len(prefix.requests)
        batch.append(prefix)
    if batch:
        yield batch


def _whole(
    model: Transformer, batch: list[Prefix], requests: Sequence[Request], device: torch.device
) -> list[Likelihood]:
    """Contexts with one answer each: context and answer in one pass, as in training."""
    own = [requests[prefix.requests[0]] for prefix in batch]
    texts = [np.concatenate((request.context, request.answer)) for request in own]
    tokens_BT = padded([text[:-1] for text in texts], device)
    x_BTD, _ = model.trunk(F.embedding(tokens_BT, model.embedding))
    rows = [
        x_BTD[row, len(request.context) - 1 : len(text) - 1]
        for row, (request, text) in enumerate(zip(own, texts, strict=True))
    ]
    return _told(model, torch.cat(rows), own)


def _branched(
    model: Transformer, batch: list[Prefix], requests: Sequence[Request], device: torch.device
) -> list[Likelihood]:
    """Contexts with several answers: each is read once, then its answers, which see it."""
    contexts = [prefix.context for prefix in batch]
    lengths_B = torch.tensor([len(context) for context in contexts], device=device)
    x_BTD, cache = read(model, padded(contexts, device), lengths_B)
    last_BD = x_BTD[torch.arange(len(batch), device=device), lengths_B - 1]
    own = [requests[number] for prefix in batch for number in prefix.requests]
    of_R = torch.tensor([b for b, prefix in enumerate(batch) for _ in prefix.requests], device=device)
    firsts = last_BD[of_R]
    lengths = np.array([len(request.answer) - 1 for request in own])  # the last token predicts nothing
    begins = np.cumsum([0, *lengths[:-1] + 1])  # of each answer in what is told
    rows_ND = firsts.new_empty(int(lengths.sum()) + len(own), firsts.shape[1])
    rows_ND[torch.from_numpy(begins).to(device)] = firsts
    for part in np.array_split(np.argsort(lengths, kind="stable"), PIECES):
        part = part[lengths[part] > 0]
        if len(part):
            tokens_RT = padded([own[r].answer[:-1] for r in part], device)
            lengths_R = torch.from_numpy(lengths[part]).to(device)
            y_RTD, _ = read(model, tokens_RT, lengths_R, cache.rows(of_R[torch.from_numpy(part).to(device)]))
            place_T = np.arange(tokens_RT.shape[1])
            there_RT = place_T < lengths[part][:, None]
            goes_to = (begins[part][:, None] + 1 + place_T)[there_RT]
            rows_ND[torch.from_numpy(goes_to).to(device)] = y_RTD[torch.from_numpy(there_RT).to(device)]
    return _told(model, rows_ND, own)


def _told(model: Transformer, x_ND: Tensor, own: list[Request]) -> list[Likelihood]:
    target_N = torch.from_numpy(np.concatenate([request.answer for request in own])).to(x_ND.device)
    nats_N, likeliest_N = (t.cpu() for t in log_probabilities(model, x_ND, target_N))
    lengths = [len(request.answer) for request in own]
    parts = zip(nats_N.double().split(lengths), likeliest_N.split(lengths), strict=True)
    return [Likelihood(float(nats.sum()), bool(likeliest.all())) for nats, likeliest in parts]


def padded(rows: list[Ids], device: torch.device) -> Tensor:
    """Rows of ids as one tensor (B, T), filled with 0 at their right ends."""
    tokens = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(tokens).to(device)
