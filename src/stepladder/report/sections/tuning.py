"""The ladder's learning-rate sweep in words and tables."""

from __future__ import annotations

import math
from typing import Any

from stepladder.decision.undertuning import CHECKED_RUNGS, expected_excess, narrowed
from stepladder.display import numbers as fmt
from stepladder.display.table import Table, table
from stepladder.record.learning_rates import BestRate, SweptBowl, Tuning
from stepladder.record.plan import Plan
from stepladder.schema.analysis import AnalysisConfig

QUANTITIES = {
    "n": "active non-embedding parameters N",
    "d": "training positions D",
    "c": "training compute C (FLOPs)",
    "d_model": "model width d_model (features)",
}
"""Measures of scale, in words."""

SYMBOLS = {"n": "N", "d": "D", "c": "C", "d_model": "d_model"}


def sweep_context(tuning: Tuning, plan: Plan, config: AnalysisConfig) -> dict[str, Any]:
    """What the report's section on the sweep prints."""
    return {
        "summary": summary(tuning, plan),
        "law": [
            *law_sentences(tuning),
            *batch_sentences(tuning),
            undertuning_sentence(tuning, config),
            *tuning.warnings,
        ],
        "optima": optima_table(tuning),
        "rates": rates_table(tuning),
        "confidence": fmt.level(tuning.confidence),
        "quantity": QUANTITIES[tuning.quantity],
        "budget": tuning.budget,
    }


def summary(tuning: Tuning, plan: Plan) -> str:
    """What was swept, and the noise."""
    runs = sum(len(point.losses) for bowl in tuning.bowls for point in bowl.points)
    hours = sum(run.accelerator_hours for run in plan.runs if run.sweep)
    noises = [
        f"{fmt.fixed(noise.sd_loss, 4)} at {rung} ({noise.dof} degrees of freedom, {noise.source})"
        if noise
        else f"unknown at {rung}"
        for rung, noise in tuning.noise.items()
    ]
    return (
        f"{runs} runs at budget {tuning.budget}; those that are not the ladder's own were planned at "
        f"{fmt.significant(hours)} accelerator-hours, and are in no law and no verdict. "
        f"Noise of one run, nats/token: {'; '.join(noises)}."
    )


def law_sentences(tuning: Tuning) -> list[str]:
    """How the optimum goes with scale, and what that rests on."""
    law = tuning.law
    if law is None:
        return ["No law of the optimum: no bowl has its lowest point inside the sweep."]
    head = f"How the optimum goes with {QUANTITIES[tuning.quantity]}: {law.in_words}."
    if law.widened and law.scatter is not None:
        head += (
            f" The optima scatter about it by {fmt.significant(math.sqrt(law.scatter), 2)} times what "
            "their errors explain; its intervals are wider by that."
        )
    sentences = [head]
    for variant, found in law.variants.items():
        if found.exponent is None:
            continue
        exponent = fmt.fixed(found.exponent, 2)
        if found.interval:
            exponent = fmt.interval(found.exponent, *found.interval)
        sentences.append(
            f"{variant}: rate ∝ {SYMBOLS[tuning.quantity]} to the power {exponent}, from "
            f"{', '.join(found.rungs)}."
        )
    return sentences


def batch_sentences(tuning: Tuning) -> list[str]:
    """Which batch the sweep finds best, where it is to be applied."""
    choice = tuning.batch
    if choice is None:
        return []
    single = "; ".join(
        f"{best.variant} at {best.rung} × {fmt.significant(best.factor)}"
        if best.factor
        else f"{best.variant} at {best.rung}: {best.reason}"
        for best in choice.each
    )
    if choice.fitted is None:
        return [f"No best batch for the whole ladder: {single}."]
    spread = f", × or ÷ {fmt.significant(choice.spread)} between them" if choice.spread else ""
    return [
        f"Best batch: × {fmt.significant(choice.fitted)} the ruled one (geometric mean of "
        f"n = {len(choice.each)}{spread}: {single}); × {choice.applied:g}, the nearest that was tried, is "
        "applied at every rung."
    ]


def undertuning_sentence(tuning: Tuning, config: AnalysisConfig) -> str:
    """What the sweep tells the analysis of undertuned cells."""
    found, usual = expected_excess(tuning), fmt.percent(config.misfit.by, 2)
    if not found:
        return (
            "Of how far rates are off the best, the sweep says too little (every variant needs its best rate "
            f"inside the sweep at {CHECKED_RUNGS} rungs): cells may be undertuned by {usual} of the loss, as "
            "analysis.misfit.by says."
        )
    worst = max(found, key=lambda name: found[name])
    by = fmt.percent(narrowed(config, tuning).misfit.by, 2)
    return (
        f"By the sweep the rates that are used cost at most {fmt.percent(found[worst], 2)} of the loss "
        f"({worst}), n = {len(found)} cells: cells are taken to be undertuned by {by}, where they are, "
        f"instead of {usual}."
    )


def off_optimum(tuning: Tuning) -> list[str]:
    """One warning for every rung that trained off its optimum."""
    sentences = []
    for row in tuning.rates:
        off = row.off
        if not off or not off.flagged:
            continue
        source = "its bowl" if off.by == "bowl" else "the law of the optimum, which is extrapolated"
        sentences.append(
            f"{row.variant} at {row.rung} trained off its optimum: at {fmt.significant(row.used)}, by "
            f"{source} the best is {fmt.estimate(off.optimum, off.interval)}. Estimated cost: "
            f"{fmt.fixed(off.cost, 3)} nats/token (n = {off.n} runs; noise of one run "
            f"{fmt.fixed(off.noise, 3)})."
        )
    return sentences


def optima_table(tuning: Tuning) -> Table:
    """Every bowl: what was tried, and where it is lowest."""
    ruled = {(bowl.variant, bowl.rung): bowl.optimum for bowl in tuning.bowls if bowl.batch_factor == 1}
    several = any(bowl.batch_factor != 1 for bowl in tuning.bowls)
    refused = any(bowl.reason for bowl in tuning.bowls)
    rows = []
    for bowl in tuning.bowls:
        best = bowl.optimum
        row = [
            bowl.rung,
            bowl.variant,
            str(bowl.batch_sequences),
            ", ".join(f"{point.factor:g}" for point in bowl.points),
            str(bowl.n),
            fmt.estimate(best.learning_rate, best.interval) if best else fmt.MISSING,
            plus_minus(best.loss, best.loss_se) if best else fmt.MISSING,
            fmt.significant(best.curvature, 2) if best else fmt.MISSING,
        ]
        row += [_against(bowl, ruled[bowl.variant, bowl.rung])] if several else []
        rows.append([*row, bowl.reason or ""] if refused else row)
    return table(
        [
            *("<Rung", "<Variant", "Batch" if several else "~Batch", "~<Factors on the rule", "n"),
            *("Best rate", "Lowest loss", "~Curvature"),
            *(["Against ruled batch"] if several else []),
            *(["<<No optimum because"] if refused else []),
        ],
        rows,
        note=f"n: runs that the parabola rests on. Best rate: with its {fmt.level(tuning.confidence)} "
        "interval, by Fieller's theorem. Lowest loss: nats/token at the best rate, ± standard error. "
        "Curvature: nats/token per squared e-fold of the rate.",
    )


def _against(bowl: SweptBowl, ruled: BestRate | None) -> str:
    """Lowest loss of another batch minus that of the ruled one."""
    best = bowl.optimum
    if bowl.batch_factor == 1 or best is None or ruled is None:
        return fmt.MISSING
    error = None
    if best.loss_se is not None and ruled.loss_se is not None:
        error = math.hypot(best.loss_se, ruled.loss_se)
    return plus_minus(best.loss - ruled.loss, error, signed=True)


def rates_table(tuning: Tuning) -> Table:
    """Every rung and variant: the predicted rate, the one it trained at, and what the difference costs."""
    rows = []
    for row in tuning.rates:
        off = row.off
        rows.append(
            [
                row.rung,
                row.variant,
                row.budget,
                fmt.estimate(row.learning_rate, row.interval),
                f"{fmt.significant(row.beyond)} ×" if (row.beyond or 1) > 1 else "inside",
                fmt.significant(row.used),
                "the sweep" if row.applied else "the ladder file",
                fmt.fixed(off.cost, 4) if off else fmt.MISSING,
                f"{off.n} ({off.by})" if off else fmt.MISSING,
                {True: "off its optimum", False: "", None: "cannot be told"}[off.flagged if off else None],
            ]
        )
    return table(
        [
            *("<Rung", "<Variant", "Budget", "Predicted rate", "~Beyond sweep", "Trains at", "<By"),
            *("~Cost", "~n", "<<Note"),
        ],
        rows,
        note=f"Predicted: by the law, with its {fmt.level(tuning.confidence)} interval (delta method, "
        "Student's t). Beyond sweep: how many times larger or smaller than the swept rungs. Cost: nats/token "
        "that the rate trained at is estimated to lose against the best, by the rung's own bowl or, where it "
        "was not swept, by the law and the mean curvature of the n runs' bowls. Off its optimum: outside the "
        "interval, and a cost above the noise of one run.",
    )


def plus_minus(value: float, error: float | None, *, signed: bool = False) -> str:
    """`2.576 ± 0.012`: with the standard error."""
    number = fmt.signed(value, 3) if signed else fmt.fixed(value, 3)
    return number if error is None else f"{number} ± {fmt.fixed(error, 3)}"
