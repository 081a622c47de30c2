"""Results of single runs to two tables. A missing number stays missing; nothing is grepped from logs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

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


def read_steps(path: Path) -> list[dict[str, Any]]:
    """Step records of an event log, the last one of each step (a resumed run repeats some).

    Raises:
        ValueError: a line other than the last is not a record. The last may be cut off by a kill.
    """
    lines = path.read_bytes().split(b"\n")
    records: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, TypeError, KeyError):
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number}: not JSON; restore it or run the run again") from None
        if kind == "start":
            # Without a usable checkpoint a run starts anew; what it logged before is not its history.
            records = {}
        elif kind == "step":
            records[event["step"]] = {k: v for k, v in event.items() if k not in ("event", "time")}
        elif kind == "resume":
            # Steps after the checkpoint that the run went on from were lost and are trained again.
            records = {step: record for step, record in records.items() if step < event["step"]}
    return [records[step] for step in sorted(records)]
