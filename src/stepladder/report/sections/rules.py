"""How shapes and hyperparameters follow from depth, in words."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from stepladder.display.table import Table, table
from stepladder.schema.adam import Forgetting, HalfLife, ParameterWarmup, Timescale, TokenWarmup
from stepladder.schema.budget import budget_label
from stepladder.schema.ladder import Ladder, Overrides
from stepladder.schema.rules import ConstantBatch, ConstantRate, PowerBatch, PowerLinesBatch, PowerRate
from stepladder.schema.scale import Powers

SOURCES = {
    "olmo": "OLMo-core ladder; Porian et al. 2024, arXiv 2406.19146",
    "deepseek": "DeepSeek LLM, arXiv 2401.02954",
    "step_law": "Step Law, arXiv 2503.04715",
    "delphi": "Marin's Delphi",
    "nanochat": "nanochat",
    "power_lines": "exponent: Power Lines, arXiv 2505.13738",
    "power": "power law set in the ladder file",
    "powers": "power law set in the ladder file",
    "half_life": "set in the ladder file; form: Marin's Delphi",
    "forgetting": "power law of 1 − beta2 set in the ladder file",
    "timescale": "τ set in the ladder file; form: Wang and Aitchison 2024, arXiv 2405.13698",
    "parameters": "Porian et al. 2024, arXiv 2406.19146",
    "tokens": "set in the ladder file",
    "constant": "set in the ladder file",
}
"""Where each hyperparameter rule comes from."""


def rules_table(ladder: Ladder) -> Table:
    """How shapes and hyperparameters follow from depth, and what was overridden."""
    rows = [[label, _inline(value)] for label, value in _rules(ladder) if value not in (None, {}, ())]
    overrides = [(rung.label, rung.set) for rung in ladder.rungs if rung.set != Overrides()]
    rows += [[f"Override on {label}", _inline(given)] for label, given in overrides]
    if not overrides:
        rows.append(["Overrides", "none: every rung follows the rules"])
    return table(["<", "<<"], rows)


def _rules(ladder: Ladder) -> list[tuple[str, object]]:
    optimizer = ladder.optimizer
    rates = optimizer.learning_rate
    rest = {name: value for name, value in optimizer if name not in ("learning_rate", "batch")}
    return [
        ("Rungs (depth)", ", ".join(rung.name or str(rung.depth) for rung in ladder.rungs)),
        ("Architectures", ladder.architectures),
        ("Recipes", ladder.recipes),
        *([("Corpora", ladder.corpora)] if ladder.corpora else []),
        ("Budgets", _budgets(ladder)),
        ("Design", ladder.design),
        ("Shape", ladder.shape),
        ("Learning rate", rates.default),
        *((f"Learning rate, {variant}", rule) for variant, rule in rates.by_variant.items()),
        ("Batch", optimizer.batch),
        ("Optimizer", rest),
        ("Analysis", ladder.analysis),
    ]


def _budgets(ladder: Ladder) -> str:
    """Every budget of the ladder's, in order of rungs."""
    every = [budget for rung in ladder.rungs for budget in rung.budgets or ladder.budgets]
    labels = dict.fromkeys(budget_label(budget) for budget in every)
    multiples = any(isinstance(budget, float) for budget in every)
    return ", ".join(labels) + (" (x: times 20 tokens per N)" if multiples else "") + ", matched in FLOPs"


def _inline(value: object) -> str:
    """A setting on one line: `0.0075 × (d_model / 32)^(-1) (source)`."""
    if isinstance(value, BaseModel):
        if rule := getattr(value, "rule", None):
            return f"{_rule(value)} ({SOURCES[rule]})"
        value = dict(value)
    if isinstance(value, Mapping):
        inner = {
            name: f"({_inline(v)})" if isinstance(v, Mapping | BaseModel) else _inline(v)
            for name, v in value.items()
            if v is not None
        }
        return ", ".join(f"{name} {text}" for name, text in inner.items()) or "defaults"
    if isinstance(value, list | tuple):
        return ", ".join(map(_inline, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}" if value >= 1 else f"{value:.4g}"
    return str(value)


def _rule(rule: BaseModel) -> str:
    """A hyperparameter rule as a formula, where it has numbers of its own."""
    match rule:
        case PowerRate() | PowerBatch():
            return f"{rule.value:g} × ({rule.of} / {rule.at:g})^({rule.exponent:g})"
        case Powers() | Forgetting():
            return " × ".join(
                [
                    f"{rule.value:g}",
                    *(f"({name} / {of.at:g})^({of.exponent:g})" for name, of in rule.of.items()),
                ]
            )
        case PowerLinesBatch():
            return f"{rule.value:g} × (d / {rule.at:g})^(0.383)"
        case HalfLife():
            return f"{rule.value:g}^(batch / {rule.at:g}), {rule.least:g} to {rule.most:g}"
        case Timescale():
            power = f" × (d / n / {rule.at:g})^({rule.exponent:g})" if rule.exponent else ""
            return f"batch / (peak LR × τ × d), τ {rule.value:g}{power}"
        case ParameterWarmup():
            return f"{rule.tokens_per_parameter:g} × n tokens"
        case TokenWarmup():
            return f"{rule.tokens:g} tokens"
        case ConstantRate():
            return f"{rule.value:g}"
        case ConstantBatch():
            return f"{rule.sequences} sequences per step"
    return str(getattr(rule, "rule", "")).replace("_", " ")
