"""A checkpoint and a task to scores."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stepladder.data.tokenization import Tokenizer
from stepladder.documents.document import DocumentError
from stepladder.documents.files import write_atomically
from stepladder.evaluation.likelihood import likelihoods
from stepladder.evaluation.requests import moved, requests
from stepladder.evaluation.weights import Saved, Weights
from stepladder.record.checkpoints import MANIFEST
from stepladder.record.evaluation import Evaluation, Scores, Task
from stepladder.record.fingerprint import evaluation_fingerprint
from stepladder.record.items import Item, ItemError

TABLE = ".parquet"
"""What takes the place of `.json` in the name of the file of scores by item."""

Numbers = NDArray[np.float64]


class Answered(NamedTuple):
    """An item and how likely its answers are."""

    item: Item
    nats: Numbers
    """Log-probability of each answer."""
    likeliest: bool
    """Whether each token of the right one is the likeliest where it stands."""
    cut: bool
    """Whether the beginning of its context was cut away."""
    merged: bool
    """Whether the beginning of an answer is in a token of the context."""
    tokens: int

    @property
    def bits_per_byte(self) -> Numbers:
        """Bits that each answer costs per byte of it, white space in front of it included."""
        answers = (moved(self.item.context, choice)[1] for choice in self.item.choices)
        sizes = np.array([len(answer.encode()) for answer in answers])
        bits: Numbers = -self.nats / (np.log(2) * sizes)
        return bits


def answer(weights: Weights, tokenizer: Tokenizer, items: Sequence[Item], where: str) -> list[Answered]:
    """How likely all answers of all items are.

    Args:
        where: task that they are of, for messages.

    Raises:
        ItemError: an item cannot be put to this model.
    """
    asked = list(requests(items, tokenizer, weights.context, where))
    told = likelihoods(weights, asked)
    nats = [np.zeros(len(item.choices)) for item in items]
    likeliest, cut, merged = [True] * len(items), [False] * len(items), [False] * len(items)
    tokens = [0] * len(items)
    for request, likelihood in zip(asked, told, strict=True):
        nats[request.item][request.choice] += likelihood.nats
        if request.choice == items[request.item].gold:
            likeliest[request.item] &= likelihood.likeliest
        cut[request.item] |= request.cut > 0
        merged[request.item] |= request.merged
        tokens[request.item] += len(request.answer)
    return [Answered(*each) for each in zip(items, nats, likeliest, cut, merged, tokens, strict=True)]


def scores(answered: Sequence[Answered], task: Task) -> Scores:
    """Means over items, with standard errors."""
    gold = np.array([one.bits_per_byte[one.item.gold] for one in answered])
    n = len(answered)
    if task.whole_text:
        sizes = np.array([len(one.item.answer.encode()) for one in answered], float)
        mean = float(gold @ sizes / sizes.sum())
        # of a ratio of two means (Cochran 1977, Sampling Techniques, equation 6.13)
        error = float(np.std((gold - mean) * sizes, ddof=1) / sizes.mean() / n**0.5) if n > 1 else None
        return Scores(
            items=n,
            bits_per_byte=mean,
            bits_per_byte_error=error,
            accuracy=None,
            accuracy_error=None,
            accuracy_per_byte=None,
            margin=None,
        )
    several = task.several_choices
    right = [bool(one.nats.argmax() == one.item.gold) if several else one.likeliest for one in answered]
    per_byte = [bool(one.bits_per_byte.argmin() == one.item.gold) for one in answered]
    margins = [
        float(np.delete(one.bits_per_byte, one.item.gold).min() - one.bits_per_byte[one.item.gold])
        for one in answered
        if several
    ]
    return Scores(
        items=n,
        bits_per_byte=float(gold.mean()),
        bits_per_byte_error=standard_error(gold),
        accuracy=float(np.mean(right)),
        accuracy_error=standard_error(np.array(right, float)),
        accuracy_per_byte=float(np.mean(per_byte)) if several else None,
        margin=float(np.mean(margins)) if several else None,
    )


def finite_scores(answered: Sequence[Answered], task: Task, checkpoint: Path) -> Scores:
    """The same, of a model that gives every answer a probability.

    Raises:
        ItemError: it does not.
    """
    for one in answered:
        if not np.isfinite(one.nats).all():
            raise ItemError(
                f"task {task.name}: item {one.item.id}: the model of {checkpoint} gives an answer no "
                "probability: its weights are not finite"
            )
    return scores(answered, task)


def standard_error(values: Numbers) -> float | None:
    """Of the mean; None for a single value."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else None


def evaluate(
    weights: Weights,
    tokenizer: Tokenizer,
    task: Task,
    items: Sequence[Item],
    clean: Sequence[bool] | None,
    out: Path,
) -> Evaluation:
    """Score a checkpoint on a task, and write the scores, by item and altogether.

    Args:
        clean: which items the run was not trained on; None if that is not known.
    """
    begin = time.perf_counter()
    answered = answer(weights, tokenizer, items, f"task {task.name}")
    seconds = time.perf_counter() - begin
    unseen = [one for one, is_clean in zip(answered, clean or (), strict=False) if is_clean]
    found = Evaluation(
        task=task.name,
        run=weights.spec.id,
        spec_sha256=weights.spec.sha256,
        step=weights.step,
        checkpoint_sha256=checkpoint_sha256(weights.checkpoint),
        items_sha256=task.items_sha256,
        asked_sha256=asked_sha256(task, clean),
        code=evaluation_fingerprint(),
        scores=finite_scores(answered, task, weights.checkpoint),
        clean=scores(unseen, task) if unseen else None,
        chance=task.chance,
        cut_items=sum(one.cut for one in answered),
        merged_items=sum(one.merged for one in answered),
        tokens=sum(one.tokens for one in answered),
        seconds=seconds,
    )
    write_atomically(out.with_suffix(TABLE), by_item(answered).to_parquet(index=False))
    found.write(out)
    return found


def still_holds(path: Path, saved: Saved, task: Task, clean: Sequence[bool] | None) -> Evaluation | None:
    """The scores at `path`, if they are of this checkpoint, these items and this code."""
    try:
        found = Evaluation.read(path)
    except (FileNotFoundError, DocumentError):
        return None
    asked = (saved.spec.sha256, checkpoint_sha256(saved.path), asked_sha256(task, clean), task.name)
    same = (found.spec_sha256, found.checkpoint_sha256, found.asked_sha256, found.task) == asked
    same = same and found.code == evaluation_fingerprint() and path.with_suffix(TABLE).exists()
    return found if same else None


def asked_sha256(task: Task, clean: Sequence[bool] | None) -> str:
    """Digest of all that scores of a checkpoint rest on, but the code."""
    told = [task.items_sha256, task.whole_text, task.several_choices, task.chance, clean]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def checkpoint_sha256(checkpoint: Path) -> str:
    """Digest of a checkpoint's manifest, which has those of its files."""
    return hashlib.sha256((checkpoint / MANIFEST).read_bytes()).hexdigest()


def by_item(answered: Sequence[Answered]) -> pd.DataFrame:
    """One row per item."""
    return pd.DataFrame(
        {
            "id": [one.item.id for one in answered],
            "gold": [one.item.gold for one in answered],
            "nats": [one.nats.tolist() for one in answered],
            "bits_per_byte": [one.bits_per_byte.tolist() for one in answered],
            "likeliest": [one.likeliest for one in answered],
            "cut": [one.cut for one in answered],
            "merged": [one.merged for one in answered],
            "tokens": [one.tokens for one in answered],
        }
    )
