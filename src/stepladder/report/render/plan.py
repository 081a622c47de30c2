"""The plan on a page and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stepladder.decision.power import Design, Power
from stepladder.display.terminal import plain, show
from stepladder.record.plan import Plan
from stepladder.report.sections import plan as section
from stepladder.report.sections import power as chances
from stepladder.report.sections.hyperparameters import hyperparameters_table
from stepladder.schema.ladder import Ladder


def build_plan_pdf(plan: Plan, out: Path, power: Power | None = None) -> Path:
    """Write the plan as a PDF of a page or two, with what it will tell if that is known; returns `out`."""
    from stepladder.report.render.typst import typeset  # what is printed needs no Typst

    context = section.plan_context(plan)
    if power is not None:
        context |= {"tells": chances.verdict(power), "tables": [*chances.tables(power), *context["tables"]]}
    return typeset("plan.typ", context, {}, out)


def print_plan(plan: Plan, power: Power | None = None) -> None:
    """Print what the PDF says: first whether it can decide, last the sum."""
    show(plain(f"{section.name(plan)}: {plan.question}\n", "bold"))
    if power is not None:
        show(plain(chances.verdict(power) + "\n"), *chances.tables(power))
    show(
        section.rungs_table(plan),
        *section.mixture(plan),
        hyperparameters_table(plan),
        section.assumptions_table(plan),
        section.totals_table(plan),
        plain(section.answer(plan)),
    )
    for sentence in (*plan.notes, section.trunk_sentence(plan), section.passes_sentence(plan)):
        if sentence:
            show(plain(sentence))
    if plan.over_epochs:
        show(plain(f"It will be refused: {plan.over_epochs}", "bold red"))
    if plan.over_limit:
        show(plain(f"It will not start: {plan.over_limit}", "bold red"))


def print_designs(found: Sequence[Design], ladder: Ladder) -> None:
    """Print designs, the surest first, and that one's lines for a ladder file."""
    show(chances.designs_table(found), plain(chances.design_lines(found[0], ladder)))
