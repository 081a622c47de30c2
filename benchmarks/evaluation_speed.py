"""Scoring of answers against training's forward pass, side by side.

    python benchmarks/evaluation_speed.py [--rungs 24,40,64] [--rounds 15] [--out evaluation_speed-cpu.json]

The forward pass is that which scores held-out text in training: windows of the model's context, the head and
the loss of every position. Against it, in positions of the transformer per second:

- text: documents as long as the context, every token scored: the same work, by the way of tasks;
- gold: contexts with one answer each, of mixed lengths, padding not counted;
- choices: contexts with four answers each, each context read once. `saved` is what it takes over what the
same
  answers would take with their contexts read for each of them, at the forward pass's speed.

One thread, fp32, rounds alternate. Ratios are medians of paired ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from train_step import RUNGS, make_trainer

from stepladder.evaluation import likelihood
from stepladder.evaluation.requests import Request
from stepladder.evaluation.weights import Weights
from stepladder.training.process import configure_process
from stepladder.training.trainer import Trainer

CONTEXT, VOCABULARY = 128, 256
TOKENS = 2**15
"""Of the text that is scored in a round."""


def main() -> None:
    """Time all rungs and print a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rungs", default="24,40,64", help="d_model")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    configure_process(1)
    rows = [measure(int(width), arguments.rounds) for width in arguments.rungs.split(",")]
    for row in rows:
        print(json.dumps(row))
    if arguments.out:
        arguments.out.write_text(json.dumps({"torch": torch.__version__, "rungs": rows}, indent=1) + "\n")


def measure(d_model: int, rounds: int) -> dict[str, float]:
    """Ratios of one model."""
    trainer = make_trainer(d_model)
    weights = Weights(trainer.spec, trainer.model.requires_grad_(False), Path(), 0, torch.device("cpu"))
    draw = np.random.default_rng(0)
    short = ((20, 91), (5, 36))
    work = {
        "text": text(draw),
        "gold": answers(draw, 1, *short),
        "choices": answers(draw, 4, *short),
        "kept": answers(draw, 4, *short),
        "few_shot": answers(draw, 4, (90, 111), (2, 7)),
    }
    ways: dict[str, Callable[[], object]] = {"forward": lambda: forward(trainer, draw)}
    for name, asked in work.items():
        cost = 0.0 if name == "kept" else likelihood.COST_OF_BRANCHES["cpu"]
        ways[name] = lambda asked=asked, cost=cost: score(weights, asked, cost)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = perf_counter()
            way()
            seconds[name].append(perf_counter() - start)
    found: dict[str, float] = {"d_model": d_model, "layers": RUNGS[d_model][0]}
    found["forward_positions_per_s"] = round(TOKENS / median(seconds["forward"][1:]))
    for name, asked in work.items():
        pairs = zip(seconds["forward"][1:], seconds[name][1:], strict=True)
        ratio = median(own / other for own, other in pairs)
        found[name] = round(ratio * positions(asked) / TOKENS, 2)
    return found


def score(weights: Weights, asked: list[Request], cost: float) -> None:
    """Score answers, contexts being kept where that is cheaper at this cost."""
    usual = likelihood.COST_OF_BRANCHES["cpu"]
    likelihood.COST_OF_BRANCHES["cpu"] = cost
    likelihood.likelihoods(weights, asked)
    likelihood.COST_OF_BRANCHES["cpu"] = usual


def forward(trainer: Trainer, draw: np.random.Generator) -> None:
    """Training's scoring of as many tokens."""
    rows = likelihood.POSITIONS_PER_BATCH["cpu"] // CONTEXT
    tokens = torch.from_numpy(draw.integers(0, VOCABULARY, (TOKENS // CONTEXT, CONTEXT + 1)))
    with torch.no_grad():
        for part in tokens.split(rows):
            trainer.objective(part[:, :-1, None], part[:, 1:, None])


def text(draw: np.random.Generator) -> list[Request]:
    """Whole windows."""
    return [
        Request(n, 0, draw.integers(0, VOCABULARY, 1), draw.integers(0, VOCABULARY, CONTEXT), 0)
        for n in range(TOKENS // CONTEXT)
    ]


def answers(
    draw: np.random.Generator, choices: int, context: tuple[int, int], answer: tuple[int, int]
) -> list[Request]:
    """So many answers to each context; lengths are drawn from ranges."""
    found: list[Request] = []
    while positions(found) < TOKENS:
        read = draw.integers(0, VOCABULARY, draw.integers(*context))
        for choice in range(choices):
            ids = draw.integers(0, VOCABULARY, draw.integers(*answer))
            found.append(Request(len(found) - choice, choice, read, ids, 0))
    return found


def positions(asked: list[Request]) -> int:
    """Of the transformer, with contexts read for each answer."""
    return sum(len(request.context) + len(request.answer) - 1 for request in asked)


if __name__ == "__main__":
    main()
