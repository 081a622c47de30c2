"""The ledger of MFU: what each version of the code made of a rung, and what had changed. No torch.

Snakemake removes a result before it has a run trained again, and training moves the files of another spec
aside; but an event log is only ever appended to, and its `end` record says what a run achieved. So the
history is in the logs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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
    """Accelerator or CPU, how many of them, and dtype: numbers of different machines are not compared."""
    time: float
    """When it ended, Unix seconds."""
    record: Record
    spec: dict[str, Any]


@dataclass(frozen=True)
class Version:
    """All runs of a variant, rung and machine with one code and one way of computing."""

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
        spec = json.loads((log.parent / "spec.json").read_text(encoding="utf-8"))
        for record in _ends(log):
            if "tokens_per_second" in record:
                entries.append(_entry(record, spec))
            else:
                silent += 1
    return sorted(entries, key=lambda entry: entry.time), silent


def _ends(log: Path) -> Iterator[Record]:
    for line in log.read_bytes().split(b"\n"):
        if b'"event": "end"' in line:
            yield json.loads(line)


def _entry(record: Record, spec: dict[str, Any]) -> Entry:
    hardware = record["hardware"]
    name = hardware["accelerator"] or hardware["cpu"]
    machine = f"{record['accelerators']} x {name}, {spec['precision']}, {record['threads']} thread(s)"
    return Entry(spec["variant"], spec["rung"], machine, record["time"], record, spec)


def ledger(entries: list[Entry]) -> list[Version]:
    """Versions of each variant, rung and machine in the order in which they first ran."""
    groups: dict[tuple[str, str, str], dict[str, list[Entry]]] = {}
    for entry in entries:
        versions = groups.setdefault((entry.variant, entry.rung, entry.machine), {})
        versions.setdefault(_how(entry), []).append(entry)
    found = []
    for versions in groups.values():
        before: list[Entry] | None = None
        for members in versions.values():
            found.append(_version(members, before))
            before = members
    return found


def _how(entry: Entry) -> str:
    """Equal for runs that were computed in the same way."""
    parts = (entry.record["code_fingerprint"], entry.record["engine"], entry.record["packages"])
    return json.dumps([parts, _flat(entry.spec)], sort_keys=True)


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
    phases = records[0]["median_step_seconds"]
    return Version(
        variant=first.variant,
        rung=first.rung,
        machine=first.machine,
        time=first.time,
        commit=(records[0]["code_commit"] or "?")[:9] + ("+" if records[0]["code_dirty"] else ""),
        runs=len(members),
        mfu=mfu,
        mfu_low=_mfu(records, "p10"),
        mfu_high=_mfu(records, "p90"),
        mfu_palm=_mfu(records, "palm_median"),
        tokens_per_second=rate,
        step_milliseconds={p: 1e3 * median(r["median_step_seconds"][p] for r in records) for p in phases},
        goodput=median(r["goodput"] for r in records),
        peak_memory_bytes=max(r["peak_memory_bytes"] for r in records),
        change=None if before is None or was is None else now / was,
        what=[] if before is None else _differences(before[0], first),
    )


def _mfu(records: list[Record], field: str) -> float | None:
    known = [record["mfu"][field] for record in records if record["mfu"]]
    return median(known) if known else None


def _differences(before: Entry, after: Entry) -> list[str]:
    """What changed between two runs: code, packages, engine, spec."""
    found = []
    was, now = (entry.record["code_fingerprint"][:7] for entry in (before, after))
    if was != now:
        found.append(f"training code {was} → {now}")
    for part in ("packages", "engine"):
        found += _changes(before.record[part], after.record[part])
    return found + _changes(_flat(before.spec), _flat(after.spec))


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    names = [name for name in before | after if before.get(name) != after.get(name)]
    return [f"{name} {before.get(name)} → {after.get(name)}" for name in names]


def _flat(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec's parts that bear on speed, nested names joined by dots; seeds, steps and rates left out."""
    flat: dict[str, Any] = {"precision": spec["precision"], "optimizer.name": spec["optimizer"]["name"]}
    flat |= {f"model.{name}": value for name, value in spec["model"].items()}
    flat |= {f"recipe.{name}": value for name, value in spec["recipe"]["options"].items()}
    for phase in spec["recipe"]["phases"]:
        flat |= {f"{phase['name']}.{name}": phase[name] for name in ("bag_size", "sequences", "positions")}
    return flat
