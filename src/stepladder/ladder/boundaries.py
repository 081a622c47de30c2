"""Ladders whose attention stays within documents: what does not go with it, and what their plan tells."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from stepladder.ladder.read import Location
from stepladder.record.kinds import available, load
from stepladder.schema.ladder import Ladder


def boundary_problems(ladder: Ladder) -> Iterator[tuple[Location, str]]:
    """Recipes that would let documents mix, because they do not know of any."""
    if ladder.data.document_attention == "across":
        return
    for label, settings in ladder.recipes.items():
        kind = settings.get("kind", label)
        if kind not in available("recipes"):
            continue  # which is said elsewhere
        for function in ("embed", "loss"):
            if "documents" not in inspect.signature(getattr(load("recipes", kind), function)).parameters:
                message = (
                    f"its {function} knows nothing of documents, which data.document_attention "
                    "within needs: give it a parameter `documents` (docs/extending.md), or set "
                    "document_attention to across"
                )
                yield ("recipes", label), message


def boundary_notes(ladder: Ladder) -> Iterator[str]:
    """What the FLOPs of a plan do not say."""
    if ladder.data.document_attention == "within":
        yield (
            "Attention stays within documents. Budgets count causal attention all the same, an upper bound: "
            "steps are those of attention across documents, and every result says what was left to compute."
        )
