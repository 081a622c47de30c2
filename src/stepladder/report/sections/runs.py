"""What ran, what it cost, what it was made from: the report's tables of facts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
from pydantic import BaseModel

from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.record.plan import Plan
from stepladder.schema.ladder import Ladder, Overrides
from stepladder.schema.rules import ConstantBatch, ConstantRate, PowerRate

MAX_EXAMPLES = 8
"""Degenerate documents that are named."""


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
        ["<Rung", "<Run", "Params", "N", "Tokens", "Steps", "FLOPs", "LR", "Loss", "Bits/byte", *names],
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


def provenance_table(runs: pd.DataFrame, manifest: dict[str, Any], ladder: Ladder) -> Table:
    """What the report was made from. Where runs differ, every value is listed with its number of runs."""
    columns = [
        ("Code commit", "lineage_code_commit"),
        ("Uncommitted changes", "lineage_code_dirty"),
        ("Code fingerprint", "lineage_code_fingerprint"),
        ("Python", "lineage_python"),
        ("Processor", "lineage_hardware_cpu"),
        ("Cores", "lineage_hardware_cores"),
        ("Accelerator", "lineage_hardware_accelerator"),
        ("Threads per run", "lineage_threads"),
        ("Host", "lineage_hostname"),
        ("Dtype of matrix products", "mfu_dtype"),
        ("Peak rate", "mfu_peak_flops_per_second"),
        ("Source of the peak", "mfu_peak_source"),
        ("FLOPs formula", "flops_formula"),
        ("Data", "lineage_data_description"),
        ("Data sha256", "lineage_data_sha256"),
    ]
    rows = [[label, _values(runs[column])] for label, column in columns if column in runs]
    packages = [c for c in runs.columns if c.startswith("lineage_packages_")]
    named = ", ".join(f"{c.removeprefix('lineage_packages_')} {_values(runs[c])}" for c in packages)
    if named:
        rows.insert(4, ["Packages", named])
    if "spec_sha256" in runs:
        rows.append(
            ["Specifications", f"{runs['spec_sha256'].nunique()} distinct sha256 in {len(runs)} runs"]
        )
    if "lineage_started" in runs:
        rows.append(["Trained", f"{runs['lineage_started'].min()} to {runs['lineage_finished'].max()}"])
    rows += _manifest_rows(manifest)
    if found := manifest.get("degenerate"):
        rows.append(["Degenerate documents", _degenerate(found)])
    weights = ladder.data.domain_weights.items()
    rows.append(["Weights of the target loss", ", ".join(f"{name} {fmt.percent(v)}" for name, v in weights)])
    return table(["<", "<<"], rows)


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


def _degenerate(found: dict[str, Any]) -> str:
    """How many documents are of one character, repetitive or no text, by domain, and where the first are."""
    parts = [
        f"{domain} {flaw.replace('_', ' ')} {fmt.whole(n)}"
        for domain, flaws in found["counts"].items()
        for flaw, n in flaws.items()
    ]
    total = sum(n for flaws in found["counts"].values() for n in flaws.values())
    text = f"{fmt.whole(total)} of {fmt.whole(found['documents'])} documents"
    if not total:
        return text
    done = "left out" if found["dropped"] else "counted and kept"
    named = found["examples"][:MAX_EXAMPLES]
    more = "; more in data/manifest.json" if len(named) < len(found["examples"]) else ""
    return f"{text}, {done} ({', '.join(parts)}): {', '.join(named)}{more}"


def peaks(runs: pd.DataFrame) -> str:
    """The peak rates that MFU refers to: `102 GFLOP/s (fp32), 225 GFLOP/s (bf16)`."""
    columns = ["mfu_peak_flops_per_second", "mfu_dtype"]
    if not set(columns) <= set(runs.columns):
        return fmt.MISSING
    known = runs[columns].dropna().drop_duplicates("mfu_dtype").itertuples(index=False)
    return ", ".join(f"{fmt.rate(peak)} ({dtype})" for peak, dtype in known) or fmt.MISSING


def _manifest_rows(manifest: dict[str, Any]) -> list[list[str]]:
    rows = []
    if isinstance(manifest.get("domains"), dict):
        for name, domain in manifest["domains"].items():
            for split in ("train", "validation"):
                part = domain.get(split)
                if isinstance(part, dict) and "tokens" in part:
                    held = "held-out" if split == "validation" else "training"
                    documents = f" in {fmt.count(part['documents'])} documents" if "documents" in part else ""
                    rows.append([f"Domain {name}, {held}", f"{fmt.count(part['tokens'])} tokens{documents}"])
    return rows


def rules_table(ladder: Ladder) -> Table:
    """How shapes and hyperparameters follow from depth, and what was overridden."""
    rows = [[label, _inline(value)] for label, value in _rules(ladder) if value not in (None, {}, ())]
    overrides = [(rung.label, rung.set) for rung in ladder.rungs if rung.set != Overrides()]
    rows += [[f"Override on {label}", _inline(given)] for label, given in overrides]
    if not overrides:
        rows.append(["Overrides", "none: every rung follows the rules"])
    return table(["<", "<<"], rows)


def _rules(ladder: Ladder) -> list[tuple[str, object]]:
    optimizer = ladder.optimizer
    rates = optimizer.learning_rate
    rest = {name: value for name, value in optimizer if name not in ("learning_rate", "batch")}
    return [
        ("Rungs (depth)", ", ".join(rung.name or str(rung.depth) for rung in ladder.rungs)),
        ("Architectures", ladder.architectures),
        ("Recipes", ladder.recipes),
        ("Budgets", f"{_inline(ladder.budgets)} × 20 tokens per N, matched in FLOPs"),
        ("Shape", ladder.shape),
        ("Learning rate", rates.default),
        *((f"Learning rate, {variant}", rule) for variant, rule in rates.by_variant.items()),
        ("Batch", optimizer.batch),
        ("Optimizer", rest),
        ("Analysis", ladder.analysis),
    ]


SOURCES = {
    "olmo": "OLMo-core ladder; Porian et al. 2024, arXiv 2406.19146",
    "deepseek": "DeepSeek LLM, arXiv 2401.02954",
    "step_law": "Step Law, arXiv 2503.04715",
    "power": "power law set in the ladder file",
    "constant": "set in the ladder file",
}
"""Where each hyperparameter rule comes from."""


def _inline(value: object) -> str:
    """A setting on one line: `0.0075 × (d_model / 32)^(-1) (source)`."""
    if isinstance(value, BaseModel):
        if rule := getattr(value, "rule", None):
            return f"{_rule(value)} ({SOURCES[rule]})"
        value = dict(value)
    if isinstance(value, Mapping):
        inner = {
            name: f"({_inline(v)})" if isinstance(v, Mapping | BaseModel) else _inline(v)
            for name, v in value.items()
            if v is not None
        }
        return ", ".join(f"{name} {text}" for name, text in inner.items()) or "defaults"
    if isinstance(value, list | tuple):
        return ", ".join(map(_inline, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}" if value >= 1 else f"{value:.4g}"
    return str(value)


def _rule(rule: BaseModel) -> str:
    """A hyperparameter rule as a formula, where it has numbers of its own."""
    match rule:
        case PowerRate():
            return f"{rule.value:g} × ({rule.of} / {rule.at:g})^({rule.exponent:g})"
        case ConstantRate():
            return f"{rule.value:g}"
        case ConstantBatch():
            return f"{rule.sequences} sequences per step"
    return str(getattr(rule, "rule", "")).replace("_", " ")


def warnings_list(runs: pd.DataFrame, extra: list[str]) -> list[str]:
    """Warnings of the runs, each once with the number of runs that gave it, then the analysis's own."""
    counts: dict[str, int] = {}
    for value in runs.get("warnings", pd.Series(dtype=object)):
        # The column holds lists, or their JSON where a table format knew no lists.
        texts = json.loads(value) if isinstance(value, str) and value.startswith("[") else value
        for text in [] if texts is None or isinstance(texts, (str, float)) else texts:
            counts[str(text)] = counts.get(str(text), 0) + 1
    return [f"{text} ({n} of {len(runs)} runs)" for text, n in counts.items()] + extra


def _values(column: pd.Series) -> str:
    """The one value of a column, or each value with its number of runs."""
    texts = column.map(_cell)
    counts = texts.value_counts()
    if len(counts) == 1:
        return str(counts.index[0])
    return ", ".join(f"{text} ({n} runs)" for text, n in counts.items())


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not fmt.is_number(value)):
        return fmt.MISSING
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return "yes" if value else "no"
    if isinstance(value, float) and value > 1e8:
        return fmt.rate(value)
    return str(value)
