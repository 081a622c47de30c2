"""A small ladder's results made from known laws: four rungs, four variants, two seeds below the top rung."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd

from stepladder.data.manifest import Manifest
from stepladder.record.plan import Assumptions, Plan, PlannedRun, Totals
from stepladder.schema.ladder import Ladder

VARIANTS = ["dense-baseline", "dense-tst", "moe-baseline", "moe-tst"]
FLOPS = {"d2": 5.7e10, "d3": 2.6e11, "d4": 1.1e12, "d5": 5.7e12}
SIZES = {"d2": 19_000, "d3": 40_800, "d4": 86_400, "d5": 201_000}
GAINS = {"dense-baseline": 1.0, "dense-tst": 0.95, "moe-baseline": 1.45, "moe-tst": 1.35}
SLOWNESS = {"dense-baseline": 1.0, "dense-tst": 1.0, "moe-baseline": 1.35, "moe-tst": 1.35}
RATE = 3.6e10

LADDER = Ladder.model_validate_json(
    json.dumps(
        {
            "name": "laptop",
            "question": "At toy scale: do mixture-of-experts and Token Superposition save compute?",
            "rungs": [{"depth": depth} for depth in (2, 3, 4, 5)],
            "architectures": {"dense": {}, "moe": {"n_experts": 8, "top_k": 2}},
            "recipes": {"baseline": {}, "tst": {"bag_size": 4, "superposed_fraction": 0.25}},
            "budgets": [1],
            "shape": {
                "sequence_length": 128,
                "d_model": {"per_layer": 8, "base": 8, "multiple_of": 8},
                "d_head": 16,
            },
            "optimizer": {
                "learning_rate": {
                    "default": {"rule": "power", "of": "d_model", "at": 32, "value": 0.0075, "exponent": -1.0}
                },
                "batch": {"rule": "constant", "sequences": 8},
                "epsilon": 1e-10,
            },
            "data": {
                "source": {"kind": "python_stdlib"},
                "tokenizer": {"kind": "byte"},
                "domain_weights": {"code": 0.7, "prose": 0.3},
            },
            "plan": {"flops_per_second": 3.5e10, "max_accelerator_hours": 1.0},
            "analysis": {"baseline": "dense-baseline"},
        }
    )
)


def run_row(variant: str, rung: str, seed: int, noise: float) -> dict:
    """One run as runs.parquet holds it: loss = 0.9 + 0.53 (EG C / 1e12)^-0.25 nats, plus noise."""
    flops = FLOPS[rung] * (1.01 if "moe" in variant else 1.0)
    loss = 0.9 + 0.53 * (GAINS[variant] * flops / 1e12) ** -0.25 + noise
    seconds = SLOWNESS[variant] * flops / RATE
    steps = int(flops / (6 * SIZES[rung] * 1024) / 2)
    tst = "tst" in variant
    row = {
        "id": f"{variant}/{rung}/1x/seed{seed}",
        "variant": variant,
        "architecture": variant.split("-")[0],
        "recipe": variant.split("-")[1],
        "rung": rung,
        "depth": int(rung[1:]),
        "budget": "1x",
        "budget_multiple": 1.0,
        "seed": seed,
        "learning_rate": 0.24 / SIZES[rung] ** 0.35,
        "learning_rate_factor": 1.0,
        "spec_sha256": hashlib.sha256(f"{variant}{rung}{seed}".encode()).hexdigest(),
        "loss": loss,
        "bits_per_byte": loss / np.log(2),
        "loss_code": loss - 0.06,
        "loss_prose": loss + 0.14,
        "bits_per_byte_code": (loss - 0.06) / np.log(2),
        "bits_per_byte_prose": (loss + 0.14) / np.log(2),
        "validation_code_tokens": 200_000,
        "validation_prose_tokens": 200_000,
        "parameters_total": SIZES[rung] * (3 if "moe" in variant else 1) + 12_000,
        "parameters_active": SIZES[rung] + 12_000,
        "parameters_active_non_embedding": SIZES[rung],
        "steps": steps,
        "positions": steps * 1024,
        "tokens": int(steps * 1024 * (1.75 if tst else 1)),
        "flops": flops,
        "flops_palm": flops * 1.1,
        "hardware_flops": flops,
        "planned_flops": flops,
        "flops_formula": "matmul-2 (causal)",
        "accelerator_seconds": seconds,
        "tokens_per_second": steps * 1024 / seconds,
        "mfu_median": flops / seconds / 6.6e10,
        "mfu_p10": 0.93 * flops / seconds / 6.6e10,
        "mfu_p90": 1.04 * flops / seconds / 6.6e10,
        "mfu_convention": "causal",
        "mfu_palm_median": 1.1 * flops / seconds / 6.6e10,
        "mfu_peak_flops_per_second": 6.6e10,
        "mfu_dtype": "fp32",
        "mfu_peak_source": "measured: 1 thread, 2048 x 2048 x 2048",
        "peak_memory_bytes": 4.1e8,
        "restarts": int(variant == "moe-tst" and rung == "d5"),
        "warnings": [],
        "lineage_code_commit": "3f2c9a1",
        "lineage_code_dirty": False,
        "lineage_code_fingerprint": "9d41c07be2aa",
        "lineage_python": "3.11.9",
        "lineage_packages_torch": "2.13.0",
        "lineage_packages_numpy": "2.4.6",
        "lineage_hardware_cpu": "AMD EPYC 9R14",
        "lineage_hardware_cores": 2,
        "lineage_threads": 1,
        "lineage_data_sha256": "7be1f0…",
        "lineage_data_description": "Python 3.11.9 standard library",
        "lineage_hostname": "node-1",
        "lineage_started": "2026-11-23T14:00:00+00:00",
        "lineage_finished": "2026-11-23T14:11:52+00:00",
        "lineage_slurm_job_id": None,
    }
    shares = {"forward": 0.3, "backward": 0.56, "optimizer": 0.05, "data": 0.02}
    parts = {k: v * seconds for k, v in shares.items()} | {
        "evaluation": 4.0,
        "checkpoint": 0.4,
        "startup": 1.6,
    }
    row |= {f"seconds_{k}": v for k, v in parts.items()}
    row["seconds_total"] = sum(parts.values()) + 0.3
    return row


def runs_table(seeds: dict[str, tuple[int, ...]] | None = None, sigma: float = 0.006) -> pd.DataFrame:
    """All runs; `seeds` per rung, by default two below the top rung."""
    seeds = seeds or {"d2": (0, 1), "d3": (0, 1), "d4": (0, 1), "d5": (0,)}
    generator = np.random.default_rng(7)
    rows = [
        run_row(variant, rung, seed, sigma * generator.standard_normal())
        for variant in VARIANTS
        for rung in FLOPS
        for seed in seeds[rung]
    ]
    return pd.DataFrame(rows)


def steps_table(runs: pd.DataFrame, points: int = 80) -> pd.DataFrame:
    """Training curves that end near each run's loss; superposed phases run a nat higher."""
    tables = []
    for row in runs.to_dict("records"):
        share = np.linspace(1 / points, 1, points)
        generator = np.random.default_rng(row["seed"])
        loss = (
            row["loss"]
            + 3.2 * np.exp(-9 * share)
            + 0.35 * (1 - share)
            + 0.04 * generator.standard_normal(points)
        )
        superposed = (share <= 0.25) & (row["recipe"] == "tst")
        tables.append(
            pd.DataFrame(
                {
                    "id": row["id"],
                    "variant": row["variant"],
                    "rung": row["rung"],
                    "budget": row["budget"],
                    "seed": row["seed"],
                    "step": (share * row["steps"]).astype(int),
                    "phase": np.where(superposed, "superposed", "next_token"),
                    "loss": loss + superposed * 1.0,
                    "flops": share * row["flops"],
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def plan_of(runs: pd.DataFrame) -> Plan:
    """The plan that these runs would have come from."""
    taken = [name for name in PlannedRun.model_fields if name in runs]
    rows = [_planned(row) for row in runs[taken].to_dict("records")]
    hours = sum(row.accelerator_hours for row in rows)
    return Plan(
        ladder=LADDER.name,
        version=LADDER.version,
        question=LADDER.question,
        stepladder="0.1.0",
        runs=tuple(rows),
        totals=Totals(
            runs=len(rows),
            flops=float(runs["flops"].sum()),
            flops_if_independent=float(runs["flops"].sum()),
            tokens=int(runs["tokens"].sum()),
            accelerator_hours=hours,
            wall_hours=hours / 2,
            price=None,
            price_currency="USD",
            disk_bytes=sum(row.disk_bytes for row in rows),
        ),
        assumptions=Assumptions(
            accelerator="cpu",
            accelerators_per_run=dict.fromkeys(FLOPS, 1),
            parallel_runs=2,
            speed="35 GFLOP/s achieved per cpu",
            flops_formula="matmul-2 (causal)",
            overhead_seconds_per_run=10.0,
            price_per_accelerator_hour=None,
            max_accelerator_hours=1.0,
        ),
    )


def _planned(row: dict[str, Any]) -> PlannedRun:
    seconds = row["flops"] / 3.5e10 + 10
    return PlannedRun(
        **row,
        d_model=8 + 8 * row["depth"],
        batch_sequences=8,
        flops_trained=row["flops"],
        accelerators=1,
        seconds=seconds,
        accelerator_hours=seconds / 3600,
        price=None,
        disk_bytes=24 * row["parameters_total"],
        trunk=False,
        sweep=False,
    )


def make_manifest(**changes: object) -> Manifest:
    """That of two domains."""

    def shard(name: str, tokens: int, documents: int) -> dict[str, object]:
        file = {"name": name, "size": tokens, "sha256": "0" * 64}
        counts = {"tokens": tokens, "documents": documents, "bytes": tokens}
        return counts | {"token_file": file, "document_file": file}

    domains = {
        name: {
            "train": shard(name, tokens, documents),
            "validation": shard(name, tokens // 20, documents // 20),
        }
        for name, tokens, documents in (("code", 24_600_000, 1_339), ("prose", 3_100_000, 9_212))
    }
    fields = {
        "sha256": "0" * 64,
        "description": "two domains",
        "source": {"kind": "text"},
        "tokenizer": {"kind": "byte"},
        "validation_fraction": 0.05,
        "vocab_size": 257,
        "end_of_document": 256,
        "dtype": "uint16",
        "duplicates": 0,
        "mix": {"code": 0.9, "prose": 0.1},
        "domains": domains,
        "other_files": [],
    }
    return Manifest.model_validate(fields | changes)
