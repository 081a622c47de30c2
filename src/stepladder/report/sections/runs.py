"""What ran, what it cost, and what stood out: the report's ledger of runs."""

from __future__ import annotations

import json
import re
from typing import Any

import pandas as pd

from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.record.passes import in_words
from stepladder.record.plan import Plan

DIFFERENT_PASSES = 1.1
"""Two arms whose passes over the text differ by less than this factor are alike in it."""

SET_ASIDE = re.compile(r"superseded-\w+/")
"""Folder of earlier files, which each run calls by a name of its own."""


def domains(runs: pd.DataFrame) -> list[str]:
    """Names of the held-out domains, from the columns loss_<domain>."""
    return [c.removeprefix("loss_") for c in runs.columns if c.startswith("loss_")]


def run_name(row: Any) -> str:
    """variant, budget and seed of a run (its rung is a column of its own)."""
    factor = getattr(row, "learning_rate_factor", 1.0)
    sweep = "" if factor == 1.0 else f", LR × {fmt.significant(factor)}"
    return f"{row.variant}, {row.budget}, seed {row.seed}{sweep}"


def losses_table(runs: pd.DataFrame) -> Table:
    """Every run: size, tokens, FLOPs, held-out losses."""
    names = domains(runs)
    rows = [
        [
            row["rung"],
            run_name(row),
            fmt.count(row["parameters_total"]),
            fmt.count(row["parameters_active_non_embedding"]),
            fmt.count(row["tokens"]),
            fmt.significant(row.get("passes"), 2),
            fmt.whole(row["steps"]),
            fmt.flops(row["flops"]),
            f"{row['learning_rate']:.2g}",
            fmt.fixed(row["loss"], 4),
            fmt.fixed(row["bits_per_byte"], 4),
            *(fmt.fixed(row[f"loss_{name}"], 4) for name in names),
        ]
        for _, row in runs.iterrows()
    ]
    return table(
        [
            *(
                "<Rung",
                "<Run",
                "Params",
                "N",
                "Tokens",
                "Passes",
                "Steps",
                "FLOPs",
                "LR",
                "Loss",
                "Bits/byte",
            ),
            *names,
        ],
        rows,
    )


def costs_table(runs: pd.DataFrame, plan: Plan) -> Table:
    """Every run: planned against actual FLOPs, tokens and seconds, and how well the machine was used."""
    planned = {run.id: run for run in plan.runs}
    rows, sums = [], dict.fromkeys(("pf", "f", "pt", "t", "ps", "s"), 0.0)
    for _, row in runs.iterrows():
        told = planned.get(row["id"])
        values = {
            "pf": told and told.flops,
            "f": row["flops"],
            "pt": told and told.tokens,
            "t": row["tokens"],
            "ps": told and told.seconds,
            "s": row["seconds_total"],
        }
        for key, value in values.items():
            sums[key] += value if fmt.is_number(value) else float("nan")
        rows.append(
            [
                row["rung"],
                run_name(row),
                *_cost_cells(values),
                fmt.duration(row["accelerator_seconds"]),
                fmt.percent(row.get("mfu_median")),
                fmt.whole(row["restarts"]),
            ]
        )
    total = fmt.duration(runs["accelerator_seconds"].sum())
    rows.append(
        ["All", f"{len(runs)} runs", *_cost_cells(sums), total, "", fmt.whole(runs["restarts"].sum())]
    )
    return table(
        [
            "<Rung",
            "<Run",
            "FLOPs, plan",
            "actual",
            "Tokens, plan",
            "actual",
            "Time, plan",
            "actual",
            "ratio",
            "Accelerator",
            "MFU",
            "Restarts",
        ],
        rows,
        total=True,
    )


def _cost_cells(values: dict[str, Any]) -> list[str]:
    ratio = values["s"] / values["ps"] if fmt.is_number(values["ps"]) and values["ps"] > 0 else None
    return [
        fmt.flops(values["pf"]),
        fmt.flops(values["f"]),
        fmt.count(values["pt"]),
        fmt.count(values["t"]),
        fmt.duration(values["ps"]),
        fmt.duration(values["s"]),
        fmt.significant(ratio, 2),
    ]


def health_table(runs: pd.DataFrame) -> Table | None:
    """Runs with spikes, skipped or slow steps, and the first of what stood out; None if there are none."""
    names = ["spikes", "skipped_steps", "slow_steps"]
    columns = [f"health_{name}" for name in names]
    if not set(columns) <= set(runs.columns):
        return None
    found = runs[runs[columns].sum(axis=1) > 0]
    rows = [
        [str(row["id"]), *(fmt.whole(row[column]) for column in columns), "; ".join(row["health_notes"][:3])]
        for _, row in found.iterrows()
    ]
    head = ["<Run", "Spikes", "Skipped steps", "Slow steps", "<<First of them"]
    return table(head, rows) if rows else None


def repetition_warnings(runs: pd.DataFrame) -> list[str]:
    """Comparisons between arms of which one repeated its text and the other did so less, or not at all."""
    if "passes" not in runs or not (runs["passes"] > 1).any():
        return []
    found = []
    for (rung, budget), cell in runs.groupby(["rung", "budget"], sort=False):
        by_variant = cell.groupby("variant", sort=False)["passes"].max()
        most, least = by_variant.max(), by_variant.min()
        if most > 1 and most > DIFFERENT_PASSES * least:
            found.append(
                f"At {rung}, budget {budget}, {by_variant.idxmax()} reads its text {in_words(most)}, "
                f"{by_variant.idxmin()} {in_words(least)}: their gain is of the variant and of "
                "repetition together"
            )
    return found


def warnings_list(runs: pd.DataFrame, extra: list[str]) -> list[str]:
    """Warnings of the runs, each once with the number of runs that gave it, then the analysis's own."""
    counts: dict[str, int] = {}
    for value in runs.get("warnings", pd.Series(dtype=object)):
        # The column holds lists, or their JSON where a table format knew no lists.
        texts = json.loads(value) if isinstance(value, str) and value.startswith("[") else value
        for text in [] if texts is None or isinstance(texts, (str, float)) else texts:
            told = SET_ASIDE.sub("superseded-*/", str(text))
            counts[told] = counts.get(told, 0) + 1
    return [f"{text} ({n} of {len(runs)} runs)" for text, n in counts.items()] + extra
