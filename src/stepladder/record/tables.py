"""Results of single runs to two tables. A missing number stays missing; nothing is grepped from logs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from stepladder.record.events import read_steps

RENAMED = {"losses": "loss", "bits_per_byte_by_domain": "bits_per_byte"}
"""Nested fields of result.json whose columns have a shorter prefix."""


def collect(
    paths: Iterable[Path], planned_flops: dict[str, float] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per run, and one row per logged step.

    Args:
        paths: result.json files; events.jsonl is read from beside each.
        planned_flops: run id to the plan's model FLOPs, where there is a plan.

    Raises:
        ValueError: a file is not what it should be; the message names file and line.
    """
    runs, steps = [], []
    for path in paths:
        try:
            result = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path}: not JSON ({error}); run the run again") from error
        if not isinstance(result, dict) or "id" not in result:
            raise ValueError(f"{path}: not the result of a run; run the run again")
        row = flatten(result)
        row["planned_flops"] = (planned_flops or {}).get(result["id"])
        runs.append(row)
        names = {key: result[key] for key in ("id", "variant", "rung", "budget", "seed")}
        steps += [names | record for record in read_steps(path.parent / "events.jsonl")]
    return pd.DataFrame(runs), pd.DataFrame(steps)


def flatten(result: dict[str, Any]) -> dict[str, Any]:
    """result.json with nested names joined by `_`; a section that is null stays one null column."""
    row: dict[str, Any] = {}
    for key, value in result.items():
        if isinstance(value, dict):
            prefix = RENAMED.get(key, key)
            row |= {f"{prefix}_{name}": inner for name, inner in flatten(value).items()}
        else:
            row[key] = value
    return row
