"""The report's section on a sweep: figures, tables, and the rungs that trained off their optimum."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd
import pytest
from report_results import FLOPS, VARIANTS, plan_of

from stepladder.display.terminal import MIN_WIDTH, fitting
from stepladder.record.learning_rates import Tuning
from stepladder.record.plan import Plan
from stepladder.report.build import build_report, draw, report_context
from stepladder.report.render.console import print_tuning
from stepladder.report.render.typst import context_json
from stepladder.report.results import Results
from stepladder.report.sections.tuning import off_optimum, optima_table, rates_table
from stepladder.schema.ladder import Ladder
from stepladder.schema.sweep import Sweep
from stepladder.tuning.tune import Target, tune

RULE, SIZES = 0.01, {"d2": 24.0, "d3": 32.0, "d4": 40.0, "d5": 48.0}
SWEEP = Sweep(rungs=("d2", "d3"), learning_rate_factors=(0.25, 0.5, 1.0, 2.0, 4.0))


def tuning(best: float = 1.3, applied: bool = False, batches: tuple[float, ...] = (1.0,)) -> Tuning:
    """A sweep of all variants at d2 and d3 whose best rate is `best` times the rule's."""

    def loss(i: int, factor: float, batch: float, seed: int) -> float:
        noise = 0.003 * math.sin(7 * i + 40 * factor + seed)  # what stands for it
        return 2 + 0.05 * math.log(factor / best) ** 2 + noise - batch / 50

    runs = [
        {
            "variant": variant,
            "rung": rung,
            "budget": "1x",
            "seed": seed,
            "factor": factor,
            "batch_factor": batch,
            "batch_sequences": int(8 * batch),
            "base_rate": RULE,
            "rule_rate": RULE,
            "quantity": SIZES[rung],
            "loss": loss(i, factor, batch, seed),
        }
        for i, variant in enumerate(VARIANTS)
        for rung in SWEEP.rungs
        for batch in batches
        for factor in SWEEP.learning_rate_factors
        for seed in (0, 1)
    ]
    targets = [
        Target(
            variant=variant,
            rung=rung,
            budget="1x",
            quantity=SIZES[rung],
            rule_rate=RULE,
            ruled_rate=RULE,
            applied=applied and rung not in SWEEP.rungs,
        )
        for variant in VARIANTS
        for rung in FLOPS
    ]
    return tune(pd.DataFrame(runs), targets, "d_model", 0.95, 4.0)


@pytest.fixture
def swept(folder: Path, ladder: Ladder, runs: pd.DataFrame, tmp_path: Path):
    """The synthetic ladder's report with a sweep: its folder, ladder and plan."""

    def make(found: Tuning):
        for path in [*folder.glob("*.*"), *folder.glob("*/*.json")]:
            copy = tmp_path / path.relative_to(folder)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
        found.write(tmp_path / "learning_rates.json")
        return tmp_path, ladder.model_copy(update={"sweep": SWEEP}), plan_of(runs)

    return make


def context(folder: Path, ladder: Ladder, plan: Plan) -> dict:
    results = Results.read(folder, ladder)
    return report_context(results, ladder, plan, draw(results, ladder))


def test_builds_pages_with_both_figures(swept) -> None:
    folder, ladder, plan = swept(tuning())
    assert build_report(folder, folder / "report.pdf", ladder, plan).read_bytes().startswith(b"%PDF")
    assert {"bowls", "rates"} <= {path.stem for path in (folder / "figures").iterdir()}


def test_a_panel_per_bowl(swept) -> None:
    folder, ladder, _ = swept(tuning(batches=(0.5, 1.0)))
    figure = draw(Results.read(folder, ladder), ladder)["bowls"]
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.axison]
    assert len(titles) == 2 * 2 * 4 and titles[0] == "d2, dense-baseline, batch 4"


def test_nothing_is_left_unformatted(swept) -> None:
    shown = context(*swept(tuning(batches=(0.5, 1.0))))["sweep"]
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b|\de[-+]\d", context_json(shown))
    assert "80 runs" in context(*swept(tuning()))["sweep"]["summary"]


def test_rungs_off_their_optimum_are_warned_of(swept) -> None:
    found = tuning(best=2.0)
    [*warnings] = off_optimum(found)
    assert len(warnings) == 16, "four variants at four rungs trained at half the best rate"
    assert warnings[0].startswith("dense-baseline at d2 trained off its optimum: at 0.0100, by its bowl")
    assert "nats/token (n = 8 runs; noise of one run" in warnings[0]
    assert "extrapolated" in warnings[-1]
    assert set(warnings) <= set(context(*swept(found))["warnings"])


def test_tuned_rungs_are_not(swept) -> None:
    found = tuning(best=2.0, applied=True)
    assert {row.rung for row in found.rates if row.off.flagged} == {"d2", "d3"}
    notes = {(row[0], row[6], row[-1]) for row in context(*swept(found))["sweep"]["rates"].rows}
    assert notes == {
        *((rung, "the ladder file", "off its optimum") for rung in ("d2", "d3")),
        *((rung, "the sweep", "") for rung in ("d4", "d5")),
    }


def test_other_batches_are_compared_with_the_ruled_one() -> None:
    rows = optima_table(tuning(batches=(0.5, 1.0))).rows
    half, ruled = rows[0], rows[1]
    assert (half[2], ruled[2]) == ("4", "8") and ruled[-1] == "—"
    assert half[-1].startswith("+0.01"), "worse by half a fiftieth"


def test_a_sweep_without_an_optimum_says_what_to_add(swept) -> None:
    shown = context(*swept(tuning(best=30.0)))
    assert "missing" in shown["figures"]["rates"] and "file" in shown["figures"]["bowls"]
    assert shown["sweep"]["optima"].rows[0][-1].endswith("add 8 and 16")
    assert shown["sweep"]["law"][0].startswith("No law")


def test_the_terminal_prints_the_tables_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    found = tuning(best=30.0)
    print_tuning(found)
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for table in (optima_table(found), rates_table(found)):
        kept = fitting(table, MIN_WIDTH)
        assert len(kept) < len(table.columns), "details do not fit into a common terminal"
        for row in table.rows:
            # Wide columns take several lines; all others stand in one.
            cells = [row[i] for i in kept if not table.columns[i].wide]
            assert any(line.startswith(" ".join(" ".join(cells).split())) for line in lines)
    assert "No law of the optimum" in out and out.count("warning: ") == 8
