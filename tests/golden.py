"""Results as version 1 of the code wrote them, and results made from one by changing what a test is about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepladder.record.result import Result

GOLDEN = Path(__file__).parent / "record" / "golden"


def golden(name: str = "dense") -> dict[str, Any]:
    """The fields of an early result.json: dense, moe, branch (of a trunk) or segment (of one)."""
    return json.loads((GOLDEN / f"{name}.json").read_text())


def a_result(**changes: Any) -> Result:
    """A result that differs from the dense golden one in these fields; parts are given as dicts."""
    return Result.model_validate(golden() | changes)
