"""docs/results.md says what the types say, and the types say what is in the tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from golden import GOLDEN
from pydantic import BaseModel

from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.comparison import Comparison
from stepladder.decision.prediction_record import PredictionRecord
from stepladder.documents.meaning import meanings
from stepladder.laws.envelope import EnvelopeFit
from stepladder.laws.isoflop import IsoflopFit
from stepladder.laws.law_fit import LawFit
from stepladder.record.describe import columns_of, fields_of, page
from stepladder.record.events import StepRecord, read_steps
from stepladder.record.learning_rates import Tuning
from stepladder.record.plan import Plan
from stepladder.record.result import COLUMN_PREFIX, Result

PAGE = Path(__file__).parents[2] / "docs" / "results.md"


def test_the_page_is_as_the_types():
    text = PAGE.read_text()
    assert page(text) == text, f"run: python -m stepladder.record.describe {PAGE}"


def models_in(kind: Any) -> Iterator[type[BaseModel]]:
    """The models that a type is made of, parts of parts and of tuples included."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for info in kind.model_fields.values():
            yield from models_in(info.annotation)
    for inner in get_args(kind):
        yield from models_in(inner)


DOCUMENTS = [
    Result,
    Comparison,
    AxisFit,
    LawFit,
    IsoflopFit,
    EnvelopeFit,
    Tuning,
    Plan,
    PredictionRecord,
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.__name__)
def test_every_field_says_what_it_means(document):
    for model in set(models_in(document)):
        for name in model.model_fields:
            assert meanings(model).get(name, "").strip(), f"{model.__name__}.{name}"


def test_every_column_of_a_step_says_what_it_means():
    for field in columns_of(StepRecord):
        assert field.meaning, field.name
    for field in fields_of(Result):
        assert field.meaning, field.name


@pytest.mark.parametrize("name", ["dense", "moe", "branch", "segment"])
def test_every_column_of_a_run_is_described(name):
    """A key of a mapping may be anything; a part that is null is a column of its own."""
    patterns = []
    for field in fields_of(Result):
        head, *rest = field.name.split(".")
        column = "_".join([COLUMN_PREFIX.get(head, head) if rest else head, *rest])
        patterns.append(re.compile(re.escape(column).replace(r"\*", ".+")))
    for column in Result.read(GOLDEN / f"{name}.json").row():
        assert any(pattern.fullmatch(column) for pattern in patterns), column


def test_every_column_of_a_step_is_described():
    described = {field.name for field in columns_of(StepRecord)}
    (step,) = read_steps(GOLDEN / "moe.events.jsonl")
    assert set(step) <= described
    assert described - set(step) == {"communication_seconds", "inherited"}
