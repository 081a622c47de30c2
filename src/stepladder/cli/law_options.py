"""Which option of `stepladder fit` belongs to which law: one table, from which help and refusals are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from stepladder.cli.errors import Misuse
from stepladder.cli.words import finite

LADDER = "ladder"
FORMULAS = ("compute", "chinchilla", "overtraining", "sparsity")
"""The names in `stepladder.laws.forms.LAWS`, which takes numpy to read."""
FRONTIERS = ("isoflop", "envelope")
RISING = ("sigmoid", "accuracy")
LAWS = (LADDER, *FORMULAS, *FRONTIERS, *RISING)


@dataclass(frozen=True)
class LawOption:
    """An option that some laws have. It is None where it was not given."""

    laws: tuple[str, ...]
    help: str
    default: str
    setting: str = ""
    """Field of a ladder's analysis section that it takes the place of."""
    ladder: str = ""
    """What to do instead where the law is `ladder` and has no such option."""
    least: float | None = None
    most: float | None = None
    between: tuple[float, float] | None = None
    """Limits that the value itself must not reach."""


OPTIONS: dict[str, LawOption] = {
    "bootstrap": LawOption(
        LAWS,
        "Bootstrap draws; everything is refitted in each. 0 for none (a ladder needs 100).",
        "1000; ladder: 2000; sigmoid, accuracy: 500",
        setting="bootstrap_draws",
        least=0,
    ),
    "confidence": LawOption(
        LAWS, "Coverage of the intervals.", "0.95", setting="confidence", between=(0.0, 1.0)
    ),
    "seed": LawOption(LAWS, "Seed of the bootstrap.", "0", setting="seed", least=0),
    "delta": LawOption(
        (LADDER, *FORMULAS),
        "Residual of log loss from which rows count linearly, not squared.",
        "0.001; ladder: 0.01",
        setting="huber_delta",
        least=1e-9,
    ),
    "drop_highest": LawOption(
        (*FORMULAS, *FRONTIERS),
        "Number of rows to leave out, those of highest loss.",
        "0",
        ladder="its runs are pairs of seeds; take rows out of the table yourself",
        least=0,
    ),
    "by": LawOption(
        (*FORMULAS, *RISING),
        "Column of variants, or of runs, that have a law each.",
        "one law",
        ladder="it has a law for each value of the column `variant`: --columns variant=NAME",
    ),
    "share": LawOption(
        FORMULAS,
        "Parameters that the variants have in common, as E or E,alpha.",
        "none",
        ladder='the floor is shared, unless --settings says {"floor": "free"}',
    ),
    "pin": LawOption(
        FORMULAS,
        "Parameters that are given, as E=1.7; 0 drops a term.",
        "none",
        ladder="the floor alone can be given: --settings '{\"floor\": 1.7}'",
    ),
    "cluster": LawOption(
        FORMULAS,
        "Columns whose combinations the bootstrap draws as wholes, as rung,seed.",
        "each row by itself",
        ladder="its bootstrap draws seeds and misfit of cells",
    ),
    "norm": LawOption(
        FORMULAS,
        "How residuals count: huber, log_cosh or squared.",
        "huber",
        ladder="it is always huber; a --delta of 1 counts all residuals squared",
    ),
    "weight_above": LawOption(
        FORMULAS,
        "Weight of rows above the law; below 1 undertuned runs pull less.",
        "1",
        ladder="it weighs all cells alike",
        least=0.01,
        most=1.0,
    ),
    "plot": LawOption(
        FORMULAS,
        "Also draw the fit, to this file: .png, .svg or .pdf.",
        "no figure",
        ladder="`stepladder report` draws a ladder's laws",
    ),
    "target": LawOption(
        FRONTIERS,
        "FLOPs to allocate to parameters and tokens. May be given several times.",
        "none",
        ladder="`compare` and `next` have --target; `predict` says the loss at any FLOPs",
        between=(0.0, math.inf),
    ),
    "log_loss": LawOption(
        ("isoflop",),
        "Fit the profiles' curves to log loss instead of loss.",
        "loss",
        ladder="its law is of loss, with errors in proportion to it",
    ),
    "skip_below": LawOption(
        RISING,
        "Compute below which points are left out, as the first part of a curve often is.",
        "none",
        ladder="take rows out of the table yourself",
        between=(0.0, math.inf),
    ),
    "start": LawOption(
        RISING,
        "R0 where it is known: the reward before training; of an accuracy, chance.",
        "fitted",
        ladder="its losses fall",
    ),
    "against": LawOption(
        RISING,
        "Curve that the others are compared with.",
        "the first",
        ladder="`stepladder compare` has --baseline",
    ),
    "axis": LawOption((LADDER,), "Cost axis: flops, seconds or tokens.", "flops"),
    "metric": LawOption(
        (LADDER,),
        "What the laws are of: target_loss, bits_per_byte or domain:<name>.",
        "target_loss",
        setting="metric",
    ),
    "rates": LawOption(
        (LADDER,),
        "What a sweep of this ladder found, learning_rates.json: where rates turn out to be near the best, "
        "cells are taken to be less undertuned (analysis.misfit.by). '' for none.",
        "none",
    ),
    "settings": LawOption(
        (LADDER,), "A ladder's analysis section as JSON; options given beside it count instead.", "{}"
    ),
}


def law_option(name: str, *flags: str) -> Any:
    """typer's option of this name: its help, limits and the laws that it goes with.

    Args:
        flags: what it is called on the command line; by default as its name says.
    """
    option = OPTIONS[name]
    panel = "For every law" if option.laws == LAWS else f"For {', '.join(option.laws)}"
    return typer.Option(
        *flags,
        help=option.help,
        show_default=option.default,
        min=option.least,
        max=option.most,
        callback=_checked(option),
        rich_help_panel=panel,
    )


def _checked(option: LawOption) -> Callable[[Any], Any]:
    """What looks at the option's value before the command runs."""

    def checked(value: Any) -> Any:
        low, high = option.between or (-math.inf, math.inf)
        for number in value if isinstance(value, list) else [value]:
            if option.between and number is not None and not low < number < high:
                raise typer.BadParameter(f"{number} is not between {low:g} and {high:g}.")
        return finite(value)

    return checked


def refuse_foreign(law: str, given: Mapping[str, object]) -> None:
    """Refuse options that the law does not have.

    Args:
        given: name in `OPTIONS` to value, of the options that the command line has.

    Raises:
        Misuse: an option does not apply; the message names the laws that it applies to.
    """
    problems = []
    for name in given:
        option = OPTIONS[name]
        if law not in option.laws:
            advice = f": {option.ladder}" if law == LADDER else ""
            problems.append(
                f"{flag(name)} does not apply to --law {law}, only to {', '.join(option.laws)}{advice}"
            )
    if problems:
        raise Misuse("\n".join(problems))


def as_settings(given: Mapping[str, object]) -> dict[str, object]:
    """Fields of the analysis section that options take the place of."""
    return {OPTIONS[name].setting: value for name, value in given.items() if OPTIONS[name].setting}


def flag(name: str) -> str:
    """ "drop_highest" to "--drop-highest"."""
    return "--" + name.replace("_", "-")
