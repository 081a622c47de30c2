"""The ledger of MFU: what each version of the code made of a rung, and what had changed. No torch.

Snakemake removes a result before it has a run trained again, and training moves the files of another spec
aside; but an event log is only ever appended to, and its `end` record says what a run achieved. So the
history is in the logs. Versions whose `end` said less are counted and left out.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from pydantic import BaseModel, JsonValue, ValidationError

from stepladder.record.events import DamagedLog, read_events
from stepladder.record.paths import LadderFolder, RunFolder
from stepladder.record.result import Ended


class NamedPart(BaseModel):
    """The optimizer or the recipe of a spec."""

    name: str
    options: dict[str, JsonValue] = {}


class Batch(BaseModel):
    """What one step of a phase reads."""

    name: str
    bag_size: int
    sequences: int
    positions: int


class Recipe(NamedPart):
    phases: list[Batch]


class Work(BaseModel):
    """The parts of a run's spec that bear on its speed. Specs of any version of the code have them."""

    variant: str
    rung: str
    precision: str
    optimizer: NamedPart
    model: dict[str, JsonValue]
    recipe: Recipe

    def described(self) -> dict[str, JsonValue]:
        """Nested names joined by dots; seeds, steps and rates are no part of it."""
        flat: dict[str, JsonValue] = {"precision": self.precision, "optimizer.name": self.optimizer.name}
        flat |= {f"model.{name}": value for name, value in self.model.items()}
        flat |= {f"recipe.{name}": value for name, value in self.recipe.options.items()}
        for phase in self.recipe.phases:
            flat |= {f"{phase.name}.{name}": value for name, value in phase if name != "name"}
        return flat


@dataclass(frozen=True)
class EndedRun:
    """One run that ended."""

    time: float
    """When it ended, Unix seconds."""
    ended: Ended
    work: Work

    @property
    def variant(self) -> str:
        return self.work.variant

    @property
    def rung(self) -> str:
        return self.work.rung

    @property
    def machine(self) -> str:
        """Accelerators or CPU, and dtype: numbers of different machines are not compared."""
        hardware = self.ended.hardware
        name = hardware.accelerator or f"{hardware.cpu} ({hardware.cores} cores)"
        return f"{self.ended.accelerators} x {name}, {self.work.precision}"


@dataclass(frozen=True)
class Version:
    """All runs of a variant, rung and machine with one commit and one way of computing."""

    variant: str
    rung: str
    machine: str
    time: float
    """Of its first run."""
    commit: str
    runs: int
    mfu: float | None
    """Median over runs of their medians over steps, causal count; None without a peak."""
    mfu_low: float | None
    mfu_high: float | None
    """10th and 90th percentile of steps: medians over runs."""
    mfu_palm: float | None
    tokens_per_second: float
    step_milliseconds: dict[str, float]
    goodput: float
    peak_memory_bytes: float
    change: float | None
    """Factor on MFU, or without a peak on tokens per second, against the version before; None for the
    first."""
    what: list[str]
    """What differs from the version before."""


def read_entries(results: Path) -> tuple[list[EndedRun], int]:
    """Runs that ended below a ladder's results, those moved aside included, by time; and how many told no
    figures. Warns of lines of logs that are no records."""
    logs = sorted(LadderFolder(results).runs.glob("**/events.jsonl"))
    found = [entry for log in logs for entry in _ends(RunFolder(log.parent))]
    entries = [entry for entry in found if entry is not None]
    return sorted(entries, key=lambda entry: entry.time), len(found) - len(entries)


def _ends(folder: RunFolder) -> Iterator[EndedRun | None]:
    """Each time that a run ended; None where its record tells no figures, or its spec is not there."""
    work = _read_work(folder.spec)
    try:
        records = read_events(folder.events, "end")
    except OSError as error:
        warnings.warn(f"{folder.events}: {error.strerror}, left out", DamagedLog, stacklevel=2)
        return
    for record in records:
        try:
            yield EndedRun(record["time"], Ended.model_validate(record), work) if work else None
        except ValidationError:
            yield None


def _read_work(path: Path) -> Work | None:
    try:
        return Work.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def ledger(entries: list[EndedRun]) -> list[Version]:
    """Versions of each variant, rung and machine in the order in which they first ran."""
    groups: dict[tuple[str, str, str], dict[str, list[EndedRun]]] = {}
    for entry in entries:
        versions = groups.setdefault((entry.variant, entry.rung, entry.machine), {})
        versions.setdefault(json.dumps(_how(entry), sort_keys=True), []).append(entry)
    found = []
    for versions in groups.values():
        before: list[EndedRun] | None = None
        for members in versions.values():
            found.append(_version(members, before))
            before = members
    return found


def _how(entry: EndedRun) -> dict[str, JsonValue]:
    """Names and values of all that bears on speed, but the machine; equal for runs of one version.

    The commit is part of it: the fingerprint is that of the code that determines losses, and much that
    determines speed is no part of that code.
    """
    ended = entry.ended
    return {
        "commit": _commit(ended),
        "training code": ended.code_fingerprint[:7],
        "threads": ended.threads,
        "peak FLOP/s": f"{ended.mfu.peak_flops_per_second:.4g}" if ended.mfu else None,
        **ended.packages,
        **ended.engine,
        **entry.work.described(),
    }


def _commit(ended: Ended) -> str:
    """Nine digits, and a + if the files differed from it."""
    return (ended.code_commit or "?")[:9] + ("+" if ended.code_dirty else "")


def _version(members: list[EndedRun], before: list[EndedRun] | None) -> Version:
    first, runs = members[0], [entry.ended for entry in members]
    mfu, rate = _mfu(runs, "median"), median(run.tokens_per_second for run in runs)
    earlier = [entry.ended for entry in before or []]
    was = _mfu(earlier, "median") if mfu is not None else None
    if was is None and earlier:
        was = median(run.tokens_per_second for run in earlier)
        now = rate
    else:
        now = mfu if mfu is not None else rate
    phases = {phase: None for run in runs for phase in run.median_step_seconds}
    return Version(
        variant=first.variant,
        rung=first.rung,
        machine=first.machine,
        time=first.time,
        commit=_commit(runs[0]),
        runs=len(members),
        mfu=mfu,
        mfu_low=_mfu(runs, "p10"),
        mfu_high=_mfu(runs, "p90"),
        mfu_palm=_mfu(runs, "palm_median"),
        tokens_per_second=rate,
        step_milliseconds={phase: 1e3 * _step_seconds(runs, phase) for phase in phases},
        goodput=median(run.goodput for run in runs),
        peak_memory_bytes=max(run.peak_memory_bytes for run in runs),
        change=None if before is None or was is None else now / was,
        what=[] if before is None else differences(_how(before[0]), _how(first)),
    )


def _mfu(runs: Sequence[Ended], field: Literal["median", "p10", "p90", "palm_median"]) -> float | None:
    known: list[float] = [getattr(run.mfu, field) for run in runs if run.mfu]
    return median(known) if known else None


def _step_seconds(runs: Sequence[Ended], phase: str) -> float:
    """Median over the runs that have steps of the phase: a budget may have none."""
    return median(run.median_step_seconds[phase] for run in runs if phase in run.median_step_seconds)


def differences(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> list[str]:
    """`name old → new` of what differs; what one side does not know is a dash."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return [f"{name} {_or_dash(before.get(name))} → {_or_dash(after.get(name))}" for name in names]


def _or_dash(value: JsonValue) -> JsonValue:
    return "—" if value is None else value
