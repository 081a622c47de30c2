"""What was decided between rungs, in a table and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.record.gates import GatedArm, GateRecord


def gates_table(records: Sequence[GateRecord]) -> Table | None:
    """A line per gate and variant that could have ended there; None without gates."""
    rows = [
        [
            record.after,
            arm.variant,
            arm.fate,
            fmt.percent(arm.chance, 1),
            fmt.whole(arm.runs_saved) if arm.ended else "",
            fmt.flops(arm.flops_saved) if arm.ended else "",
            fmt.significant(arm.hours_saved) if arm.ended else "",
        ]
        for record in records
        for arm in record.arms
        if arm.ended or arm.chance is not None
    ]
    if not records:
        return None
    return table(
        ["<After", "<Variant", "<Decision", "Chance", "Runs saved", "FLOPs saved", "Hours saved"],
        rows,
        title="Gates between rungs",
        note="Chance: how often the ladder, climbed to its end, would promote the candidate, were the laws "
        "what they seem after this rung; below "
        + ", ".join(f"{fmt.percent(record.futility, 1)} after {record.after}" for record in records)
        + " a candidate is stopped, unless its gain grows with scale beyond noise. Saved: what it would "
        "still have trained, as planned.",
    )


def gate_sentences(records: Sequence[GateRecord]) -> list[str]:
    """What each gate rests on, what ended there, and what went on in spite of its chance."""
    sentences = []
    for record in records:
        told = [f"{arm.variant} {arm.fate}: {arm.because}" for arm in record.arms if _decided(record, arm)]
        told = told or ["every arm goes on"]
        looked = f"After {record.after} ({record.runs} runs)"
        sentences.append(f"{looked}: {'; '.join(told)}.{_saved(record)}{_early(record)}")
    return sentences


def _decided(record: GateRecord, arm: GatedArm) -> bool:
    """Whether there is something to tell of an arm: it ended, or it goes on though its chance is small."""
    return arm.ended or (arm.chance is not None and arm.chance < record.futility)


def _saved(record: GateRecord) -> str:
    ended = [arm for arm in record.arms if arm.ended]
    if not ended:
        return ""
    flops, hours = sum(arm.flops_saved for arm in ended), sum(arm.hours_saved for arm in ended)
    runs = sum(arm.runs_saved for arm in ended)
    return f" Saved: {runs} runs, {fmt.flops(flops)}, {fmt.significant(hours)} accelerator-hours as planned."


def _early(record: GateRecord) -> str:
    if record.information is None:
        return ""
    return (
        f" Early promotion was possible with {fmt.percent(record.information)} of the information, at "
        f"{fmt.percent(record.spent, 1)} of the rule's error rates, which the verdict at the end lacks."
    )
