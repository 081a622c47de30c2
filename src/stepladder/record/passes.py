"""How often a run reads its text.

The raw tokens that it reads, over the training tokens of the corpus. All domains are read in one ring, in
natural proportion, so each of them is read as often as the whole (`stepladder.data.batches`); weights of
domains are of the held-out losses. A superposed step reads `bag_size` times the tokens of an ordinary one for
the same FLOPs, so of two arms at equal FLOPs it is the superposed one that repeats first: then the comparison
is of the recipes and of repetition together.
"""

from __future__ import annotations

from stepladder.display import numbers as fmt


def passes(tokens: int, training_tokens: int) -> float:
    """Passes over the corpus that reading so many raw tokens makes."""
    return tokens / training_tokens


def repeats(n: float) -> str | None:
    """What to warn of where a run reads its text `n` times; None up to once."""
    if n <= 1:
        return None
    return f"it reads its training text {in_words(n)}: what it gains from repeated text is not from new text"


def too_often(n: float, limit: float) -> str | None:
    """Why a run that would read its text `n` times must not begin; None if it may."""
    if n <= limit:
        return None
    return (
        f"it would read its training text {in_words(n)}, and data.max_epochs is {limit:g}: bring more text, "
        "train less (budgets, rungs, bag_size), or raise data.max_epochs; up to 4 times, repeated text is "
        "about as good as new text (Muennighoff et al. 2023, arXiv 2305.16264)"
    )


def in_words(n: float) -> str:
    """`2.30 times`."""
    return f"{fmt.significant(n)} times"
