"""Where a branch leaves its trunk: which checkpoint it goes on from, and the history that it takes along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from stepladder.ladder.trunk import prefix
from stepladder.record.events import read_steps
from stepladder.record.spec import RunSpec
from stepladder.training.checkpoint import Checkpoint, verify


class Fork(NamedTuple):
    """The end of a segment of a trunk."""

    checkpoint: Checkpoint
    steps: list[dict[str, Any]]
    """Records of the steps until there, those of earlier segments included."""
    lineage: dict[str, Any]
    """Which segment it was, for the result."""


def read_fork(path: Path, spec: RunSpec, data_sha256: str) -> Fork:
    """Read the segment whose result.json is at `path`, for a run that goes on from its end.

    Raises:
        ValueError: it is not the beginning of this run, or was trained on other data.
        BrokenCheckpoint: its checkpoint is missing or damaged.
    """
    result = json.loads(path.read_text(encoding="utf-8"))
    wanted = prefix(spec, result["steps"]).sha256
    if result["spec_sha256"] != wanted:
        raise ValueError(
            f"{spec.id} cannot go on from {path}: its first {result['steps']} steps have spec {wanted[:12]}, "
            f"and what was trained there has {result['spec_sha256'][:12]}: run snakemake again"
        )
    if result["lineage"]["data_sha256"] != data_sha256:
        raise ValueError(f"{spec.id} cannot go on from {path}: it was trained on other data; train it again")
    checkpoint = verify(path.parent / "checkpoints" / result["checkpoint"])
    parent = {"path": str(path), "spec_sha256": wanted, "step": result["steps"]}
    return Fork(checkpoint, read_steps(path.parent / "events.jsonl"), parent)
