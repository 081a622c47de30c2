"""What the fields of a document, and the columns of a table, mean: read from their types.

    python -m stepladder.record.describe docs/results.md

writes the tables of that page anew, each between two comments that name it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from stepladder.documents.meaning import meanings
from stepladder.record.curve import Look
from stepladder.record.evaluation import Evaluation, Task
from stepladder.record.events import StepRecord
from stepladder.record.result import Result


@dataclass(frozen=True)
class Field:
    """A field of a document or a table."""

    name: str
    """Nested names joined by dots; `*` stands for a key of a mapping, as a domain."""
    unit: str
    """Empty for what has none."""
    meaning: str


def fields_of(document: type[BaseModel], prefix: str = "") -> Iterator[Field]:
    """The fields of a model, and of the models in it, in their order."""
    told = meanings(document)
    for name, info in document.model_fields.items():
        inner, many = _plain(info.annotation)
        path = f"{prefix}{name}" + ".*" * many
        unit = next((text for text in info.metadata if isinstance(text, str)), "")
        yield Field(path, unit, _one_line(told.get(name)))
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields_of(inner, f"{path}.")


def columns_of(record: Any) -> Iterator[Field]:
    """The fields of a TypedDict in their order."""
    told = meanings(record)
    for name, kind in get_type_hints(record, include_extras=True).items():
        unit = next((text for text in getattr(kind, "__metadata__", ()) if isinstance(text, str)), "")
        yield Field(name, unit, _one_line(told.get(name)))


def tables() -> dict[str, list[Field]]:
    """The tables of docs/results.md by the name that stands in the comments around them."""
    return {
        "result.json": [*fields_of(Result)],
        "steps.parquet": [*columns_of(StepRecord)],
        "looks.parquet": [*columns_of(Look)],
        "task.json": [*fields_of(Task)],
        "evaluation.json": [*fields_of(Evaluation)],
    }


def page(text: str) -> str:
    """The page with its tables made anew."""
    for name, fields in tables().items():
        rows = "".join(f"| `{field.name}` | {field.unit} | {field.meaning} |\n" for field in fields)
        body = f"<!-- {name} -->\n| field | unit | meaning |\n|---|---|---|\n{rows}<!-- end of {name} -->"
        before, _, rest = text.partition(f"<!-- {name} -->")
        text = before + body + rest.partition(f"<!-- end of {name} -->")[2]
    return text


def _plain(kind: Any) -> tuple[Any, bool]:
    """The type itself of one that may be null or is a mapping to it, and whether it is a mapping."""
    if options := [option for option in get_args(kind) if option is not NoneType]:
        if get_origin(kind) is dict:
            return options[1], True
        if len(options) == 1 and NoneType in get_args(kind):
            return _plain(options[0])
    return kind, False


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
