"""Rules of hyperparameters in words, and their numbers per rung."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest
from report_results import LADDER
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.record.plan import Plan
from stepladder.report.sections.hyperparameters import hyperparameters_table
from stepladder.report.sections.plan import plan_context
from stepladder.report.sections.rules import SOURCES, rules_table
from stepladder.schema import adam, rules
from stepladder.schema.complete import COMPLETE
from stepladder.schema.ladder import Ladder
from stepladder.schema.optimizer import OptimizerSettings


def ladder_with(**optimizer: Any) -> Ladder:
    return LADDER.model_copy(update={"optimizer": OptimizerSettings.model_validate(optimizer)})


def row(ladder: Ladder, label: str) -> str:
    return dict(rules_table(ladder).rows)[label]


def as_rows(table: Any) -> list[dict[str, str]]:
    titles = [column.title for column in table.columns]
    return [dict(zip(titles, cells, strict=True)) for cells in table.rows]


def test_every_rule_has_a_source() -> None:
    """Whatever a ladder file may write as `rule:` can be printed."""
    unions = (rules.RateRule, rules.BatchRule, adam.Beta2, adam.Epsilon, adam.WeightDecay, adam.Warmup)
    told: set[str] = set()
    todo: list[Any] = list(unions)
    while todo:
        kind = todo.pop()
        if "rule" in getattr(kind, "model_fields", {}):
            told |= set(typing.get_args(kind.model_fields["rule"].annotation))
        todo += typing.get_args(kind)
    assert len(told) > 10 and told == set(SOURCES)


@pytest.mark.parametrize("name", COMPLETE)
def test_a_recipe_is_printed_with_its_formulas(name: str) -> None:
    table = rules_table(ladder_with(hyperparameters=name))
    text = "\n".join(" ".join(cells) for cells in table.rows)
    assert f"hyperparameters {name}" in text and "{" not in text and "None" not in text


def test_rules_are_formulas() -> None:
    own = ladder_with(
        hyperparameters="delphi",
        weight_decay={"rule": "timescale", "value": 0.1},
        warmup={"rule": "parameters"},
    )
    text = row(own, "Optimizer")
    assert "epsilon (1.85e-08 × (batch / 262144)^(-0.5) × (d / 2.5e+09)^(0.5) (power law" in text
    assert "beta2 (0.9999^(batch / 262144), 0.9 to 0.9999 (" in text
    assert "weight_decay (batch / (peak LR × τ × d), τ 0.1 (" in text and "warmup (1 × n tokens (" in text


def numbered(plan: Plan, **changes: Any) -> Plan:
    numbers = {"beta2": 0.95, "epsilon": 1e-10, "weight_decay": 0.1, "warmup_steps": 10, "final_share": 0.0}
    runs = tuple(run.model_copy(update={"learning_rate": 0.01, **numbers, **changes}) for run in plan.runs)
    return plan.model_copy(update={"runs": runs})


def test_numbers_per_rung(plan: Plan) -> None:
    rows = as_rows(hyperparameters_table(numbered(plan)))
    assert [row["Rung"] for row in rows[:1]] == ["d2"]
    steps = plan.runs[0].steps
    expected = {"Peak LR": "0.0100", "β₂": "0.95", "Weight decay": "0.100", "Batch": "8", "Last LR": "0"}
    assert expected.items() <= rows[0].items() and "10⁻¹⁰" in rows[0]["ε"]
    assert float(rows[0]["τ"]) == pytest.approx(1 / (0.01 * 0.1 * steps), rel=0.01)


def test_variants_that_train_alike_are_one_line(plan: Plan) -> None:
    alike = numbered(plan, steps=100)
    assert [row["Variants"] for row in as_rows(hyperparameters_table(alike))] == ["all"] * 4
    first = alike.runs[0].variant
    apart = alike.model_copy(
        update={
            "runs": tuple(
                run.model_copy(update={"beta2": 0.99 if run.variant == first else 0.95}) for run in alike.runs
            )
        }
    )
    rows = as_rows(hyperparameters_table(apart))
    assert len(rows) == 8 and {row["Variants"] for row in rows if row["β₂"] == "0.99"} == {first}


def test_what_waits_for_a_sweep_is_a_dash_until_it_is_known(plan: Plan) -> None:
    waiting = numbered(plan, learning_rate=None, weight_decay=None)
    first = as_rows(hyperparameters_table(waiting))[0]
    assert (first["Peak LR"], first["Weight decay"], first["τ"]) == ("—", "—", "—")
    found = as_rows(hyperparameters_table(waiting, {run.id: 0.02 for run in plan.runs}))[0]
    assert found["Peak LR"] == "0.0200"


def test_a_plan_of_before_has_dashes(plan: Plan) -> None:
    assert plan.runs[0].beta2 is None and plan.notes == ()
    assert {as_rows(hyperparameters_table(plan))[0][title] for title in ("β₂", "ε", "Warmup")} == {"—"}


def test_notes_are_in_the_plan(plan: Plan) -> None:
    told = plan.model_copy(update={"notes": ("Hyperparameters are those of olmo.",)})
    assert plan_context(told)["notes"] == ["Hyperparameters are those of olmo."]


def test_check_and_plan_say_which_half_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the list of runs, which stays one id a line."""
    smoke = Path("configs/ladders/smoke.yaml").read_text()
    start, end = smoke.index("optimizer:"), smoke.index("data:")
    own = "optimizer:\n  hyperparameters: olmo\n  batch: {rule: constant, sequences: 8}\n\n"
    path = tmp_path / "mixed.yaml"
    path.write_text(smoke[:start] + own + smoke[end:])
    checked = CliRunner().invoke(app, ["check", str(path)])
    assert checked.exit_code == 0, checked.output
    assert "but for optimizer.batch, which the ladder sets itself" in checked.stderr
    assert all(line.count("/") == 3 for line in checked.stdout.splitlines())
    monkeypatch.setenv("COLUMNS", "1000")
    planned = CliRunner().invoke(app, ["plan", str(path), "--no-power"])
    assert "but for optimizer.batch, which the ladder sets itself" in planned.output
    assert "Hyperparameters" in planned.output and "β₂" in planned.output
