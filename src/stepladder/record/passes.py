"""How often a run reads its text, domain by domain.

Raw tokens that it reads of a domain, over the domain's training tokens. Without a mixture all domains are
read as one ring, in natural proportion, so each of them is read as often as the whole
(`stepladder.data.batches`).
A superposed step reads `bag_size` times the tokens of an ordinary one for the same FLOPs, so of two arms at
equal FLOPs it is the superposed one that repeats first: then the comparison is of the recipes and of
repetition together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from stepladder.display import numbers as fmt
from stepladder.record.spec import RunSpec
from stepladder.schema.data import MAX_EPOCHS

Limit = float | Mapping[str, float]
"""Passes above which a run is refused: over any domain, or by domain."""


class Passes(NamedTuple):
    """Passes over the training text."""

    by_domain: dict[str, float]
    """Of a run with a mixture; empty where all domains are read alike."""
    most: float
    """Over the domain that is read most often."""

    def __str__(self) -> str:
        """`2.30 times`, with the domain where they differ."""
        name = max(self.by_domain, key=self.by_domain.__getitem__, default="")
        return in_words(self.most) + (f" (domain {name})" if name else "")


def passes(spec: RunSpec, training_tokens: Mapping[str, int]) -> Passes:
    """Passes that a run makes over a corpus with so many training tokens in each domain."""
    return passes_over(spec.recipe.tokens, tokens_by_domain(spec), training_tokens)


def passes_over(
    tokens: int, by_domain: Mapping[str, float] | None, training_tokens: Mapping[str, int]
) -> Passes:
    """Passes that reading so many raw tokens makes.

    Args:
        by_domain: what of them is of which domain; None: all domains in natural proportion.
    """
    if by_domain is None:
        return Passes({}, tokens / sum(training_tokens.values()))
    found = {name: n / max(1, training_tokens.get(name, 0)) for name, n in by_domain.items()}
    return Passes(found, max(found.values()))


def tokens_by_domain(spec: RunSpec) -> dict[str, float] | None:
    """Raw tokens that a run reads of each domain, to within a window or two; None without a mixture."""
    if not spec.mixture:
        return None
    found = dict.fromkeys(spec.mixture[0].shares, 0.0)
    for phase, stage, steps in spec.pieces():
        for name, share in stage.shares.items() if stage else ():
            found[name] += share * steps * phase.sequences * phase.positions * phase.bag_size
    return found


def repeats(read: Passes) -> str | None:
    """What to warn of where a run reads its text so often; None up to once."""
    if read.most <= 1:
        return None
    return f"it reads its training text {read}: what it gains from repeated text is not from new text"


def too_often(read: Passes, limit: Limit) -> str | None:
    """Why a run that would read its text so often must not begin; None if it may."""
    each = read.by_domain or {"": read.most}
    for domain, n in each.items():
        allowed = limit.get(domain, MAX_EPOCHS) if isinstance(limit, Mapping) else limit
        if n > allowed:
            mend = f"give {domain} less of data.mixture, or bring more of it" if domain else "bring more text"
            return (
                f"it would read {f'domain {domain}' if domain else 'its training text'} {in_words(n)}, and "
                f"data.max_epochs is {allowed:g}: {mend}, train less (budgets, rungs, bag_size), or raise "
                "data.max_epochs; up to 4 times, repeated text is about as good as new text (Muennighoff et "
                "al. 2023, arXiv 2305.16264)"
            )
    return None


def in_words(n: float) -> str:
    """`2.30 times`."""
    return f"{fmt.significant(n)} times"
