"""The report: figures, tables and sentences of one ladder in a PDF that a group can decide from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from stepladder.display.numbers import level
from stepladder.record.plan import Plan
from stepladder.report.figures.coordinates import coordinates_figure
from stepladder.report.figures.laws import gain_figure, loss_figure
from stepladder.report.figures.looks import looks_figure
from stepladder.report.figures.profiles import profiles_figure
from stepladder.report.figures.running import mfu_figure, time_figure, training_figure
from stepladder.report.figures.style import save_svg, variant_styles
from stepladder.report.figures.swarm import swarm_figure
from stepladder.report.figures.tasks import has_steps, tasks_figure
from stepladder.report.figures.tuning import bowls_figure, rates_figure
from stepladder.report.render.typst import typeset
from stepladder.report.results import Results
from stepladder.report.sections import evidence, provenance
from stepladder.report.sections import outlook as beyond
from stepladder.report.sections import runs as ledger
from stepladder.report.sections import verdict as findings
from stepladder.report.sections.coordinates import coordinate_sentences
from stepladder.report.sections.gates import gate_sentences, gates_table
from stepladder.report.sections.hyperparameters import hyperparameters_table
from stepladder.report.sections.plan import trunk_sentence
from stepladder.report.sections.rules import rules_table
from stepladder.report.sections.size_laws import size_laws_context
from stepladder.report.sections.swarm import swarm_context
from stepladder.report.sections.task_laws import signal_summary, task_laws_context
from stepladder.report.sections.tasks import tasks_context
from stepladder.report.sections.top import predictions_table, top_sentence, written_before
from stepladder.report.sections.tuning import off_optimum, sweep_context
from stepladder.schema.ladder import Ladder


def build_report(results_dir: Path, out: Path, ladder: Ladder, plan: Plan) -> Path:
    """Draw figures/*.svg in `results_dir` and typeset the report.

    Args:
        results_dir: holds runs.parquet, steps.parquet, fits/, comparison.json, data/manifest.json, and of a
            ladder with a sweep learning_rates.json.
        out: the PDF.

    Returns:
        `out`.

    Raises:
        FileNotFoundError: a result is missing.
    """
    results = Results.read(results_dir, ladder)
    drawn = draw(results, ladder)
    files = {
        f"{name}.svg": save_svg(figure, results_dir / "figures" / f"{name}.svg")
        for name, figure in drawn.items()
        if figure is not None
    }
    return typeset("report.typ", report_context(results, ladder, plan, drawn), files, out)


def draw(results: Results, ladder: Ladder) -> dict[str, Figure | None]:
    """All figures by name; None for one that the results do not support."""
    variants, rungs = results.variants(ladder), results.rungs
    styles = variant_styles(variants)
    runs, comparison = results.judged, results.comparison
    steps = results.steps[results.steps["id"].isin(runs["id"])]
    figures = {
        "loss": loss_figure(results.cells.runs, results.fits["flops"], styles, comparison.baseline),
        "gain": gain_figure(comparison.comparisons, styles),
        "training": training_figure(steps, rungs, styles),
        "mfu": mfu_figure(runs, rungs, styles),
        "time": time_figure(runs, rungs, variants),
    }
    if not results.looks.empty:
        looks = results.looks[results.looks["id"].isin(runs["id"])]
        figures["looks"] = looks_figure(looks, rungs, styles)
    if results.task_laws is not None and has_steps(results.task_laws):
        figures["tasks"] = tasks_figure(results.cells.made_of, results.task_laws, styles)
    if results.size_laws is not None:
        figures["profiles"] = profiles_figure(runs, results.size_laws, styles)
    if results.swarm is not None:
        figures["swarm"] = swarm_figure(results.swarm)
    if results.coordinates is not None:
        figures["coordinates"] = coordinates_figure(results.coordinates)
    if results.tuning is not None:
        figures["bowls"] = bowls_figure(results.tuning, styles)
        figures["rates"] = rates_figure(results.tuning, styles)
    return figures


def report_context(
    results: Results, ladder: Ladder, plan: Plan, drawn: dict[str, Figure | None]
) -> dict[str, Any]:
    """What report.typ prints: strings, tables and figure names, no bare numbers."""
    runs, comparison, fit = results.runs, results.comparison, results.fits["flops"]
    off = off_optimum(results.tuning) if results.tuning else []
    finished = runs["lineage_finished"].max() if "lineage_finished" in runs else None
    return {
        "title": f"{ladder.name}, version {ladder.version}",
        "name": ladder.name,
        "keywords": [f"comparison:{comparison.content_sha256()}"],
        "version": str(ladder.version),
        "question": ladder.question,
        "metric": findings.metric_sentence(comparison),
        "metrics": findings.metrics_table(results.metrics, comparison),
        "metrics_said": findings.metrics_sentence(results.metrics, comparison),
        "loss_unit": fit.metric.unit,
        "loss_title": fit.metric.title[0].upper() + fit.metric.title[1:],
        "tokenizers_differ": len({str(m.tokenizer) for m in results.manifests.values()}) > 1,
        "stamp": str(finished)[:10] if finished else "",
        "confidence": level(comparison.confidence),
        "n_judged": str(len(results.judged)),
        "n_looked": str(results.looks["id"].nunique()),
        "peaks": provenance.peaks(runs),
        "headline": findings.headline(comparison),
        "findings": findings.findings(comparison),
        "verdicts": findings.verdict_table(comparison),
        "reference": comparison.baseline,
        "trends": findings.trend_sentences(comparison),
        "gains": evidence.gains_table(comparison),
        "laws": evidence.laws_table(fit),
        "fit": fit.reason or evidence.fit_sentence(fit),
        "law_refused": fit.reason,
        "held_out": evidence.held_out_table(fit),
        "predicted": bool(fit.held_out and fit.held_out.predictions),
        "held_out_refused": fit.held_out.reason if fit.held_out else fit.reason or "no rung is held out",
        "record": beyond.record_sentence(comparison),
        "left_out": beyond.left_out_table(fit),
        "beyond": beyond.beyond_table(comparison),
        "settle": beyond.settle_table(comparison),
        "wanted": evidence.wanted(comparison),
        "next": beyond.next_table(comparison),
        "sensitivity": evidence.sensitivity_table(comparison, fit),
        "noise": evidence.noise_table(comparison),
        "noise_unknown": fit.noise.reason,
        "noise_line": evidence.noise_sentence(fit),
        "seeds": evidence.seeds_table(comparison),
        "criteria": evidence.criteria_tables(comparison),
        "same": findings.equivalence_table(comparison),
        "gates": gates_table(comparison.gates),
        "gate_sentences": gate_sentences(comparison.gates),
        "rule": evidence.rule_sentence(comparison),
        "rule_changes": evidence.rule_changes_table(comparison),
        "tasks": tasks_context(runs, results.tasks, results.rungs),
        "task_laws": task_laws_context(results.task_laws) if results.task_laws else None,
        "signal": signal_summary(results.signal) if results.signal else None,
        "losses": ledger.losses_table(runs),
        "costs": ledger.costs_table(runs, plan),
        "provenance": provenance.provenance_table(runs, results.manifests, ladder, plan),
        "health": ledger.health_table(runs),
        "trunks": trunk_sentence(plan),
        "rules": rules_table(ladder),
        "hyperparameters": hyperparameters_table(
            plan, dict(zip(runs["id"], runs["learning_rate"], strict=True))
        ),
        "hyperparameter_notes": list(plan.notes),
        "warnings": ledger.warnings_list(runs, list(comparison.warnings))
        + ledger.repetition_warnings(runs)
        + off,
        "size": size_laws_context(results.size_laws) if results.size_laws else None,
        "top": _top(results),
        "swarm": swarm_context(results.swarm, results.runs) if results.swarm else None,
        "coordinates": coordinate_sentences(results.coordinates) if results.coordinates else None,
        "profiled": results.cells.has_profiles,
        "sweep": sweep_context(results.tuning, plan, ladder.analysis) if results.tuning else None,
        "figures": {name: _figure(name, figure, results) for name, figure in drawn.items()},
    }


def _top(results: Results) -> dict[str, Any] | None:
    if results.top is None:
        return None
    return {
        "sentences": [top_sentence(results.top), written_before(results.top, results.runs)],
        "predictions": predictions_table(results.top, results.judged),
    }


def _figure(name: str, figure: Figure | None, results: Results) -> dict[str, str]:
    if figure is not None:
        return {"file": f"{name}.svg"}
    reasons = {
        "gain": f"no gain could be computed: {results.fits['flops'].reason}.",
        "mfu": "MFU is not known, because the peak rate of this hardware is not.",
        "rates": "no bowl has its lowest point inside the sweep.",
        "profiles": "no variant has two budgets of FLOPs with three sizes each.",
    }
    return {"missing": reasons[name]}
