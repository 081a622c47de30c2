"""`evaluation:` what finished runs are scored on beside the held-out loss: not part of a run's identity.

    evaluation:
      tasks:
        calls: {}
        hellaswag: {path: tasks/hellaswag_val.jsonl}
        hard: {kind: arc, path: tasks/ARC-Challenge.jsonl, shots: 5}
      suites: {reasoning: [hellaswag, hard]}

A task's settings are those of its kind, a file in `stepladder.tasks`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from stepladder.schema import ranges
from stepladder.schema.settings import DOMAIN, Line, Settings

TaskName = Annotated[str, Field(pattern=DOMAIN, max_length=64)]
"""Part of a path and of a column's name."""


class Evaluation(Settings):
    """Tasks, means over several of them, and looks at the held-out loss of runs that train."""

    tasks: dict[TaskName, dict[str, Any]] = Field(default={}, max_length=ranges.MOST_TASKS)
    """Label to settings. The label names the file in `stepladder.tasks`, unless `kind:` does."""
    suites: dict[TaskName, Annotated[tuple[TaskName, ...], Field(min_length=1)]] = Field(default={})
    """Label to the tasks whose plain mean is the metric `macro:<label>`."""
    contamination: bool = True
    """Whether items are looked for in the training text, all of which is read for each task."""

    during: Annotated[int, ranges.LOOKS] = 0
    """Looks at held-out loss while a run trains, evenly spaced in the logarithm of steps."""
    during_tokens: Annotated[int, ranges.HELD_OUT_TOKENS] = 65536
    """First tokens of each domain's held-out text that a look scores: the same for all runs."""
    max_share: Annotated[float, ranges.SHARE] = 0.02
    """Of a run's FLOPs that its looks may take together; a run that is too short for all has fewer."""


class Made(Settings):
    """Settings of a task that is made from held-out text."""

    items: Annotated[int, ranges.ITEMS] = 400
    """Items that are made, at most: as many as the held-out text gives."""
    seed: Annotated[int, ranges.SEED] = 0
    """Chooses them."""


class Continued(Made):
    """The same, where items begin with what stands in front of them."""

    context_bytes: Annotated[int, ranges.ITEM_BYTES] = 64
    """Bytes of text in front of an item, at most. What is longer than a model reads at once is cut."""


class Stored(Settings):
    """Settings of a task whose items lie in a file."""

    path: Line
    """JSON Lines, JSON, Parquet, CSV or TSV, plain or compressed."""
    limit: Annotated[int, ranges.ITEMS] | None = None
    """Take only so many items, the first ones; default: all."""


class Shots(Stored):
    """The same, with solved examples in front of each item."""

    shots: Annotated[int, ranges.SHOTS] = 0
    """Examples in front of each item: the first ones of `shots_path`."""
    shots_path: Line | None = None
    """File of the same layout that the examples are from; default: the items' own file, whose first ones are
    then examples and no items."""
