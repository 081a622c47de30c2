"""Ladders with recipes that average weights: what does not go with them."""

from __future__ import annotations

from collections.abc import Iterator

from stepladder.ladder.read import Location
from stepladder.record.kinds import available, load
from stepladder.schema.ladder import Ladder


def averaging_problems(ladder: Ladder) -> Iterator[tuple[Location, str]]:
    """A mean along the last steps of each budget, of which a trunk knows nothing."""
    for label, settings in ladder.recipes.items() if ladder.optimizer.trunk else ():
        kind = settings.get("kind", label)
        if kind in available("recipes") and hasattr(load("recipes", kind), "snapshots"):
            message = (
                "it averages weights along the last steps of each run, which runs that branch off a trunk "
                "do not train themselves: set optimizer.trunk to false"
            )
            yield ("recipes", label), message
