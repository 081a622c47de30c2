"""events.jsonl, what happened in a run, and its one reader.

The log has one JSON object per line and is only ever appended to. Every record has `event` and `time` (Unix
seconds). What it means:

- A run's history begins with the newest `start`: without a usable checkpoint a run starts anew.
- `resume` at step s forgets the logged steps from s on: a kill threw them away, and they are trained again.
- A last line without a line break was cut off by a kill, or is being written: it is left out.
- A finished line that is no record is an error that names file and line. Only `read_tail`, for those who look
  at a run from outside while it goes on, passes over it.

Reading needs no torch.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Required, cast

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

TAIL_BYTES = 65_536
"""What `read_tail` reads: more than a hundred step records."""


class Record(TypedDict, total=False):
    """One line of a log: what all events have, and what some have that others read."""

    event: Required[str]
    """start, resume, phase, step, checkpoint, evaluation, spike, skipped, slow_step, warning, stopped or
    end."""
    time: Required[float]
    """When it was written, Unix seconds."""
    step: int
    """Of a step, spike or slow step: its number, from 0. Of others: optimizer steps done."""
    began: float
    """Of start and resume: when the attempt's process began, Unix seconds."""
    spec_sha256: str
    data_sha256: str
    message: str
    """Of a warning."""
    losses: dict[str, float]
    """Of an evaluation: held-out loss by domain, nats/token."""


@with_config(ConfigDict(use_attribute_docstrings=True))
class StepRecord(TypedDict, total=False):
    """Fields of a logged step, without `event` and `time`; of the batch of all ranks."""

    step: Required[int]
    """number of the step, from 0"""
    phase: str
    """phase of the recipe that the step belongs to"""
    learning_rate: float
    """rate that the step was taken at"""
    tokens: int
    """raw tokens read until its end"""
    positions: int
    """positions processed until its end"""
    flops: Annotated[float, "FLOPs"]
    """model training FLOPs until its end"""
    loss: Annotated[float | None, "nats/token"]
    """training loss; in TST's superposed phase a multi-hot cross-entropy on another scale;
    null if not finite"""
    gradient_norm: float | None
    """global norm before clipping, null if not finite"""
    balance_loss: float | None
    """balance loss of the experts' router, mean over layers, unweighted: 1 is uniform; null without experts,
    as all that follows on them"""
    expert_load_max: float | None
    """largest share of one expert times the number of experts, mean over layers: 1 is uniform"""
    router_entropy: Annotated[float | None, "nats"]
    """entropy of the router's probabilities, mean over layers"""
    load_max_by_layer: list[float] | None
    """largest share of one expert times the number of experts, by layer"""
    load_min_by_layer: list[float] | None
    """smallest share of one expert times the number of experts, by layer: 0 is one that nothing went to"""
    entropy_by_layer: Annotated[list[float] | None, "nats"]
    """entropy of the router's probabilities, by layer"""
    step_seconds: Annotated[float, "s"]
    """time of the step, `stall_seconds` not included"""
    accelerators: int
    """accelerators that took the step together"""
    tokens_per_second: Annotated[float, "1/s"]
    """raw tokens ÷ `step_seconds`"""
    positions_per_second: Annotated[float, "1/s"]
    """positions ÷ `step_seconds`"""
    mfu: float | None
    """model FLOP/s, causal count, ÷ the accelerators' peak; null if that is unknown"""
    stall_seconds: Annotated[float, "s"]
    """between the end of the step before and its begin, with nothing to save or log"""
    data_seconds: Annotated[float, "s"]
    """of these, getting the batch"""
    forward_seconds: Annotated[float, "s"]
    """of these, forward passes"""
    backward_seconds: Annotated[float, "s"]
    """of these, backward passes"""
    communication_seconds: Annotated[float, "s"]
    """of these, reduction of gradients over ranks; missing where there is one rank"""
    optimizer_seconds: Annotated[float, "s"]
    """of these, the update of the weights"""
    inherited: bool
    """true if a trunk took the step and this run branched off it later; else missing"""


class EventLog:
    """Append records; each is flushed, so that a killed process loses at most a cut-off last line."""

    def __init__(self, path: Path) -> None:
        heal(path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, event: str, **fields: object) -> None:
        """Append one record.

        Raises:
            ValueError: a field is not a finite number; write None for what is missing.
        """
        self.write_many(event, [fields])

    def write_many(self, event: str, records: Iterable[Mapping[str, object]]) -> None:
        """Append several records of one kind and flush once."""
        now = round(time.time(), 3)
        for fields in records:
            line = json.dumps({"event": event, "time": now, **fields}, allow_nan=False)
            self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def heal(path: Path) -> None:
    """Cut off a last line that a kill left unfinished."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def read_events(path: Path, kind: str = "") -> list[Record]:
    """All records in order, or all of one kind: other lines are not parsed then.

    Raises:
        ValueError: a finished line is not a record; the message names file and line.
    """
    wanted = f'"{kind}"'.encode() if kind else b""
    lines = enumerate(_finished(path.read_bytes()), 1)
    records = [_record(line, path, number) for number, line in lines if wanted in line]
    return [record for record in records if kind in ("", record["event"])]


def read_tail(path: Path, size: int = TAIL_BYTES) -> list[Record]:
    """The records in the last `size` bytes; what is not a record is left out, and a missing log has none."""
    try:
        with path.open("rb") as file:
            begin = max(0, file.seek(0, os.SEEK_END) - size)
            file.seek(begin)
            lines = _finished(file.read())
    except OSError:
        return []
    records = []
    for line in lines[bool(begin) :]:  # the first one is cut off unless the file begins with it
        with suppress(ValueError):
            records.append(_record(line, path, 0))
    return records


def history(records: Sequence[Record]) -> list[Record]:
    """The records since the newest start from step 0; all where there is none among them, as in a tail."""
    starts = [index for index, record in enumerate(records) if record["event"] == "start"]
    return list(records[starts[-1] if starts else 0 :])


def steps_of(records: Sequence[Record]) -> list[StepRecord]:
    """The logged steps of a log's history in order of step, without `event` and `time`."""
    steps: dict[int, StepRecord] = {}
    for record in history(records):
        if record["event"] == "step":
            fields = {key: value for key, value in record.items() if key not in ("event", "time")}
            steps[record["step"]] = cast("StepRecord", fields)
        elif record["event"] == "resume":
            steps = {step: fields for step, fields in steps.items() if step < record["step"]}
    return [steps[step] for step in sorted(steps)]


def read_steps(path: Path) -> list[StepRecord]:
    """The steps of the run whose log this is; see `steps_of` and, for what it raises, `read_events`."""
    return steps_of(read_events(path))


def steps_done(records: Sequence[Record]) -> int:
    """Optimizer steps that the run had done at the last record."""
    done = 0
    for record in history(records):
        if record["event"] == "resume":
            done = record["step"]
        elif "step" in record:
            done = max(done, record["step"] + (record["event"] == "step"))
    return done


def restarts(records: Sequence[Record]) -> int:
    """How often the run went on from a checkpoint."""
    return sum(record["event"] == "resume" for record in history(records))


def working_seconds(records: Sequence[Record], since: float | None = None) -> float:
    """Seconds in which attempts worked; what passed between them is waiting, and not counted.

    Args:
        records: in order of time.
        since: Unix time of a checkpoint, to count what was done after it; from the first record on if None.
    """
    worked, before = 0.0, since
    for record in records:
        if since is not None and record["time"] <= since:
            continue
        begin = record.get("began", before)
        worked += record["time"] - (record["time"] if begin is None else begin)
        before = record["time"]
    return worked


def _finished(content: bytes) -> list[bytes]:
    """Lines that end with a line break."""
    return content.split(b"\n")[:-1]


def _record(line: bytes, path: Path, number: int) -> Record:
    """Parse one line.

    Raises:
        ValueError: it is no record.
    """
    try:
        found = json.loads(line)
        found["event"]
    except (ValueError, TypeError, KeyError) as error:
        problem = f"{path}, line {number}: not a JSON record ({error}); restore it or run the run again"
        raise ValueError(problem) from None
    return cast("Record", found)
