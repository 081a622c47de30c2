"""comparison.json: every candidate against its references on every axis, and the verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from stepladder.decision.cells import Cells, Misfit, draw_losses, make_cells, measure_noise
from stepladder.decision.gain import gain
from stepladder.decision.interaction import interactions
from stepladder.decision.next_runs import rank_runs
from stepladder.decision.seeds import noise_by_variant, rank_agreement, seed_test, seeds_needed
from stepladder.decision.verdict import decide
from stepladder.laws.forms import Array
from stepladder.schema.analysis import AnalysisConfig

NEXT_SHOWN = 10
"""Candidate runs that comparison.json lists per comparison."""


def compare(runs: pd.DataFrame, fits: dict[str, dict[str, Any]], config: AnalysisConfig) -> dict[str, Any]:
    """Compare all variants; docs/analysis.md explains the fields.

    Args:
        runs: the table that `fits` were made from.
        fits: cost axis to the contents of fits/<axis>.json, made with the same `config`.

    Raises:
        ValueError: the baseline or a reference has no runs, or the verdict rule needs an axis that was not
            fitted.
    """
    if missing := set(config.verdict.axes) - set(fits):
        raise ValueError(f"the verdict rule needs fits on {', '.join(sorted(missing))} as well")
    cells = make_cells(runs)
    if config.baseline not in cells.variants:
        raise ValueError(f"baseline {config.baseline!r} has no runs; there are: {', '.join(cells.variants)}")
    replicates = {axis: redraw(cells, fit, config) for axis, fit in fits.items()}
    if unknown := set(config.references) - set(cells.variants):
        raise ValueError(f"references without runs: {', '.join(sorted(unknown))}")
    pairs = comparisons(cells, config.baseline, config.references)
    results = [_compare_pair(cells, replicates, fits, c, r, config) for c, r in pairs]
    return {
        "baseline": config.baseline,
        "confidence": config.confidence,
        "rule": config.verdict.model_dump(mode="json"),
        "n_runs": len(cells.runs),
        "noise": noise_by_variant(cells),
        "ranks": rank_agreement(cells),
        "comparisons": results,
        "interactions": interactions(cells, replicates, fits, config),
        "prediction_record": None,
        "warnings": _warnings(cells, fits, results),
    }


def primary_axis(fits: dict[str, dict[str, Any]]) -> str:
    """The axis whose held-out predictions and warnings count: FLOPs where there is a fit on them."""
    return "flops" if "flops" in fits else next(iter(fits))


def redraw(cells: Cells, fit: dict[str, Any], config: AnalysisConfig) -> Array | None:
    """The replicates (B, M) that `fit` was bootstrapped on."""
    if not fit["misfit"]:
        return None
    made_from = {"runs": len(cells.runs), "draws": config.bootstrap_draws, "seed": config.seed}
    if fit["made_from"] != made_from or list(fit["laws"]) != cells.variants:
        raise ValueError(
            f"the fit on {fit['axis']} was made from other runs or settings ({fit['made_from']}, here "
            f"{made_from}): make it again"
        )
    misfit = Misfit(fit["misfit"]["sd_log_loss"], fit["misfit"]["dof"])
    return draw_losses(cells, measure_noise(cells), config.bootstrap_draws, config.seed, misfit)


def comparisons(cells: Cells, baseline: str, references: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Every variant against the baseline, each recipe against the baseline's within its architecture, then
    every variant against the other references."""
    kinds = {
        row["variant"]: (row["architecture"], row["recipe"])
        for row in cells.runs.drop_duplicates("variant").to_dict("records")
    }
    pairs = [(name, baseline) for name in cells.variants if name != baseline]
    recipe = kinds[baseline][1]
    for name in cells.variants:
        same = [other for other in cells.variants if kinds[other] == (kinds[name][0], recipe)]
        if kinds[name][1] != recipe and len(same) == 1 and same[0] != baseline:
            pairs.append((name, same[0]))
    pairs += [(name, other) for other in references for name in cells.variants if name != other]
    return list(dict.fromkeys(pairs))


def _compare_pair(
    cells: Cells,
    replicates: dict[str, Array | None],
    fits: dict[str, dict[str, Any]],
    candidate: str,
    reference: str,
    config: AnalysisConfig,
) -> dict[str, Any]:
    gains = {
        axis: gain(cells, replicates[axis], fit, candidate, reference, config) for axis, fit in fits.items()
    }
    test = seed_test(cells, candidate, reference, config.verdict.alpha)
    first = fits[primary_axis(fits)]
    held = first["held_out"]["predictions"] if first["held_out"] else []
    needed = None
    if not first["reason"]:
        needed = seeds_needed(cells, reference, first["laws"][reference]["parameters"], test, config)
    predicted = [row for row in held if row["variant"] in (candidate, reference)]
    if {row["variant"] for row in predicted} != {candidate, reference}:
        predicted = []  # the gain stands on both
    top = cells.table["label"].iloc[int(cells.step.argmax())]
    at_top = {name for name in (candidate, reference) if top in set(cells.of(name)["label"])}
    n_rungs = len(set(cells.of(candidate)["rung"]) & set(cells.of(reference)["rung"]))
    return {
        "candidate": candidate,
        "reference": reference,
        "gains": gains,
        "seed_test": test,
        "seeds_needed": needed,
        "next_runs": _next_runs(cells, first, candidate, reference, config),
        **decide(gains, n_rungs, len(at_top) == 2, test, predicted, config.verdict),
    }


def _next_runs(
    cells: Cells, fit: dict[str, Any], candidate: str, reference: str, config: AnalysisConfig
) -> dict[str, Any] | None:
    """The best next runs for as many accelerator-hours as the ladder took; None where nothing can be
    planned."""
    if "seconds" not in cells.table or "flops" not in cells.table or fit["axis"] != "flops":
        return None
    if fit["reason"] or not fit["noise"]["dof"]:
        return None
    hours = float(cells.runs["accelerator_seconds"].sum()) / 3600
    try:
        plan = rank_runs(cells.runs, fit, candidate, reference, config, hours)
    except ValueError:  # a gain that is infinite or undefined: the verdict says so
        return None
    return plan | {"candidates": plan["candidates"][:NEXT_SHOWN]}


def _warnings(cells: Cells, fits: dict[str, dict[str, Any]], results: list[dict[str, Any]]) -> list[str]:
    """What a reader of the verdict should know before believing it."""
    warnings = []
    for axis, fit in fits.items():
        if fit["reason"]:
            warnings.append(f"no laws on {axis}: {fit['reason']}")
        elif not fit["converged"]:
            warnings.append(f"the fit on {axis} did not converge")
        warnings += [f"on {axis}: {law['reason']}" for law in fit["laws"].values() if law["reason"]]
    first = primary_axis(fits)
    if fits[first]["noise"]["reason"]:
        warnings.append(f"no intervals: {fits[first]['noise']['reason']}")
    n_rungs = cells.table["rung"].nunique()
    if n_rungs < 5:
        warnings.append(
            f"{n_rungs} rungs barely identify a floor: read the sensitivity to E before extrapolating"
        )
    for row in rank_agreement(cells):
        if row["tau"] is not None and row["tau"] < 1:
            warnings.append(
                f"the variants rank differently at {row['rung']} and {row['largest']} "
                f"(Kendall's tau {row['tau']:.2f}, {row['n_variants']} variants)"
            )
    for result in results:
        extrapolated = [r["label"] for r in result["gains"][first]["rungs"] if r["extrapolated"]]
        if extrapolated:
            warnings.append(
                f"{result['candidate']} at {', '.join(extrapolated)}: its loss lies outside those of "
                f"{result['reference']}, so the gain there extrapolates the law"
            )
    return warnings
