"""Likelihoods in batches, contexts read once, against one request at a time through the whole model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import CONTEXT, OPTIONS, model_of
from torch.nn import functional as F

from stepladder.evaluation.likelihood import (
    COST_OF_BRANCHES,
    Likelihood,
    batches,
    likelihoods,
    prefixes,
)
from stepladder.evaluation.requests import Request
from stepladder.evaluation.weights import Weights

VOCABULARY = 50


def weights_of(architecture: str, spec) -> Weights:
    return Weights(spec, model_of(architecture), Path("none"), 0, torch.device("cpu"))


def drawn(items: int, choices: tuple[int, ...], seed: int = 0) -> list[Request]:
    """Requests of random lengths that fit."""
    draw = np.random.default_rng(seed)
    found = []
    for item in range(items):
        answers = [draw.integers(0, VOCABULARY, draw.integers(1, 9)) for _ in range(draw.choice(choices))]
        longest = max(map(len, answers))
        context = draw.integers(0, VOCABULARY, draw.integers(1, CONTEXT - longest + 2))
        found += [Request(item, number, context, answer, 0) for number, answer in enumerate(answers)]
    return found


def one_by_one(weights: Weights, request: Request) -> Likelihood:
    tokens = torch.from_numpy(np.concatenate((request.context, request.answer)))
    with torch.no_grad():
        logits, _ = weights.model(F.embedding(tokens[None, :-1], weights.model.embedding))
    told = logits[0, len(request.context) - 1 :].log_softmax(-1)
    target = tokens[len(request.context) :]
    nats = told.gather(1, target[:, None])
    return Likelihood(float(nats.double().sum()), bool((told.argmax(-1) == target).all()))


@pytest.mark.parametrize("architecture", [*OPTIONS])
@pytest.mark.parametrize("choices", [(1,), (4,), (1, 2, 5)])
@pytest.mark.parametrize("cost", [0.0, 2.0])
def test_they_are_those_of_one_request_at_a_time(architecture, choices, cost, make_run, monkeypatch) -> None:
    monkeypatch.setitem(COST_OF_BRANCHES, "cpu", cost)  # 0: every context is kept
    weights = weights_of(architecture, make_run())
    asked = drawn(30, choices)
    for found, request in zip(likelihoods(weights, asked), asked, strict=True):
        expected = one_by_one(weights, request)
        assert found.nats == pytest.approx(expected.nats, abs=1e-4)
        assert found.likeliest == expected.likeliest


@pytest.mark.parametrize("positions", [1, 40, 500, 10**6])
def test_every_request_is_in_one_batch_whatever_its_size(positions: int) -> None:
    asked = drawn(50, (1, 2, 3, 4))
    numbers = [
        number
        for batch in batches(prefixes(asked, 1.5), asked, positions)
        for prefix in batch
        for number in prefix.requests
    ]
    assert sorted(numbers) == [*range(len(asked))]


def test_a_context_is_in_one_batch_once() -> None:
    asked = drawn(50, (3,))
    found = prefixes(asked, 0.0)
    assert len(found) == 50
    assert all(len(prefix.requests) == 3 for prefix in found)


def test_a_context_is_kept_where_that_is_cheaper() -> None:
    def asked(context: int, answer: int) -> list[Request]:
        return [Request(0, n, np.arange(context), np.arange(answer), 0) for n in range(4)]

    assert len(prefixes(asked(100, 5), 2.2)) == 1  # 416 positions, or 116
    assert len(prefixes(asked(10, 20), 2.2)) == 4  # 116, or 86


def test_batches_hold_no_more_positions_than_allowed() -> None:
    asked = drawn(200, (1, 3))
    for batch in batches(prefixes(asked, 1.5), asked, 300):
        if len(batch) > 1:
            assert len(batch) * max(len(prefix.context) for prefix in batch) <= 300
