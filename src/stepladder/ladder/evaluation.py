"""The tasks of a ladder file: what is wrong with them, and what makes their items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepladder.ladder.kinds import part_settings
from stepladder.ladder.read import LadderError, Location
from stepladder.record.fingerprint import items_fingerprint
from stepladder.record.kinds import load
from stepladder.schema.ladder import Ladder
from stepladder.schema.metric import macro_of, task_of

SECTION = "evaluation"


def evaluation_problems(ladder: Ladder) -> Iterator[tuple[Location, str]]:
    """Suites and metrics that name tasks which are not there."""
    tasks, suites = ladder.evaluation.tasks, ladder.evaluation.suites
    if ladder.tokenizers_differ and ladder.evaluation.during:
        told = (
            "looks score the first tokens of held-out text, and tokenizers differ, so that runs would be "
            "scored on different text: set during to 0"
        )
        yield (SECTION, "during"), told
    for label, names in suites.items():
        for i, name in enumerate(names):
            if name not in tasks:
                yield (
                    (SECTION, "suites", label, i),
                    f"no task {name!r}; there are: {', '.join(tasks) or 'none'}",
                )
            elif name in names[:i]:
                yield (SECTION, "suites", label, i), "a task counts once: remove the repetition"
    deciding = ladder.analysis.metric
    for named, there, what in ((task_of(deciding), tasks, "task"), (macro_of(deciding), suites, "suite")):
        if named is not None and named not in there:
            listed = ", ".join(there) or "none"
            yield ("analysis", "metric"), f"no {what} {named!r} in evaluation.{what}s; there are: {listed}"


def task_settings(name: str, raw: dict[str, Any]) -> str:
    """Everything that determines a task's items but the text they are from, as canonical JSON."""
    kind, config = part_settings("tasks", name, raw)
    told = {"kind": kind} | config.model_dump(mode="json") | {"code": items_fingerprint(kind)}
    return json.dumps(told, sort_keys=True, separators=(",", ":"))


def task_files(name: str, raw: dict[str, Any]) -> list[str]:
    """Files that a task is made from.

    Raises:
        LadderError: one is not there.
    """
    kind, config = part_settings("tasks", name, raw)
    module = load("tasks", kind)
    if hasattr(module, "files"):
        found: list[str] = module.files(config)
    else:
        named = {
            field: getattr(config, field) for field in type(config).model_fields if field.endswith("path")
        }
        found = [path for path in named.values() if path is not None]
    for path in found:
        if not Path(path).expanduser().is_file():
            raise LadderError(
                f"{SECTION}.tasks.{name}: {path}: no such file (seen from {Path.cwd()}): mend the path"
            )
    return [str(Path(path).expanduser()) for path in found]
