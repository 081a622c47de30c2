"""Settings of architectures, recipes and tasks, each checked by its own file."""

from __future__ import annotations

import json
from typing import Any

from stepladder.record.kinds import available, load


def part_settings(kind: str, label: str, raw: dict[str, Any]) -> tuple[str, Any]:
    """Validate one entry of `architectures`, `recipes` or `evaluation.tasks` against its module's `Config`.

    Returns:
        The module's name and the validated settings.

    Raises:
        ValueError: no such module.
        pydantic.ValidationError: a setting is unknown, missing or impossible.
    """
    settings = dict(raw)
    name = settings.pop("kind", label)
    if name not in available(kind):
        hint = (
            "" if "kind" in raw else f" (the label is taken as the kind; `kind: ...` tells {label!r} apart)"
        )
        raise ValueError(f"no {kind[:-1]} {name!r}{hint}; there are: {', '.join(available(kind))}")
    # Through JSON, so that lists become tuples under strict types, as in the rest of the file.
    return name, load(kind, name).Config.model_validate_json(json.dumps(settings))
