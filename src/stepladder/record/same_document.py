"""What attention within documents computes, from the lengths of the training documents.

Windows begin anywhere in the text. The chance that a token and the one k tokens before it are of the same
document is S(k) = sum over documents of max(length - k, 0), over the sum of their lengths. A position t of a
window (from 1) sees itself and those of the t - 1 before it that are of its document: S(0) + S(1) + ... +
S(t - 1) in the mean, and as many terms as a sliding window has if that is shorter. Bags of s tokens are of
the document of their last token, so their positions are s tokens apart: S(0) + S(s) + S(2s) + ...

Budgets do not count by it, because specs are made before there are documents: see docs/ladders.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stepladder.record.cost import Counting, step_flops, training_flops
from stepladder.record.result import WithinDocuments
from stepladder.record.spec import RunSpec


@dataclass(frozen=True, eq=False)
class SameDocument:
    """S(k), for as many k as the longest window of a run has tokens."""

    chance: NDArray[np.float64]
    _of_bags: dict[int, Within] = field(default_factory=dict)

    def counting(self, bag_size: int) -> Within:
        """How attention of positions of this many tokens is counted; the same object each time, since FLOPs
        are remembered by it."""
        return self._of_bags.setdefault(bag_size, Within(self.chance[::bag_size]))


@dataclass(frozen=True, eq=False)
class Within:
    """A convention of FLOPs: attention ends where documents do."""

    chance: NDArray[np.float64]
    """That a position is of the document of the one so many positions before it."""

    def attended(self, length: int, window: int | None) -> float:
        """Positions that one of `length` positions attends to, in the mean."""
        seen = min(window or length, length)
        return float(self.chance[:seen] @ (length - np.arange(seen)) / length)


class _Nothing:
    def attended(self, length: int, window: int | None) -> float:
        return 0.0


NOTHING: Counting = _Nothing()
"""A convention in which attention computes no scores: what is left are products with weights."""


def chances(longer: NDArray[np.int64], tokens: int) -> NDArray[np.float64]:
    """S(0), S(1), ..., S(n).

    Args:
        longer: documents of more than 0, 1, ..., n - 1 tokens; the token that ends each counts.
        tokens: of all documents.
    """
    # max(length - k, 0) sums what is longer than k, k + 1, ..., and all these sums together are `tokens`
    return 1 - np.concatenate(([0], np.cumsum(longer))) / tokens


def within_documents(spec: RunSpec, same: SameDocument) -> WithinDocuments:
    """What a run computes whose attention ends where documents do."""
    flops = sum(
        phase.steps * step_flops(spec.model, spec.recipe, phase, same.counting(phase.bag_size))
        for phase in spec.recipe.phases
    )
    saved = training_flops(spec.model, spec.recipe) - flops
    return WithinDocuments(attention_share=1 - saved / attention_flops(spec), flops=flops)


def attention_flops(spec: RunSpec) -> float:
    """What scores and weighted values of causal attention are of a run's training FLOPs."""
    return training_flops(spec.model, spec.recipe) - training_flops(spec.model, spec.recipe, NOTHING)
