"""rule.json: the analysis section of a ladder as it was before the first result, and what has changed.

A verdict is worth what its rule was worth before anyone had seen a loss. `snakemake` writes the record
when it starts to work; as long as there is no result, the ladder file may change and the record follows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, JsonValue, ValidationError

from stepladder.documents.document import Document, Part
from stepladder.schema.analysis import AnalysisConfig

CHANGED = "rule changed after the first result"
UNRECORDED = "rule not on record before the first result"


def _moment(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("no time in ISO 8601, as in 2026-11-26T07:42:12+00:00") from None
    return text


Moment = Annotated[str, AfterValidator(_moment)]
"""A time as text."""


class Changed(Part):
    """A setting that is another now than on record."""

    field: str
    """Path of the setting in the analysis section: `verdict.minimal_gain`."""
    then: JsonValue
    """On record."""
    now: JsonValue
    """In the ladder file."""


class RuleRecord(Document):
    """The analysis section on record."""

    SEALED: ClassVar[bool] = True
    REMEDY: ClassVar[str] = "restore it; without it the verdict's rule is not on record"

    recorded_at: Moment
    """ISO 8601, UTC."""
    results_then: int = Field(ge=0)
    """Results that the ladder had already: 0 where the rule was written down in time."""
    settings: dict[str, JsonValue]
    """The analysis section, defaults filled in."""


class RuleCheck(Part):
    """Whether the rule that judges was written down before the first result."""

    recorded_at: str | None
    """ISO 8601; null where no rule is on record."""
    results_then: int
    """Results that were there already when it was written down."""
    before: bool | None
    """Whether it was written down before the first run ended; null where that is not known."""
    changes: tuple[Changed, ...]
    """Settings that were changed since."""
    mark: str | None
    """What every verdict must be read with; null where the rule stands as it was before the first result."""


def record_rule(path: Path, config: AnalysisConfig, results: Sequence[Path]) -> RuleRecord:
    """Write the rule down if it is not on record, or if no run has a result yet; returns what is on record.

    Args:
        path: rule.json of the ladder.
        results: result.json of every run of the ladder and of its sweep, there or not.

    Raises:
        DocumentError: there is a record, and it is not as it was written.
    """
    there = sum(result.exists() for result in results)
    if there and path.exists():
        return RuleRecord.read(path)
    settings = config.model_dump(mode="json")
    if path.exists() and RuleRecord.read(path).settings == settings:
        return RuleRecord.read(path)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = RuleRecord(recorded_at=now, results_then=there, settings=settings)
    record.write(path)
    return record


def check_rule(record: RuleRecord | None, config: AnalysisConfig, finished: Sequence[str]) -> RuleCheck:
    """What became of the rule on record.

    Args:
        finished: when each run ended, ISO 8601.
    """
    if record is None:
        return RuleCheck(recorded_at=None, results_then=0, before=None, changes=(), mark=UNRECORDED)
    recorded = _utc(datetime.fromisoformat(record.recorded_at))
    before = record.results_then == 0 and all(
        recorded <= _utc(datetime.fromisoformat(text)) for text in finished
    )
    changed = changes(record.settings, config)
    return RuleCheck(
        recorded_at=record.recorded_at,
        results_then=record.results_then,
        before=before,
        changes=changed,
        mark=CHANGED if changed else None if before else UNRECORDED,
    )


def changes(then: Mapping[str, JsonValue], config: AnalysisConfig) -> tuple[Changed, ...]:
    """Settings of an analysis section that are others in `config`, in its order."""
    with suppress(ValidationError):  # settings that are new since then had their defaults
        then = AnalysisConfig.model_validate_json(json.dumps(then)).model_dump(mode="json")
    before, now = _flat(then), _flat(config.model_dump(mode="json"))
    if not now["gates"] and not _promote_early(before.get("gates")):
        before["gates"] = now[
            "gates"
        ]  # climbed whole: gates that only stop leave the verdict's rule as it is
    names = [*now, *(name for name in before if name not in now)]
    return tuple(
        Changed(field=name, then=before.get(name), now=now.get(name))
        for name in names
        if before.get(name) != now.get(name)
    )


def _promote_early(gates: JsonValue) -> bool:
    """Whether any of the gates on record may promote."""
    rows = gates if isinstance(gates, list) else []
    return any(isinstance(row, dict) and bool(row.get("success")) for row in rows)


def _flat(settings: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """Settings by their path."""
    found: dict[str, JsonValue] = {}
    for name, value in settings.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        found |= inner
    return found


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
