"""The plan on a page and in the terminal."""

from __future__ import annotations

from pathlib import Path

from stepladder.display.terminal import plain, show
from stepladder.record.plan import Plan
from stepladder.report.sections import plan as section


def build_plan_pdf(plan: Plan, out: Path) -> Path:
    """Write the plan as a PDF of a page or two; returns `out`."""
    from stepladder.report.render.typst import typeset  # what is printed needs no Typst

    return typeset("plan.typ", section.plan_context(plan), {}, out)


def print_plan(plan: Plan) -> None:
    """Print what the PDF says, the sum last."""
    show(
        plain(f"{section.name(plan)}: {plan.question}\n", "bold"),
        section.rungs_table(plan),
        section.assumptions_table(plan),
        section.totals_table(plan),
        plain(section.answer(plan)),
    )
    for sentence in (section.trunk_sentence(plan), section.passes_sentence(plan)):
        if sentence:
            show(plain(sentence))
    if plan.over_epochs:
        show(plain(f"It will be refused: {plan.over_epochs}", "bold red"))
    if plan.over_limit:
        show(plain(f"It will not start: {plan.over_limit}", "bold red"))
