"""The ledger of MFU: what each version of the code made of a rung, and what had changed. No torch.

Snakemake removes a result before it has a run trained again, and training moves the files of another spec
aside; but an event log is only ever appended to, and its `end` record says what a run achieved. So the
history is in the logs. Logs of versions whose `end` said little are completed from the result beside them,
where that is still there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One run that ended."""

    variant: str
    rung: str
    machine: str
    """Accelerators or CPU, and dtype: numbers of different machines are not compared."""
    time: float
    """When it ended, Unix seconds."""
    record: Record
    spec: dict[str, Any]


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


def read_entries(results: Path) -> tuple[list[Entry], int]:
    """Runs that ended below a ladder's results, those moved aside included, by time; and how many told no
    figures."""
    entries, silent = [], 0
    for log in sorted(results.glob("runs/**/events.jsonl")):
        ends, spec = _ends(log), _read(log.parent / "spec.json")
        told = [record for record in ends if "tokens_per_second" in record] if spec else []
        entries += [_entry(record, spec) for record in told]
        silent += len(ends) - len(told)
    return sorted(entries, key=lambda entry: entry.time), silent


def _ends(log: Path) -> list[Record]:
    """The `end` records of a log; the last line may still be being written."""
    lines = log.read_bytes().split(b"\n")[:-1]
    ends = [json.loads(line) for line in lines if b'"event": "end"' in line]
    if ends and "tokens_per_second" not in ends[-1]:
        ends[-1] = _completed(ends[-1], _read(log.parent / "result.json"))
    return ends


def _read(path: Path) -> dict[str, Any]:
    """A JSON object, empty if there is no file."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return found


def _completed(record: Record, result: dict[str, Any]) -> Record:
    """An `end` record of a version that wrote only loss and seconds, completed from its result if it has one.

    The first such versions trained on one accelerator and had no settings of the engine.
    """
    if not result:
        return record
    seconds = result["seconds"]
    goodput = {"goodput": seconds["step"] / seconds["total"]}
    return {"accelerators": 1, "engine": {}} | goodput | record | result | result["lineage"]


def _entry(record: Record, spec: dict[str, Any]) -> Entry:
    hardware = record["hardware"]
    name = hardware["accelerator"] or f"{hardware['cpu']} ({hardware['cores']} cores)"
    machine = f"{record['accelerators']} x {name}, {spec['precision']}"
    return Entry(spec["variant"], spec["rung"], machine, record["time"], record, spec)


def ledger(entries: list[Entry]) -> list[Version]:
    """Versions of each variant, rung and machine in the order in which they first ran."""
    groups: dict[tuple[str, str, str], dict[str, list[Entry]]] = {}
    for entry in entries:
        versions = groups.setdefault((entry.variant, entry.rung, entry.machine), {})
        versions.setdefault(json.dumps(_how(entry), sort_keys=True), []).append(entry)
    found = []
    for versions in groups.values():
        before: list[Entry] | None = None
        for members in versions.values():
            found.append(_version(members, before))
            before = members
    return found


def _how(entry: Entry) -> dict[str, Any]:
    """Names and values of all that bears on speed, but the machine; equal for runs of one version.

    The commit is part of it: the fingerprint is that of the code that determines losses, and much that
    determines speed is no part of that code.
    """
    record = entry.record
    return {
        "commit": _commit(record),
        "training code": record["code_fingerprint"][:7],
        "threads": record["threads"],
        "peak FLOP/s": record["mfu"] and f"{record['mfu']['peak_flops_per_second']:.4g}",
        **record["packages"],
        **record["engine"],
        **_flat(entry.spec),
    }


def _commit(record: Record) -> str:
    """Nine digits, and a + if the files differed from it."""
    return (record["code_commit"] or "?")[:9] + ("+" if record["code_dirty"] else "")


def _version(members: list[Entry], before: list[Entry] | None) -> Version:
    first, records = members[0], [entry.record for entry in members]
    mfu, rate = _mfu(records, "median"), median(r["tokens_per_second"] for r in records)
    earlier = [entry.record for entry in before or []]
    was = _mfu(earlier, "median") if mfu is not None else None
    if was is None and earlier:
        was = median(r["tokens_per_second"] for r in earlier)
        now = rate
    else:
        now = mfu if mfu is not None else rate
    phases = {phase: None for record in records for phase in record["median_step_seconds"]}
    return Version(
        variant=first.variant,
        rung=first.rung,
        machine=first.machine,
        time=first.time,
        commit=_commit(records[0]),
        runs=len(members),
        mfu=mfu,
        mfu_low=_mfu(records, "p10"),
        mfu_high=_mfu(records, "p90"),
        mfu_palm=_mfu(records, "palm_median"),
        tokens_per_second=rate,
        step_milliseconds={phase: 1e3 * _step_seconds(records, phase) for phase in phases},
        goodput=median(r["goodput"] for r in records),
        peak_memory_bytes=max(r["peak_memory_bytes"] for r in records),
        change=None if before is None or was is None else now / was,
        what=[] if before is None else differences(_how(before[0]), _how(first)),
    )


def _mfu(records: list[Record], field: str) -> float | None:
    known = [record["mfu"][field] for record in records if record["mfu"]]
    return median(known) if known else None


def _step_seconds(records: list[Record], phase: str) -> float:
    """A budget may have no steps of a phase."""
    steps = (record["median_step_seconds"].get(phase) for record in records)
    return median(seconds for seconds in steps if seconds is not None)


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """`name old → new` of what differs; what one side does not know is a dash."""
    names = [name for name in before | after if before.get(name) != after.get(name)]
    return [f"{name} {_or_dash(before.get(name))} → {_or_dash(after.get(name))}" for name in names]


def _or_dash(value: Any) -> Any:
    return "—" if value is None else value


def _flat(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec's parts that bear on speed, nested names joined by dots; seeds, steps and rates left out."""
    flat: dict[str, Any] = {"precision": spec["precision"], "optimizer.name": spec["optimizer"]["name"]}
    flat |= {f"model.{name}": value for name, value in spec["model"].items()}
    flat |= {f"recipe.{name}": value for name, value in spec["recipe"]["options"].items()}
    for phase in spec["recipe"]["phases"]:
        flat |= {f"{phase['name']}.{name}": phase[name] for name in ("bag_size", "sequences", "positions")}
    return flat
