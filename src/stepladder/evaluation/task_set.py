"""Making a task: its items, checked and looked for in the training text, written down for all runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import ArrowException

from stepladder.data.decode import documents
from stepladder.data.manifest import Manifest, parse
from stepladder.documents.document import DocumentError
from stepladder.documents.files import write_atomically
from stepladder.evaluation.contamination import WORDS, look_for
from stepladder.ladder.kinds import part_settings
from stepladder.record.evaluation import Searched, Task
from stepladder.record.items import HeldOut, Item, ItemError, checked, items_sha256
from stepladder.record.kinds import load

ITEMS = ".items.parquet"
"""What takes the place of `.json` in the name of the items' file."""


def make_task(
    name: str, settings: dict[str, Any], manifests: Sequence[Path], out: Path, *, search: bool = True
) -> Task:
    """Make a task's items and write them, and last what they are.

    Args:
        settings: of the ladder file.
        manifests: of all shards that the ladder trains on; the held-out text is that of the first.
        search: whether to look for the items in the training text.

    Raises:
        ItemError: there are none, or one cannot be scored.
    """
    kind, config = part_settings("tasks", name, settings)
    module = load("tasks", kind)
    first, *_ = manifests
    where = getattr(config, "path", f"task {name}")
    items = list(checked(module.items(config, lambda: held_out(parse(first), first)), where))
    if not items:
        stored = getattr(config, "path", None)
        reason = f"{stored} has none" if stored else f"the held-out text of {first} gives none"
        raise ItemError(f"task {name}: no items: {reason}")
    shards = {parse(path).sha256: path for path in manifests if search}
    places = {data: look_for(items, parse(path), path) for data, path in shards.items()}
    several = all(len(item.choices) > 1 for item in items)
    task = Task(
        name=name,
        kind=kind,
        settings=config.model_dump(mode="json"),
        format=module.FORMAT,
        items=len(items),
        items_sha256=items_sha256(items),
        chance=float(np.mean([1 / len(item.choices) for item in items])) if several else 0.0,
        several_choices=several,
        whole_text=kind == "text",
        searched={
            data: Searched(
                words=WORDS,
                training_bytes=place.training_bytes,
                found=int(place.found.sum()),
                too_short=int(place.too_short.sum()),
            )
            for data, place in places.items()
        }
        if search
        else None,
    )
    write_items(items, {data: place.found for data, place in places.items()}, out.with_suffix(ITEMS))
    task.write(out)
    return task


def held_out(manifest: Manifest, path: Path) -> Iterator[HeldOut]:
    """The held-out documents of prepared shards; what is no UTF-8 is left out."""
    files = (path.parent / "files.txt").read_text(encoding="utf-8").splitlines()
    for domain, splits in manifest.domains.items():
        places = np.load(path.parent / splits["validation"].document_file.name)
        for row, text in zip(places, documents(manifest, path, domain, "validation"), strict=True):
            place = files[row["file"]] + (f":{row['row']}" if row["row"] else "")
            yield HeldOut(domain, place, text.decode(errors="ignore"))


def write_items(items: list[Item], found: Mapping[str, NDArray[np.bool_]], path: Path) -> None:
    """Write items, and in which training texts each was found, as Parquet."""
    table = pd.DataFrame(items, columns=[*Item._fields])
    table["found_in"] = [
        [data for data, hits in found.items() if hits[number]] for number in range(len(items))
    ]
    write_atomically(path, table.to_parquet(index=False))


class TaskItems(NamedTuple):
    """What `make_task` wrote."""

    task: Task
    items: list[Item]
    found_in: list[set[str]]
    """Fingerprints of the shards in whose training text each item was found."""


def read_task(path: Path) -> TaskItems:
    """Read what `make_task` wrote.

    Raises:
        DocumentError: a file is not what it was.
    """
    task = Task.read(path)
    try:
        table = pd.read_parquet(path.with_suffix(ITEMS))
        rows = table[[*Item._fields]].to_dict("records")
        items = [Item(**(row | {"choices": tuple(row["choices"])})) for row in rows]
    # Arrow says of broken files that they cannot be read
    except (ArrowException, ValueError, KeyError, TypeError, OSError) as error:
        told = str(error).splitlines()[0]
        raise DocumentError(f"{path.with_suffix(ITEMS)}: {told}: {Task.REMEDY}") from None
    if items_sha256(items) != task.items_sha256:
        raise DocumentError(f"{path.with_suffix(ITEMS)}: its items are not those of {path}: {Task.REMEDY}")
    return TaskItems(task, items, [set(found) for found in table["found_in"]])


def read_settings(text: str) -> dict[str, Any]:
    """Settings of a task as JSON, without the fingerprint that the workflow adds to notice changes."""
    fields: dict[str, Any] = json.loads(text)
    fields.pop("code", None)
    return fields
