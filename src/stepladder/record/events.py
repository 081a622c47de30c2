"""events.jsonl, what happened in a run, and its one reader.

The log has one JSON object per line and is only ever appended to. Every record has `event` and `time` (Unix
seconds). What it means:

- A run's history begins with the newest `start`: without a usable checkpoint a run starts anew.
- `resume` at step s forgets the logged steps from s on: a kill threw them away, and they are trained again.
- A last line without a line break was cut off by a kill, or is being written: it is left out.
- A finished line that is no record is left out: one bad line must not cost a run. `read_log` says which,
  `read_events` warns of them; `read_tail`, for those who look at a run from outside while it goes on, is
  silent.

Reading needs no torch.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NamedTuple, Required, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

TAIL_BYTES = 65_536
"""What `read_tail` reads: more than a hundred step records."""


NEEDED = {"step": ("step",), "resume": ("step",), "warning": ("message",)}
"""Event to fields without which nobody can read it."""

MOST_STEPS = 10**15
"""Beyond any run."""

SHOWN = 3
"""Bad lines of a log that a warning tells apart."""


@with_config(ConfigDict(extra="allow", allow_inf_nan=False))
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
    """model FLOP/s, counted as `mfu.convention` of the result says, ÷ the accelerators' peak; null if that is
    unknown"""
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


@with_config(ConfigDict(extra="allow", allow_inf_nan=False))
class _LoggedStep(StepRecord, total=False):
    """A step's line."""

    event: Required[str]
    time: Required[float]


_RECORD, _STEP = TypeAdapter(Record), TypeAdapter(_LoggedStep)


class DamagedLog(UserWarning):
    """Lines of a log are no records and were left out."""


class ReadLog(NamedTuple):
    """What a log holds."""

    records: list[Record]
    """In order."""
    damage: str | None
    """File and lines that are no records, and why; None if there are none."""


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


def read_log(path: Path, kind: str = "") -> ReadLog:
    """All records in order, or all of one kind: other lines are not parsed then.

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    wanted = f'"{kind}"'.encode() if kind else b""
    records, bad = [], []
    for number, line in enumerate(_finished(path.read_bytes()), 1):
        if wanted in line:
            try:
                records.append(_record(line))
            except ValueError as error:
                bad.append(f"line {number} ({error})")
    shown = "; ".join(bad[:SHOWN]) + (f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else "")
    damage = f"{path}: not a record, left out: {shown}" if bad else None
    return ReadLog([record for record in records if kind in ("", record["event"])], damage)


def read_events(path: Path, kind: str = "") -> list[Record]:
    """The records that `read_log` finds; warns (`DamagedLog`) of lines that are none."""
    log = read_log(path, kind)
    if log.damage:
        warnings.warn(log.damage, DamagedLog, stacklevel=2)
    return log.records


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
            records.append(_record(line))
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
    """The steps of the run whose log this is; see `steps_of` and, for what it warns of, `read_events`."""
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


def _record(line: bytes) -> Record:
    """Parse one line.

    Raises:
        ValueError: it is no record; the message says why, not where.
    """
    try:
        found = json.loads(line)
        (_STEP if _is_step(found) else _RECORD).validate_python(found, strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "it"
        raise ValueError(f"{where}: {problem['msg']}") from None
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if missing := [name for name in NEEDED.get(found["event"], ()) if name not in found]:
        raise ValueError(f"no {missing[0]}")
    if not 0 <= found.get("step", 0) < MOST_STEPS:
        raise ValueError(f"step is not between 0 and {MOST_STEPS}")
    return cast("Record", found)


def _is_step(found: object) -> bool:
    return isinstance(found, dict) and found.get("event") == "step"
