"""Names and order of checkpoints. Reading needs no torch; `stepladder.training.checkpoint` writes them.

A checkpoint is a folder `step-NNNNNN` that holds the tensors, `state.json` (where the run was) and, written
last, `manifest.json` (sha256 of every file): without a manifest it is not complete. What else lies among
them, such as a copy called `step-000039.bak`, is no checkpoint.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Annotated, NotRequired

from annotated_types import Ge
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from stepladder.record.result import Seconds
from stepladder.record.spec import RunSpec

STATE, MANIFEST = "state.json", "manifest.json"
_NAME = re.compile(r"step-([0-9]{6,15})")

Count = Annotated[int, Ge(0)]


def _causes(seconds: dict[str, float]) -> dict[str, float]:
    """Those of a result, all of them: a run that goes on books to them, and writes them at its end."""
    if missing := Seconds.model_fields.keys() ^ seconds.keys():
        raise ValueError(f"there must be {', '.join(Seconds.model_fields)}; {', '.join(missing)} differ")
    return seconds


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


class HealthTally(TypedDict):
    """What stood out in a run so far, over all its attempts; see `stepladder.record.result.Health`."""

    spikes: Count
    """Steps whose loss or gradient norm stood far above those before."""
    skipped_steps: Count
    """Steps that changed nothing, because loss or gradient were not finite."""
    slow_steps: Count
    """Steps that took far longer than usual, counted once per rank."""
    slow_seconds: NotRequired[Annotated[float, Ge(0)]]
    """By which those of the first rank took longer than usual. Checkpoints of older versions do not tell."""
    notes: list[str]
    """The first of all these in words."""


@with_config(ConfigDict(allow_inf_nan=False))
class CheckpointState(TypedDict):
    """What a checkpoint holds beside tensors: where the run was."""

    spec_sha256: str
    data_sha256: str
    step: Count
    """Optimizer steps done."""
    time: Annotated[float, Ge(0)]
    """When it was saved, Unix seconds."""
    started: Annotated[str, AfterValidator(_moment)]
    """When the run's first attempt began, ISO 8601 in UTC."""
    seconds: Annotated[dict[str, Annotated[float, Ge(0)]], AfterValidator(_causes)]
    """Booked so far, by cause, with their total."""
    health: HealthTally
    accelerators: Annotated[int, Ge(1)]
    """How many trained together; the two fields that follow hold for as many."""
    micro_batch_sequences: Annotated[int, Ge(1)] | None
    """Sequences that went through an accelerator at once; None for its whole share of the batch."""
    recompute: bool
    """Whether activations were computed again in the backward pass."""
    warnings: list[str]
    """Of all attempts, in order."""


_STATE = TypeAdapter(CheckpointState)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where below `folder` the checkpoint after `step` steps is."""
    return folder / f"step-{step:06d}"


def partial_path(folder: Path, step: int) -> Path:
    """Where it is while it is being written."""
    return folder / f"partial-{step:06d}"


def step_of(checkpoint: Path) -> int:
    """Steps that had been done when this checkpoint was saved.

    Raises:
        ValueError: it is not named as `checkpoint_path` names checkpoints.
    """
    found = _NAME.fullmatch(checkpoint.name)
    if not found or checkpoint_path(Path(), int(found[1])).name != checkpoint.name:
        raise ValueError(f"{checkpoint}: not the name of a checkpoint")
    return int(found[1])


LOG_SPACED = 10
"""Checkpoints that `keep: [log-spaced]` spreads over a run, its end included."""


def kept_steps(spec: RunSpec, keep: Collection[str]) -> frozenset[int]:
    """Steps whose checkpoints stay, as `execution.keep` says."""
    steps = spec.recipe.steps
    found = {steps}
    if "phases" in keep:
        found |= set(accumulate(phase.steps for phase in spec.recipe.phases))
    if "log-spaced" in keep:
        first = max(1, steps // 100)
        ratio = (steps / first) ** (1 / (LOG_SPACED - 1))
        found |= {min(steps, round(first * ratio**number)) for number in range(LOG_SPACED)}
    return frozenset(found)


def read_state(checkpoint: Path) -> CheckpointState:
    """Where the run was at this checkpoint. The hash of the file is not looked at.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such a state, or that of another step than the folder's name says.
    """
    path = checkpoint / STATE
    try:
        state = _STATE.validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise ValueError(f"{path}: {where} = {problem['input']!r:.80}: {problem['msg']}") from None
    if state["step"] != step_of(checkpoint):
        raise ValueError(f"{path}: step = {state['step']}, but the folder is called {checkpoint.name}")
    return state


def newest_first(folder: Path) -> list[Path]:
    """All checkpoints below `folder`, complete or not, by falling step; none if there is no such folder."""
    return sorted(filter(_is_named, folder.glob("step-*")), key=step_of, reverse=True)


def complete_newest_first(folder: Path) -> list[Path]:
    """The complete ones among them. Whether their files match the manifest is not looked at."""
    return [path for path in newest_first(folder) if os.path.isfile(path / MANIFEST)]


def _is_named(path: Path) -> bool:
    try:
        return step_of(path) >= 0
    except ValueError:
        return False
