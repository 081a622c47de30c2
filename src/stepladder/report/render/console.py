"""The tables and sentences of fits, comparisons, predictions, next runs and tunings in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from stepladder.decision.axis_fit import AxisFit
from stepladder.decision.by_metric import ByMetric
from stepladder.decision.comparison import Comparison
from stepladder.decision.prediction import Prediction
from stepladder.decision.run_options import NextRuns
from stepladder.decision.signal import Signal
from stepladder.decision.size_laws import SizeLaws
from stepladder.decision.tasks import TaskLaws
from stepladder.display.terminal import plain, show, warn
from stepladder.record.gates import GateRecord
from stepladder.record.learning_rates import Tuning
from stepladder.record.swarm import SwarmOutcome
from stepladder.record.top import TopRung
from stepladder.report.sections.axes import axes_table, outcomes_table, rungs_table
from stepladder.report.sections.evidence import laws_table, rule_changes_table, rule_sentence
from stepladder.report.sections.fits import TableFit, axis_fit_sentence, fit_sentences, parameters_table
from stepladder.report.sections.gates import gate_sentences
from stepladder.report.sections.outlook import options_table, predictions_table, spending_sentences
from stepladder.report.sections.size_laws import forecasts_table, reasons
from stepladder.report.sections.size_laws import gains_table as size_gains_table
from stepladder.report.sections.size_laws import laws_table as laws_table_of
from stepladder.report.sections.size_laws import optima_table as optima_table_of
from stepladder.report.sections.swarm import swarm_sentences
from stepladder.report.sections.task_laws import (
    signal_table,
    steps_table,
    task_forecasts_table,
    task_sentences,
)
from stepladder.report.sections.top import top_sentence
from stepladder.report.sections.tuning import batch_sentences, law_sentences, optima_table, rates_table
from stepladder.report.sections.verdict import equivalence_table, metrics_table, trend_sentences, unjudged


def print_fit(fit: TableFit) -> None:
    """Parameters with uncertainty, then how the fit went."""
    show(parameters_table(fit), *map(plain, fit_sentences(fit)), *map(warn, fit.warnings))


def print_axis_fit(fit: AxisFit) -> None:
    """A ladder's laws for who watches; one line on stderr for a log, such as Snakemake's."""
    if Console().is_terminal and fit.laws:
        show(laws_table(fit), plain(axis_fit_sentence(fit)))
    else:
        print(axis_fit_sentence(fit), file=sys.stderr)


def print_comparison(result: Comparison) -> None:
    """The verdicts, every gain, what they do with scale, then warnings."""
    trends = trend_sentences(result) if all("flops" in pair.gains for pair in result.comparisons) else []
    same = equivalence_table(result)
    show(outcomes_table(result), *([same] if same else []), axes_table(result), rungs_table(result))
    if result.rule_check is not None:
        show((plain if result.rule_check.mark is None else warn)(rule_sentence(result)))
    if (changes := rule_changes_table(result)) is not None:
        show(changes)
    show(*map(plain, trends), *map(warn, result.warnings))


def print_size_laws(found: SizeLaws) -> None:
    """Every law, what follows from them, and which there are not."""
    tables = (laws_table_of(found), optima_table_of(found), forecasts_table(found), size_gains_table(found))
    show(*(one for one in tables if one is not None), *map(plain, reasons(found)), *map(warn, found.warnings))


def print_metrics(found: ByMetric) -> None:
    """Verdict and gain by every metric."""
    shown = metrics_table(found) or plain(f"These runs compare by {found.metric} alone.")
    show(shown, *map(warn, unjudged(found)))


def print_signal(found: Signal, laws: TaskLaws | None) -> None:
    """What every metric tells at every rung, then the laws of tasks where they were asked for."""
    apart = signal_table(found) or plain("No rung has two variants: nothing can be told apart.")
    show(apart, *(warn(f"{name}: {why}") for name, why in found.refused.items()))
    if laws is not None:
        shown = (steps_table(laws), task_forecasts_table(laws))
        show(*(one for one in shown if one is not None), *map(plain, task_sentences(laws)))


def print_predictions(rows: Sequence[Prediction], unit: str) -> None:
    """One line per point; losses are in this unit."""
    show(predictions_table(rows, unit))


def print_gate(record: GateRecord) -> None:
    """What a gate decided; on stderr, for a log such as Snakemake's."""
    for sentence in gate_sentences([record]):
        print(sentence, file=sys.stderr)


def print_top(found: TopRung) -> None:
    """What was chosen; on stderr, for a log such as Snakemake's."""
    print(top_sentence(found), file=sys.stderr)


def print_swarm(found: SwarmOutcome) -> None:
    """What was found; on stderr, for a log such as Snakemake's."""
    for sentence in swarm_sentences(found):
        print(sentence, file=sys.stderr)


def print_next(found: NextRuns, rows: int = 12) -> None:
    """The best candidates per accelerator-hour, and what the budget would buy."""
    known, *bought = map(plain, spending_sentences(found))
    show(known, options_table(found, rows), *bought)


def print_tuning(found: Tuning) -> None:
    """Every bowl's optimum, then the rate of every rung, then what to know."""
    show(optima_table(found), rates_table(found), *map(plain, law_sentences(found)))
    show(*map(plain, batch_sentences(found)), *map(warn, found.warnings))
