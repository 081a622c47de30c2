"""Every candidate against its references on every axis, and the verdicts: makes `comparison.Comparison`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from stepladder.decision.axis_fit import AxisFit, HeldOutPrediction
from stepladder.decision.cells import Cells, kinds_of, make_cells
from stepladder.decision.comparison import Comparison, PairComparison, RankAgreement
from stepladder.decision.equivalence import decide_equivalent, equivalence, not_shared
from stepladder.decision.gain import gain
from stepladder.decision.interaction import interactions
from stepladder.decision.next_runs import rank_runs
from stepladder.decision.noise import measure_noise
from stepladder.decision.replicates import redraw
from stepladder.decision.run_options import NextRuns
from stepladder.decision.seeds import noise_by_variant, rank_agreement, seed_test, seeds_needed
from stepladder.decision.verdict import decide
from stepladder.laws.forms import Array
from stepladder.schema.analysis import AnalysisConfig, Axis

FEW = 4
"""Degrees of freedom of the seed noise below which intervals are called rough: with 3, the true
standard deviation lies between 0.57 and 3.7 times the estimate at 95 % (chi-squared)."""

NEXT_SHOWN = 10
"""Candidate runs that comparison.json lists per comparison."""


def compare(runs: pd.DataFrame, fits: Mapping[Axis, AxisFit], config: AnalysisConfig) -> Comparison:
    """Compare all variants.

    Args:
        runs: the table that `fits` were made from.
        fits: the fit on every cost axis, made with the same `config`.

    Raises:
        ValueError: the baseline or a reference has no runs, the verdict rule needs an axis that was not
            fitted, or a fit was made from other runs or with other settings.
    """
    if missing := set(config.verdict.axes) - set(fits):
        raise ValueError(f"the verdict rule needs fits on {', '.join(sorted(missing))} as well")
    cells = make_cells(runs)
    if config.baseline not in cells.variants:
        raise ValueError(f"baseline {config.baseline!r} has no runs; there are: {', '.join(cells.variants)}")
    for fit in fits.values():
        fit.check_made_from(cells, config)
    replicates = {axis: replicates_of(cells, fit, config) for axis, fit in fits.items()}
    if unknown := set(config.references) - set(cells.variants):
        raise ValueError(f"references without runs: {', '.join(sorted(unknown))}")
    pairs = comparisons(cells, config.baseline, config.references)
    results = [_compare_pair(cells, replicates, fits, c, r, config) for c, r in pairs]
    ranks = rank_agreement(cells)
    return Comparison(
        fits={axis: fit.content_sha256() for axis, fit in fits.items()},
        metric=config.metric,
        baseline=config.baseline,
        confidence=config.confidence,
        rule=config.verdict,
        n_runs=len(cells.made_of),
        noise=noise_by_variant(cells),
        ranks=ranks,
        comparisons=results,
        interactions=interactions(cells, replicates, fits, config),
        warnings=_warnings(cells, fits, results, ranks),
    )


def primary_axis(fits: Mapping[Axis, AxisFit]) -> Axis:
    """The axis whose held-out predictions and warnings count: FLOPs where there is a fit on them."""
    return "flops" if "flops" in fits else next(iter(fits))


def replicates_of(cells: Cells, fit: AxisFit, config: AnalysisConfig) -> Array | None:
    """The replicates (B, M) that `fit`, a fit of these cells, was bootstrapped on; None where it was not."""
    if fit.misfit is None:
        return None
    laws = [fit.law(name) for name in cells.variants]
    found = redraw(cells, fit.axis, config, laws, config.bootstrap_draws)
    return None if found is None else found.losses


def comparisons(cells: Cells, baseline: str, references: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Every variant against the baseline; each recipe against the baseline's within its architecture and
    corpus, and each corpus against the baseline's within architecture and recipe; then every variant against
    the other references."""
    kinds = kinds_of(cells)
    _, recipe, corpus = kinds[baseline]
    pairs = [(name, baseline) for name in cells.variants if name != baseline]
    for plain in ({"recipe": recipe}, {"corpus": corpus}):
        for name, kind in kinds.items():
            same = [other for other in cells.variants if kinds[other] == kind._replace(**plain)]
            if kind != kind._replace(**plain) and len(same) == 1 and same[0] != baseline:
                pairs.append((name, same[0]))
    pairs += [(name, other) for other in references for name in cells.variants if name != other]
    return list(dict.fromkeys(pairs))


def _compare_pair(
    cells: Cells,
    replicates: Mapping[Axis, Array | None],
    fits: Mapping[Axis, AxisFit],
    candidate: str,
    reference: str,
    config: AnalysisConfig,
) -> PairComparison:
    gains = {
        axis: gain(cells, replicates[axis], fit, candidate, reference, config) for axis, fit in fits.items()
    }
    noise = measure_noise(cells, stated=config.noise)
    test = seed_test(cells, noise, candidate, reference, config.verdict.alpha)
    first = fits[primary_axis(fits)]
    needed = None
    if not first.reason:
        needed = seeds_needed(cells, reference, first.law(reference), test, config)
    predicted = _predicted(first, candidate, reference)
    top = cells.table["label"].iloc[int(cells.step.argmax())]
    at_top = {name for name in (candidate, reference) if top in set(cells.of(name)["label"])}
    n_rungs = len(set(cells.of(candidate)["rung"]) & set(cells.of(reference)["rung"]))
    same = None
    if config.verdict.kind == "equivalent":
        same = equivalence(cells, noise, candidate, reference, config.verdict)
        decision = decide_equivalent(same, not_shared(cells, candidate, reference))
    else:
        decision = decide(gains, n_rungs, len(at_top) == 2, test, predicted, config.verdict)
    return PairComparison(
        candidate=candidate,
        reference=reference,
        gains=gains,
        equivalence=same,
        seed_test=test,
        seeds_needed=needed,
        next_runs=_next_runs(cells, first, candidate, reference, config),
        **dict(decision),
    )


def _predicted(fit: AxisFit, candidate: str, reference: str) -> list[HeldOutPrediction] | None:
    """Predictions of the held-out rungs of both variants, since the gain stands on both: none if either has
    none. None where nothing could be held out."""
    if fit.held_out is None or fit.held_out.reason:
        return None
    found = [row for row in fit.held_out.predictions if row.variant in (candidate, reference)]
    return found if {row.variant for row in found} == {candidate, reference} else []


def _next_runs(
    cells: Cells, fit: AxisFit, candidate: str, reference: str, config: AnalysisConfig
) -> NextRuns | None:
    """The best next runs for as many accelerator-hours as the ladder took; None where nothing can be
    planned."""
    if "seconds" not in cells.table or "flops" not in cells.table or fit.axis != "flops":
        return None
    if fit.reason or not fit.noise.dof or cells.has_profiles:
        return None
    hours = float(cells.runs["accelerator_seconds"].sum()) / 3600
    try:
        plan = rank_runs(cells.runs, fit, candidate, reference, config, hours)
    except ValueError:  # a gain that is infinite or undefined: the verdict says so
        return None
    return plan.model_copy(update={"candidates": plan.candidates[:NEXT_SHOWN]})


def _warnings(
    cells: Cells,
    fits: Mapping[Axis, AxisFit],
    results: Sequence[PairComparison],
    ranks: Sequence[RankAgreement],
) -> list[str]:
    """What a reader of the verdict should know before believing it."""
    warnings = [*cells.notes]
    for axis, fit in fits.items():
        if fit.reason:
            warnings.append(f"no laws on {axis}: {fit.reason}")
        elif not fit.converged:
            warnings.append(f"the fit on {axis} did not converge")
        warnings += [f"on {axis}: {law.reason}" for law in fit.laws.values() if law.reason]
    for name, law in fits[primary_axis(fits)].laws.items():
        warnings += [
            f"{name} at {cell.label} lies {cell.excess:.1%} above where the other rungs put it: the law was "
            "fitted without that excess; check its learning rate"
            for cell in law.cells
            if cell.excess
        ]
    first = primary_axis(fits)
    if reason := fits[first].noise.reason:
        warnings.append(f"no intervals: {reason}")
    elif fits[first].noise.dof < FEW:
        warnings.append(
            f"seed noise rests on {fits[first].noise.dof:.1f} degrees of freedom: ends of intervals are "
            "rough, and change with the seed of the bootstrap; repeat seeds on the smaller rungs"
        )
    held_out = fits[first].held_out
    if held_out is not None and held_out.reason:
        warnings.append(f"no rung was predicted before it was used: {held_out.reason}")
    n_rungs = cells.table["rung"].nunique()
    if n_rungs < 5:
        warnings.append(
            f"{n_rungs} rungs barely identify a floor: read the sensitivity to E before extrapolating"
        )
    for row in ranks:
        if row.tau is not None and row.tau < 1:
            warnings.append(
                f"the variants rank differently at {row.rung} and {row.largest} "
                f"(Kendall's tau {row.tau:.2f}, {row.n_variants} variants)"
            )
    for result in results:
        extrapolated = [r.label for r in result.gains[first].rungs if r.extrapolated]
        if extrapolated:
            warnings.append(
                f"{result.candidate} at {', '.join(extrapolated)}: its loss lies outside those of "
                f"{result.reference}, so the gain there extrapolates the law"
            )
    return warnings
