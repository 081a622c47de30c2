"""What a fit predicts at sizes that nobody has trained, and records of predictions made before the runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stepladder.decision.cells import make_cells
from stepladder.decision.heldout import by_size, predict_rungs
from stepladder.ladder.plan import Plan
from stepladder.laws.forms import LAWS, Array
from stepladder.laws.numbers import percentile_interval
from stepladder.schema.analysis import AnalysisConfig

RECORD_VERSION = 1
"""Of the fields of a prediction record."""

SAME_COST = 0.01
"""Relative difference up to which a run is at the compute that was predicted."""

SEED = 0
"""Of the noise that prediction intervals add."""


def predict_points(
    fit: dict[str, Any], points: Sequence[Mapping[str, float]], variant: str | None = None
) -> list[dict[str, Any]]:
    """Losses that `fit` predicts, with intervals of the law and of one new run (its noise included).

    Args:
        fit: what `fit_table` returned, or the contents of fits/<axis>.json.
        points: values of the law's inputs (`flops`, or `parameters` and `tokens`, ...).
        variant: the group, where the fit has several.

    Raises:
        ValueError: an input is missing or without effect, or the variant is unknown.
    """
    if not ("axis" in fit or "formula" in fit):
        raise ValueError("this fit has no law of the loss to predict from: fit compute, chinchilla, ...")
    named = _of_ladder(fit, variant) if "axis" in fit else _of_table(fit, variant)
    rows = []
    for point in points:
        inputs = dict(point)
        if "multiplier" in named["inputs"] and "multiplier" not in inputs:
            inputs["multiplier"] = inputs.get("tokens", np.nan) / inputs.get("parameters", np.nan)
        if missing := [n for n in named["inputs"] if not inputs.get(n, 0) > 0]:
            raise ValueError(
                f"the {named['law'].name} law needs {', '.join(named['inputs'])}: give {', '.join(missing)}"
            )
        made = {"parameters", "tokens"} if "multiplier" in named["inputs"] else set()
        if unused := set(point) - set(named["inputs"]) - made:
            raise ValueError(
                f"the {named['law'].name} law depends on {', '.join(named['inputs'])}: leave out "
                f"{', '.join(sorted(unused))}"
            )
        used = {name: inputs[name] / named["units"].get(name, 1.0) for name in named["inputs"]}
        row: dict[str, Any] = {
            "at": dict(point),
            "variant": variant,
            "predicted": float(named["law"].loss(named["values"], used)),
            "interval": None,
            "run_interval": None,
            "beyond": _beyond(inputs, named["range"]),
        }
        if named["draws"] is not None:
            drawn = named["law"].loss(named["draws"], used)
            row["interval"] = percentile_interval(drawn, fit["confidence"])
            noisy = drawn * np.exp(_noise(named["noise"], len(drawn)))
            row["run_interval"] = percentile_interval(noisy, fit["confidence"])
        rows.append(row)
    return rows


def _beyond(inputs: Mapping[str, float], ranges: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """How many times beyond the fitted rows each input lies; 1 inside their range."""
    return {
        name: max(1.0, inputs[name] / high, low / inputs[name])
        for name, (low, high) in ranges.items()
        if name in inputs
    }


def _noise(noise: Array | float, draws: int) -> Array:
    """Noise of one run's log loss for each draw: normal with a given sd, or drawn from residuals."""
    generator = np.random.default_rng(SEED)
    if isinstance(noise, float):
        return generator.standard_normal(draws) * noise
    return generator.choice(noise, draws)


def _of_table(fit: dict[str, Any], variant: str | None) -> dict[str, Any]:
    law = LAWS[fit["law"]]()
    if variant not in (fit["groups"] or [None]):
        laws = f"laws of {', '.join(fit['groups'])}: name one with" if fit["groups"] else "one law: leave out"
        raise ValueError(f"the fit has {laws} --variant")

    def key(name: str) -> str:
        return f"{name}[{variant}]" if f"{name}[{variant}]" in fit["parameters"] else name

    values = {name: fit["pinned"].get(name, fit["parameters"].get(key(name))) for name in law.names}
    drawn = None
    if fit["draws"]:
        drawn = {
            name: np.array(fit["draws"].get(key(name), [values[name]]), dtype=float) for name in law.names
        }
    residuals = np.array(fit["residuals"]["values"])
    free = max(1, len(residuals) - len(fit["parameters"]))
    return {
        "law": law,
        "inputs": law.inputs,
        "values": values,
        "units": {},
        "draws": drawn,
        "noise": residuals * np.sqrt(len(residuals) / free),
        "range": fit["range"],
    }


def _of_ladder(fit: dict[str, Any], variant: str | None) -> dict[str, Any]:
    if fit["reason"]:
        raise ValueError(f"there is no fit to predict from: {fit['reason']}")
    if variant not in fit["laws"]:
        raise ValueError(f"the fit has laws of {', '.join(fit['laws'])}: name one with --variant")
    costs = [cell["cost"] for cell in fit["laws"][variant]["cells"]]
    draws = fit["draws"] and {k: np.array(v) for k, v in fit["draws"]["laws"][variant].items()}
    sd = (fit["noise"]["sd_log_loss"] or {}).get(variant) or 0.0
    return {
        "law": LAWS["compute"]() if fit["axis"] == "flops" else _on(fit["axis"]),
        "inputs": (fit["axis"],),
        "values": fit["laws"][variant]["parameters"],
        "units": {fit["axis"]: fit["unit_cost"]},
        "draws": draws,
        "noise": float(np.hypot(sd, fit["misfit"]["sd_log_loss"])),
        "range": {fit["axis"]: [min(costs), max(costs)]},
    }


def _on(axis: str) -> Any:
    from stepladder.laws.forms import compute

    return compute(axis)


def planned_runs(plan: Plan, ids: Collection[str]) -> pd.DataFrame:
    """The runs `ids` of a plan, with the columns of runs.parquet that a prediction needs."""
    rows = pd.DataFrame([run.model_dump() for run in plan.runs if run.id in ids])
    rows = rows.assign(learning_rate_factor=1.0, budget_multiple=1.0)
    # In a sweep a cell keeps its best factor: one run a seed is what will be compared.
    return rows.drop_duplicates(["variant", "rung", "budget", "seed"])


def preregister(
    done: pd.DataFrame,
    planned: pd.DataFrame,
    config: AnalysisConfig,
    code: str,
    results: Mapping[str, Path],
) -> dict[str, Any]:
    """A record of what the smaller rungs predict for the held-out ones, made before those run.

    Args:
        done: runs of the smaller rungs, as in runs.parquet.
        planned: runs of the held-out rungs, with their planned `flops` and no loss.
        code: fingerprint of the analysis code.
        results: run id to the result.json that the prediction rests on.

    Raises:
        ValueError: the smaller rungs cannot identify the laws.
    """
    # The loss of a rung that is left out is not looked at; it must only be a number.
    blank = planned.assign(loss=1.0, accelerator_seconds=1.0, tokens=1.0)
    cells = make_cells(pd.concat([done, blank], ignore_index=True))
    rungs = [rung for rung in by_size(cells) if rung in set(planned["rung"])]
    found = predict_rungs(cells, "flops", config, rungs, config.bootstrap_draws)
    if found["reason"]:
        raise ValueError(f"nothing to pre-register: {found['reason']}")
    losses = dict(zip(done["id"], done["loss"].astype(float), strict=True))
    inputs = {
        run: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "loss": losses[run]}
        for run, path in sorted(results.items())
    }
    kept = ("variant", "rung", "budget", "label", "cost", "n", "predicted", "interval")
    record = {
        "version": RECORD_VERSION,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rungs": rungs,
        "axis": "flops",
        "confidence": config.confidence,
        "settings": config.model_dump(mode="json"),
        "analysis_code": code,
        "n_runs": len(done),
        "inputs": inputs,
        "predictions": [{key: row[key] for key in kept} for row in found["predictions"]],
    }
    return record | {"sha256": digest(record)}


def digest(record: Mapping[str, Any]) -> str:
    """sha256 of a record without its own."""
    body = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def check_record(record: dict[str, Any], runs: pd.DataFrame) -> dict[str, Any]:
    """Whether a prediction record is as it was made, rests on the runs that there are, was made before the
    predicted runs began, and came true.

    The record's own sha256 shows accidents. Against a forger only a copy of it elsewhere helps.

    Raises:
        ValueError: the record is of another version.
    """
    if record.get("version") != RECORD_VERSION:
        raise ValueError(f"the prediction record has version {record.get('version')}, not {RECORD_VERSION}")
    held = runs[runs["rung"].isin(record["rungs"])]
    rows = [_check_prediction(row, held) for row in record["predictions"]]
    losses = dict(zip(runs["id"], runs["loss"], strict=True))
    changed = [run for run, made in record["inputs"].items() if losses.get(run) != made["loss"]]
    started = _times(held["lineage_started"]) if "lineage_started" in held else None
    first = min(started) if started else None
    judged = [row["inside"] for row in rows]
    known = bool(judged) and None not in judged
    return {
        "made_at": record["made_at"],
        "sha256": record["sha256"],
        "whole": digest(record) == record["sha256"],
        "inputs_changed": changed,
        "first_run_started": first.isoformat() if first else None,
        "before": None if first is None else _time(record["made_at"]) <= first,
        "n_runs": record["n_runs"],
        "rungs": record["rungs"],
        "predictions": rows,
        "came_true": all(judged) if known else None,
    }


def _check_prediction(row: dict[str, Any], held: pd.DataFrame) -> dict[str, Any]:
    """A prediction with what came: `reason` where they cannot be compared."""
    mine = held[
        (held["variant"] == row["variant"])
        & (held["rung"] == row["rung"])
        & (held["budget"] == row["budget"])
    ]
    empty = {"observed": None, "relative_error": None, "inside": None}
    if mine.empty:
        return row | empty | {"reason": "has not run"}
    cells = make_cells(mine).table
    n, cost = int(cells["n"].iloc[0]), float(cells["flops"].iloc[0])
    if n != row["n"]:
        return row | empty | {"reason": f"{n} seeds ran, {row['n']} were predicted"}
    if abs(cost / row["cost"] - 1) > SAME_COST:
        return row | empty | {"reason": f"ran at {cost:.3g} FLOPs, predicted at {row['cost']:.3g}"}
    observed = float(cells["loss"].iloc[0])
    found = {"observed": observed, "relative_error": observed / row["predicted"] - 1, "inside": None}
    if not row["interval"]:
        return row | found | {"reason": "no interval was predicted"}
    low, high = row["interval"]
    inside = (low is None or low <= observed) and (high is None or observed <= high)
    return row | found | {"inside": inside, "reason": None}


def _times(texts: pd.Series) -> list[datetime] | None:
    """None where any is missing: what is not known did not begin later."""
    if texts.empty or texts.isna().any():
        return None
    return [_time(str(text)) for text in texts]


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
